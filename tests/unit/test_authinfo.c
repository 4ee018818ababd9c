#include "pam/authinfo.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"
#include "lib/util.h"

#define TYPE "ssh-ed25519-cert-v01@openssh.com"

/* "publickey OUTER BASE64(string inner, fill bytes)TAIL", in static memory */
static char text[AUTHINFO_TEXT_MAX + 64];

static const char *info(const char *outer, const char *inner, size_t fill, const char *tail)
{
	cleanup_buf struct buf b;
	size_t at;

	buf_init(&b, 2 * AUTHINFO_KEY_MAX);
	buf_put_cstring(&b, inner);
	for (size_t i = 0; i < fill; i++)
		buf_put_u8(&b, (uint8_t)i);
	at = (size_t)snprintf(text, sizeof text, "publickey %s ", outer);
	assert_true(at + B64_LEN(b.len) + strlen(tail) < sizeof text);
	b64_encode(text + at, b.data, b.len);
	at += B64_LEN(b.len);
	(void)snprintf(text + at, sizeof text - at, "%s", tail);
	return text;
}

static int parse_n(const char *s, size_t n)
{
	cleanup_buf struct buf b;
	struct err e = ERR_INIT;
	int r;

	buf_init(&b, AUTHINFO_KEY_MAX);
	r = authinfo_parse(s, n, &b, &e);
	assert_int_equal(r, e.code);
	if (r < 0)
		assert_int_equal(b.len, 0);
	return r;
}

static int parse(const char *s)
{
	return parse_n(s, s ? strlen(s) : 0);
}

static void reads_one_certificate(void **state)
{
	cleanup_buf struct buf b;
	const char *s = info(TYPE, TYPE, 40, "\n");

	(void)state;
	buf_init(&b, AUTHINFO_KEY_MAX);
	assert_int_equal(authinfo_parse(s, strlen(s), &b, NULL), 0);
	assert_int_equal(b.len, 4 + strlen(TYPE) + 40);
	assert_memory_equal(b.data + 4, TYPE, strlen(TYPE));
	assert_int_equal(parse(info(TYPE, TYPE, 40, "")), 0);
}

static void reads_every_kind_of_certificate_that_the_core_knows(void **state)
{
	static const char *const types[] = {"ecdsa-sha2-nistp256-cert-v01@openssh.com",
	    "ecdsa-sha2-nistp384-cert-v01@openssh.com", "ecdsa-sha2-nistp521-cert-v01@openssh.com",
	    "ssh-rsa-cert-v01@openssh.com"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		assert_int_equal(parse(info(types[i], types[i], 8, "\n")), 0);
}

static void emptiness_is_an_error_of_its_own(void **state)
{
	(void)state;
	assert_int_equal(parse(NULL), -ENODATA);
	assert_int_equal(parse(""), -ENODATA);
	assert_int_equal(parse("\n"), -EBADMSG);
}

static void rejects_a_plain_key(void **state)
{
	(void)state;
	assert_int_equal(parse(info("ssh-ed25519", "ssh-ed25519", 36, "\n")), -EBADMSG);
	assert_int_equal(parse(info("ssh-rsa", "ssh-rsa", 36, "\n")), -EBADMSG);
}

static void rejects_a_plain_key_under_a_certificate_name(void **state)
{
	(void)state;
	assert_int_equal(parse(info(TYPE, "ssh-ed25519", 36, "\n")), -EBADMSG);
	assert_int_equal(parse(info("ssh-rsa-cert-v01@openssh.com", TYPE, 36, "\n")), -EBADMSG);
	assert_int_equal(parse("publickey " TYPE " AAAAAA==\n"), -EBADMSG);
	assert_int_equal(parse("publickey " TYPE " \n"), -EBADMSG);
}

static void rejects_security_keys(void **state)
{
	(void)state;
	assert_int_equal(parse(info("sk-ssh-ed25519-cert-v01@openssh.com",
	                     "sk-ssh-ed25519-cert-v01@openssh.com", 36, "\n")),
	    -EBADMSG);
}

static void rejects_several_lines(void **state)
{
	char two[1024];

	(void)state;
	(void)snprintf(two, sizeof two, "%spassword\n", info(TYPE, TYPE, 40, "\n"));
	assert_int_equal(parse(two), -EBADMSG);
	(void)snprintf(two, sizeof two, "password\n%s", info(TYPE, TYPE, 40, "\n"));
	assert_int_equal(parse(two), -EBADMSG);
	assert_int_equal(parse(info(TYPE, TYPE, 40, "\n\n")), -EBADMSG);
	assert_int_equal(parse(info(TYPE, TYPE, 40, "\r\n")), -EBADMSG);
}

static void rejects_other_methods(void **state)
{
	(void)state;
	assert_int_equal(parse("password\n"), -EBADMSG);
	assert_int_equal(parse("keyboard-interactive/pam\n"), -EBADMSG);
	assert_int_equal(parse("hostbased " TYPE " AAAA\n"), -EBADMSG);
	assert_int_equal(parse("Publickey " TYPE " AAAA\n"), -EBADMSG);
	assert_int_equal(parse("publickey"), -EBADMSG);
	assert_int_equal(parse("publickey "), -EBADMSG);
	assert_int_equal(parse("publickey " TYPE), -EBADMSG);
}

static void rejects_anything_after_the_key(void **state)
{
	(void)state;
	assert_int_equal(parse(info(TYPE, TYPE, 40, " comment\n")), -EBADMSG);
	assert_int_equal(parse(info(TYPE, TYPE, 40, " \n")), -EBADMSG);
	assert_int_equal(parse(info(TYPE, TYPE, 40, "AAAA")), -EBADMSG);
}

static void rejects_odd_characters_at_every_place(void **state)
{
	static const char odd[] = {'\0', '\n', '\t', 0x1b, 0x7f, (char)0x80, (char)0xff};
	size_t n = strlen(info(TYPE, TYPE, 40, "\n"));

	(void)state;
	for (size_t at = 0; at + 1 < n; at++)
		for (size_t i = 0; i < sizeof odd; i++) {
			char was = text[at];

			text[at] = odd[i];
			assert_int_equal(parse_n(text, n), -EBADMSG);
			text[at] = was;
		}
	assert_int_equal(parse_n(text, n), 0);
}

static void rejects_every_truncation_before_the_key_data(void **state)
{
	/* after the type in the blob nothing is looked at here: the core parses certificates */
	size_t looked_at = strlen("publickey " TYPE " ") + B64_LEN(4 + strlen(TYPE)) - 4;

	(void)state;
	(void)info(TYPE, TYPE, 40, "\n");
	for (size_t n = 1; n <= looked_at; n++)
		assert_int_equal(parse_n(text, n), -EBADMSG);
}

static void the_longest_key_is_read_and_one_byte_more_is_not(void **state)
{
	size_t fill = AUTHINFO_KEY_MAX - 4 - strlen(TYPE);

	(void)state;
	assert_int_equal(parse(info(TYPE, TYPE, fill, "\n")), 0);
	assert_int_equal(parse(info(TYPE, TYPE, fill + 1, "\n")), -ENOBUFS);
	memset(text, 'A', sizeof text);
	assert_int_equal(parse_n(text, AUTHINFO_TEXT_MAX), -EBADMSG);
	assert_int_equal(parse_n(text, AUTHINFO_TEXT_MAX + 1), -EBADMSG);
}

static void an_error_repeats_nothing_of_the_text(void **state)
{
	struct err e = ERR_INIT;
	const char *s = "publickey evil\x1b[2J AAAA\n";

	(void)state;
	assert_int_equal(authinfo_parse(s, strlen(s), NULL, &e), -EBADMSG);
	assert_null(strstr(e.text, "evil"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_one_certificate),
	    cmocka_unit_test(reads_every_kind_of_certificate_that_the_core_knows),
	    cmocka_unit_test(emptiness_is_an_error_of_its_own),
	    cmocka_unit_test(rejects_a_plain_key),
	    cmocka_unit_test(rejects_a_plain_key_under_a_certificate_name),
	    cmocka_unit_test(rejects_security_keys),
	    cmocka_unit_test(rejects_several_lines),
	    cmocka_unit_test(rejects_other_methods),
	    cmocka_unit_test(rejects_anything_after_the_key),
	    cmocka_unit_test(rejects_odd_characters_at_every_place),
	    cmocka_unit_test(rejects_every_truncation_before_the_key_data),
	    cmocka_unit_test(the_longest_key_is_read_and_one_byte_more_is_not),
	    cmocka_unit_test(an_error_repeats_nothing_of_the_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
