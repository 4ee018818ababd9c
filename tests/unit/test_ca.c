#include "creds/ca.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "creds/cert.h"
#include "creds/key_file.h"
#include "creds/scope.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "tests/support/keygen.h"

static const char *const principals[] = {"agent", "builder"};
static struct key_private *ca;
static struct key *subject;

static int setup(void **state)
{
	struct key_private *k = NULL;

	if (keygen_enter(state) < 0 || key_private_generate(KEY_ED25519, 0, &ca, NULL) < 0 ||
	    key_private_generate(KEY_ED25519, 0, &k, NULL) < 0)
		return -1;
	subject = key_dup(key_private_public(k));
	key_private_free(k);
	return 0;
}

static int teardown(void **state)
{
	key_private_free(ca);
	key_free(subject);
	return keygen_leave(state);
}

static struct ca_request request(void)
{
	return (struct ca_request){
	    .subject = subject,
	    .key_id = "person@example",
	    .principals = principals,
	    .nprincipals = 2,
	    .valid_after = 1000,
	    .valid_before = 2000,
	};
}

static const char every_option_scope[] = "{\"v\":1,\"template\":\"small\"}";

static void every_key_type_issues_for_every_other(void **state)
{
	struct key_private *keys[KEY_TYPES];

	(void)state;
	for (unsigned t = 0; t < KEY_TYPES; t++)
		assert_int_equal(
		    key_private_generate((enum key_type)t, t == KEY_RSA ? 2048 : 0, &keys[t], NULL),
		    0);
	for (unsigned i = 0; i < KEY_TYPES * KEY_TYPES; i++) {
		struct key_private *authority = keys[i % KEY_TYPES];
		struct ca_request q = request();
		struct buf blob, line, out;
		struct cert *c = NULL;

		q.subject = key_private_public(keys[i / KEY_TYPES]);
		q.serial = 42;
		q.source_address = "10.0.0.0/8,2001:db8::/32";
		q.force_command = "uptime -p";
		q.permit = CERT_PERMIT_PTY | CERT_PERMIT_PORT_FORWARDING |
		           CERT_PERMIT_AGENT_FORWARDING | CERT_PERMIT_X11_FORWARDING |
		           CERT_PERMIT_USER_RC | CERT_NO_TOUCH_REQUIRED;
		q.scope = every_option_scope;
		buf_init(&blob, CERT_BLOB_MAX);
		buf_init(&line, 1u << 17);
		buf_init(&out, 1u << 16);
		assert_int_equal(ca_issue(authority, &q, &blob, NULL), 0);
		assert_int_equal(cert_parse(blob.data, blob.len, &c, NULL), 0);
		assert_int_equal(cert_verify(c, NULL), 0);
		assert_true(key_equal(c->ca, key_private_public(authority)));
		assert_true(key_equal(c->subject, q.subject));
		assert_int_equal(c->serial, 42);
		assert_int_equal(c->permit, q.permit);
		assert_string_equal(c->scope_json, every_option_scope);
		assert_string_equal(c->force_command, "uptime -p");
		assert_int_equal(c->valid_after, 1000);
		assert_int_equal(c->valid_before, 2000);
		cert_free(c);

		assert_int_equal(ca_format_line(blob.data, blob.len, "made here", &line), 0);
		assert_int_equal(
		    fd_write_file(AT_FDCWD, "made-cert.pub", line.data, line.len, 0600, NULL), 0);
		assert_int_equal(
		    keygen_run(&out, "ssh-keygen", "-L", "-f", "made-cert.pub", NULL), 0);
		assert_non_null(strstr(buf_cstr(&out), "Key ID: \"person@example\""));
		assert_non_null(strstr(buf_cstr(&out), "Serial: 42"));
		assert_non_null(strstr(buf_cstr(&out), "force-command uptime -p"));
		assert_non_null(strstr(buf_cstr(&out), "source-address 10.0.0.0/8,2001:db8::/32"));
		assert_non_null(strstr(buf_cstr(&out), "permit-pty"));
		assert_non_null(strstr(buf_cstr(&out), SCOPE_NAME));
		assert_null(strstr(buf_cstr(&out), "arning"));
		assert_null(strstr(buf_cstr(&out), "invalid"));
		buf_done(&blob);
		buf_done(&line);
		buf_done(&out);
	}
	for (unsigned t = 0; t < KEY_TYPES; t++)
		key_private_free(keys[t]);
}

/* The same request through ssh-keygen: but for nonce and signature, the same bytes. */
static void writes_what_ssh_keygen_writes(void **state)
{
	struct ca_request q = request();
	struct buf blob, line;
	uint8_t *theirs;
	size_t len, skip = 4 + strlen("ssh-ed25519-cert-v01@openssh.com") + 4 + 32;

	(void)state;
	assert_int_equal(key_private_save(ca, "ca", AT_FDCWD, "ca", NULL), 0);
	buf_init(&line, 1024);
	key_format_line(subject, "", &line);
	assert_int_equal(fd_write_file(AT_FDCWD, "s.pub", line.data, line.len, 0600, NULL), 0);
	buf_done(&line);
	assert_int_equal(
	    keygen_run(NULL, "ssh-keygen", "-q", "-s", "ca", "-I", "person@example", "-n",
	        "agent,builder", "-z", "42", "-V", "0x3e8:0x7d0", "-O", "clear", "-O", "permit-pty",
	        "-O", "permit-X11-forwarding", "-O", "permit-agent-forwarding", "-O",
	        "no-touch-required", "-O", "source-address=10.0.0.0/8", "-O", "force-command=id",
	        "-O", "extension:" SCOPE_NAME "={\"v\":1,\"template\":\"small\"}", "s.pub", NULL),
	    0);
	theirs = keygen_blob("s-cert.pub", &len);
	q.serial = 42;
	q.source_address = "10.0.0.0/8";
	q.force_command = "id";
	q.permit = CERT_PERMIT_PTY | CERT_PERMIT_X11_FORWARDING | CERT_PERMIT_AGENT_FORWARDING |
	           CERT_NO_TOUCH_REQUIRED;
	q.scope = every_option_scope;
	buf_init(&blob, CERT_BLOB_MAX);
	assert_int_equal(ca_issue(ca, &q, &blob, NULL), 0);
	assert_int_equal(blob.len, len);
	assert_memory_equal(blob.data + skip, theirs + skip, len - skip - 64);
	buf_done(&blob);
	free(theirs);
}

static void serials_are_random_unless_given(void **state)
{
	uint64_t seen[8];

	(void)state;
	for (size_t i = 0; i < 8; i++) {
		struct ca_request q = request();
		struct cert *c = NULL;
		struct buf blob;

		buf_init(&blob, CERT_BLOB_MAX);
		assert_int_equal(ca_issue(ca, &q, &blob, NULL), 0);
		assert_int_equal(cert_parse(blob.data, blob.len, &c, NULL), 0);
		assert_int_not_equal(c->serial, 0);
		for (size_t j = 0; j < i; j++)
			assert_int_not_equal(c->serial, seen[j]);
		seen[i] = c->serial;
		cert_free(c);
		buf_done(&blob);
	}
}

static int issue(const struct ca_request *q, const char *why)
{
	struct err e = ERR_INIT;
	struct buf blob;
	int r;

	buf_init(&blob, CERT_BLOB_MAX);
	r = ca_issue(ca, q, &blob, &e);
	if (r < 0)
		assert_int_equal(blob.len, 0);
	if (why != NULL && strstr(e.text, why) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", why, e.text);
	buf_done(&blob);
	return r;
}

static void refuses_what_it_would_not_accept(void **state)
{
	static const char *const with_empty[] = {"agent", ""};
	char long_text[CERT_COMMAND_MAX + 2];
	const char *many[CERT_PRINCIPALS_MAX + 1];
	struct ca_request q;

	(void)state;
	memset(long_text, 'x', sizeof long_text);
	long_text[sizeof long_text - 1] = '\0';
	for (size_t i = 0; i <= CERT_PRINCIPALS_MAX; i++)
		many[i] = "p";

	q = request();
	assert_int_equal(issue(&q, NULL), 0);
	q.nprincipals = 0;
	assert_int_equal(issue(&q, "principals"), -EINVAL);
	q.principals = many;
	q.nprincipals = CERT_PRINCIPALS_MAX;
	assert_int_equal(issue(&q, NULL), 0);
	q.nprincipals++;
	assert_int_equal(issue(&q, "principals"), -EINVAL);
	q.principals = with_empty;
	q.nprincipals = 2;
	assert_int_equal(issue(&q, "principal"), -EINVAL);
	q = request();
	q.key_id = "";
	assert_int_equal(issue(&q, "key id"), -EINVAL);
	q.key_id = NULL;
	assert_int_equal(issue(&q, "key id"), -EINVAL);
	q.key_id = long_text;
	assert_int_equal(issue(&q, "key id"), -EINVAL);
	q = request();
	q.valid_before = q.valid_after;
	assert_int_equal(issue(&q, "end before it begins"), -EINVAL);
	q = request();
	q.force_command = "";
	assert_int_equal(issue(&q, "force-command"), -EINVAL);
	q.force_command = long_text;
	assert_int_equal(issue(&q, "force-command"), -EINVAL);
	q = request();
	q.source_address = "";
	assert_int_equal(issue(&q, "source-address"), -EINVAL);
	q.source_address = "10.0.0.1/8";
	assert_int_equal(issue(&q, "source-address"), -EINVAL);
	q = request();
	q.scope = "{\"v\":1,\"root\":true}";
	assert_int_equal(issue(&q, "\"root\" is not known"), -EINVAL);
	q.scope = "";
	assert_int_equal(issue(&q, "scope"), -EINVAL);
}

static void formats_certificates_only(void **state)
{
	struct buf line;
	size_t len;
	const uint8_t *blob = key_blob(subject, &len);

	(void)state;
	buf_init(&line, 1024);
	assert_int_equal(ca_format_line(blob, len, "", &line), -EBADMSG);
	assert_int_equal(ca_format_line("", 0, "", &line), -EBADMSG);
	buf_done(&line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_key_type_issues_for_every_other),
	    cmocka_unit_test(writes_what_ssh_keygen_writes),
	    cmocka_unit_test(serials_are_random_unless_given),
	    cmocka_unit_test(refuses_what_it_would_not_accept),
	    cmocka_unit_test(formats_certificates_only),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
