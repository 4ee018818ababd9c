#include "creds/cert.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "creds/key_file.h"
#include "creds/scope.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "tests/support/keygen.h"

static struct key_private *ca;

static int setup(void **state)
{
	(void)state;
	return key_private_generate(KEY_ED25519, 0, &ca, NULL);
}

static int teardown(void **state)
{
	(void)state;
	key_private_free(ca);
	return 0;
}

/* Judges a certificate with these lists; *ret (may be NULL) is the certificate if
 * it is accepted. */
static int judge(
    const struct buf *critical, const struct buf *extensions, const char *text, struct cert **ret)
{
	struct cert_build b;
	size_t len;
	uint8_t *blob;
	struct err e = ERR_INIT;
	struct cert *c = NULL;
	int r;

	cert_build_init(&b, key_private_public(ca));
	if (critical != NULL) {
		b.critical = critical->data;
		b.critical_len = critical->len;
	}
	if (extensions != NULL) {
		b.extensions = extensions->data;
		b.extensions_len = extensions->len;
	}
	blob = cert_build_blob(&b, ca, &len);
	r = cert_parse(blob, len, &c, &e);
	if (r == 0)
		r = cert_verify(c, &e);
	if (text != NULL && strstr(e.text, text) == NULL) {
		print_error("\"%s\" is not in \"%s\"\n", text, e.text);
		r = -1000;
	}
	if (r == 0 && ret != NULL)
		*ret = c;
	else
		cert_free(c);
	free(blob);
	return r;
}

static int critical_value(const char *name, const char *value, const char *text)
{
	struct buf list;
	int r;

	buf_init(&list, 1u << 16);
	cert_build_value(&list, name, value);
	r = judge(&list, NULL, text, NULL);
	buf_done(&list);
	return r;
}

static int critical_raw(const char *name, const void *data, size_t len, const char *text)
{
	struct buf list;
	int r;

	buf_init(&list, 1u << 16);
	cert_build_option(&list, name, data, len);
	r = judge(&list, NULL, text, NULL);
	buf_done(&list);
	return r;
}

static int extension_raw(const char *name, const void *data, size_t len, const char *text)
{
	struct buf list;
	int r;

	buf_init(&list, 1u << 16);
	cert_build_option(&list, name, data, len);
	r = judge(NULL, &list, text, NULL);
	buf_done(&list);
	return r;
}

static void refuses_an_unknown_critical_option(void **state)
{
	(void)state;
	assert_int_equal(
	    critical_value("x@example", "y", "critical option \"x@example\" is not known"),
	    -EACCES);
	assert_int_equal(critical_raw("permit-pty", "", 0, "is not known"), -EACCES);
	assert_int_equal(critical_value(SCOPE_NAME, "{\"v\":1}", "is not known"), -EACCES);
	assert_int_equal(critical_value("Force-command", "x", "is not known"), -EACCES);
	assert_int_equal(critical_value("x\33[2J", "y", "\\x1b"), -EACCES);
}

static void refuses_verify_required(void **state)
{
	(void)state;
	assert_int_equal(critical_raw("verify-required", "", 0, "verify-required"), -EACCES);
}

static void refuses_present_but_empty_source_address(void **state)
{
	(void)state;
	assert_int_equal(critical_value("source-address", "", "source-address is empty"), -EACCES);
	assert_int_equal(critical_raw("source-address", "", 0, "source-address is empty"), -EACCES);
}

static void refuses_malformed_source_address(void **state)
{
	static const char *const lists[] = {"10.0.0.0/33", "10.0.0.1/8", "!10.0.0.0/8",
	    "10.0.0.0/8,", ",10.0.0.0/8", "10.0.0.0/8, ::1", "example.org", "10.0.0", "*",
	    "10.0.0.0/-1", "10.0.0.0/08", "fe80::1%eth0"};

	(void)state;
	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
		assert_int_equal(
		    critical_value("source-address", lists[i], "source-address: "), -EACCES);
	assert_int_equal(critical_value("source-address", "10.0.0.0/8,::1", NULL), 0);
}

static void refuses_empty_and_oversized_force_command(void **state)
{
	char *text = malloc(CERT_COMMAND_MAX + 2);

	(void)state;
	assert_non_null(text);
	assert_int_equal(critical_value("force-command", "", "force-command is empty"), -EACCES);
	assert_int_equal(critical_raw("force-command", "", 0, "force-command is empty"), -EACCES);
	memset(text, 'x', CERT_COMMAND_MAX + 1);
	text[CERT_COMMAND_MAX + 1] = '\0';
	assert_int_equal(critical_value("force-command", text, "too long"), -EBADMSG);
	text[CERT_COMMAND_MAX] = '\0';
	assert_int_equal(critical_value("force-command", text, NULL), 0);
	assert_int_equal(critical_raw("force-command", "\0\0\0\3a\0b", 7, "NUL"), -EBADMSG);
	free(text);
}

static void refuses_values_not_wrapped_twice(void **state)
{
	(void)state;
	assert_int_equal(critical_raw("force-command", "id", 2, "malformed"), -EBADMSG);
	assert_int_equal(critical_raw("force-command", "\0\0\0\3id", 6, "malformed"), -EBADMSG);
	assert_int_equal(critical_raw("force-command", "\0\0\0\2id!", 7, "malformed"), -EBADMSG);
	assert_int_equal(extension_raw("x@example", "\0\0\0\1", 4, "malformed"), -EBADMSG);
	assert_int_equal(extension_raw("x@example", "y", 1, "malformed"), -EBADMSG);
}

static void refuses_a_flag_with_a_value(void **state)
{
	(void)state;
	assert_int_equal(extension_raw("permit-pty", "\0\0\0\1y", 5, "takes no value"), -EBADMSG);
	assert_int_equal(extension_raw("permit-pty", "\0\0\0\0", 4, "takes no value"), -EBADMSG);
	assert_int_equal(extension_raw("permit-pty", "", 0, NULL), 0);
}

static void ignores_unknown_extensions(void **state)
{
	struct cert *c = NULL;
	struct buf list;

	(void)state;
	buf_init(&list, 1024);
	cert_build_value(&list, "force-command", "id"); /* critical only as a critical option */
	cert_build_option(&list, "permit-everything", "", 0);
	cert_build_value(&list, "x@example", "y");
	assert_int_equal(judge(NULL, &list, NULL, &c), 0);
	assert_int_equal(c->permit, 0);
	assert_null(c->force_command);
	cert_free(c);
	buf_done(&list);
}

static void refuses_an_option_without_a_name(void **state)
{
	(void)state;
	assert_int_equal(extension_raw("", "", 0, "without a name"), -EBADMSG);
	assert_int_equal(critical_raw("", "", 0, "without a name"), -EBADMSG);
}

static void refuses_duplicates(void **state)
{
	struct buf list;

	(void)state;
	buf_init(&list, 1024);
	cert_build_value(&list, "force-command", "id");
	cert_build_value(&list, "force-command", "id");
	assert_int_equal(judge(&list, NULL, "is there twice", NULL), -EBADMSG);
	buf_reset(&list);
	cert_build_option(&list, "permit-pty", "", 0);
	cert_build_option(&list, "permit-pty", "", 0);
	assert_int_equal(judge(NULL, &list, "is there twice", NULL), -EBADMSG);
	buf_done(&list);
}

static void refuses_unsorted_options(void **state)
{
	struct buf list;

	(void)state;
	buf_init(&list, 1024);
	cert_build_value(&list, "source-address", "10.0.0.0/8");
	cert_build_value(&list, "force-command", "id");
	assert_int_equal(judge(&list, NULL, "not in its sorted place", NULL), -EBADMSG);
	buf_reset(&list);
	cert_build_option(&list, "permit-ptyx", "", 0); /* the longer one of two goes last */
	cert_build_option(&list, "permit-pty", "", 0);
	assert_int_equal(judge(NULL, &list, "not in its sorted place", NULL), -EBADMSG);
	buf_done(&list);
}

static void bounds_the_number_of_options_and_names(void **state)
{
	char name[CERT_OPTION_NAME + 2];
	struct buf list;

	(void)state;
	buf_init(&list, 1u << 16);
	for (int i = 0; i < CERT_OPTIONS_MAX; i++) {
		(void)snprintf(name, sizeof name, "x%03d@example", i);
		cert_build_option(&list, name, "", 0);
	}
	assert_int_equal(judge(NULL, &list, NULL, NULL), 0);
	cert_build_option(&list, "y@example", "", 0);
	assert_int_equal(judge(NULL, &list, "more than 64 extensions", NULL), -EBADMSG);
	buf_done(&list);
	memset(name, 'x', sizeof name);
	name[CERT_OPTION_NAME] = '\0';
	assert_int_equal(extension_raw(name, "", 0, NULL), 0);
	name[CERT_OPTION_NAME] = 'x';
	name[CERT_OPTION_NAME + 1] = '\0';
	assert_int_equal(extension_raw(name, "", 0, "malformed"), -EBADMSG);
}

static void every_flag_sets_its_bit(void **state)
{
	static const struct {
		const char *name;
		unsigned bit;
	} flags[] = {{"no-touch-required", CERT_NO_TOUCH_REQUIRED},
	    {"permit-X11-forwarding", CERT_PERMIT_X11_FORWARDING},
	    {"permit-agent-forwarding", CERT_PERMIT_AGENT_FORWARDING},
	    {"permit-port-forwarding", CERT_PERMIT_PORT_FORWARDING},
	    {"permit-pty", CERT_PERMIT_PTY}, {"permit-user-rc", CERT_PERMIT_USER_RC}};
	struct cert *c = NULL;

	(void)state;
	for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
		struct buf list;

		buf_init(&list, 1024);
		cert_build_option(&list, flags[i].name, "", 0);
		assert_int_equal(judge(NULL, &list, NULL, &c), 0);
		assert_int_equal(c->permit, flags[i].bit);
		cert_free(c);
		buf_done(&list);
	}
}

static int scope(const char *text, const char *want)
{
	struct buf list;
	int r;

	buf_init(&list, 1u << 16);
	cert_build_value(&list, SCOPE_NAME, text);
	r = judge(NULL, &list, want, NULL);
	buf_done(&list);
	return r;
}

/* What is not understood must not widen, and its CA is told why. */
static void refuses_a_scope_that_is_not_understood(void **state)
{
	char *text = malloc(SCOPE_MAX + 64);

	(void)state;
	assert_non_null(text);
	assert_int_equal(scope("{\"v\":1}", NULL), 0);
	assert_int_equal(scope("{\"v\":1,\"hosts\":[]}", "\"hosts\" is not known"), -EACCES);
	assert_int_equal(scope("{\"v\":2}", "\"v\" must be 1"), -EACCES);
	assert_int_equal(scope("{", "not JSON"), -EACCES);
	assert_int_equal(scope("", "scope"), -EACCES);
	assert_int_equal(extension_raw(SCOPE_NAME, "", 0, "scope"), -EACCES);
	(void)snprintf(text, SCOPE_MAX + 64, "{\"v\":1%*s}", (int)SCOPE_MAX - 7, "");
	assert_int_equal(scope(text, NULL), 0);
	(void)snprintf(text, SCOPE_MAX + 64, "{\"v\":1%*s}", (int)SCOPE_MAX - 6, "");
	assert_int_equal(scope(text, "longer than"), -EACCES);
	free(text);
}

static void the_first_broken_rule_is_the_reason(void **state)
{
	struct buf list;

	(void)state;
	buf_init(&list, 1024);
	cert_build_value(&list, "a@example", "x");
	cert_build_value(&list, "b@example", "x");
	assert_int_equal(judge(&list, NULL, "\"a@example\"", NULL), -EACCES);
	buf_done(&list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(refuses_an_unknown_critical_option),
	    cmocka_unit_test(refuses_verify_required),
	    cmocka_unit_test(refuses_present_but_empty_source_address),
	    cmocka_unit_test(refuses_malformed_source_address),
	    cmocka_unit_test(refuses_empty_and_oversized_force_command),
	    cmocka_unit_test(refuses_values_not_wrapped_twice),
	    cmocka_unit_test(refuses_a_flag_with_a_value),
	    cmocka_unit_test(ignores_unknown_extensions),
	    cmocka_unit_test(refuses_an_option_without_a_name),
	    cmocka_unit_test(refuses_duplicates),
	    cmocka_unit_test(refuses_unsorted_options),
	    cmocka_unit_test(bounds_the_number_of_options_and_names),
	    cmocka_unit_test(every_flag_sets_its_bit),
	    cmocka_unit_test(refuses_a_scope_that_is_not_understood),
	    cmocka_unit_test(the_first_broken_rule_is_the_reason),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
