#include "lib/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/err.h"

#define VALID(s) name_valid(s, sizeof(s) - 1)

static void names_are_lower_case_words(void **state)
{
	char name[300];

	(void)state;
	memset(name, 'a', sizeof name);
	assert_true(VALID("a"));
	assert_true(VALID("a-1"));
	assert_true(name_valid(name, NAME_MAX_LEN));
	assert_false(name_valid(name, NAME_MAX_LEN + 1));
	assert_false(name_valid(name, sizeof name));
	assert_false(VALID(""));
	assert_false(VALID("../x"));
	assert_false(VALID("a+b"));
	assert_false(VALID("a\0b"));
	assert_false(VALID("a\0"));
	assert_false(VALID("A"));
	assert_false(VALID("aB"));
	assert_false(VALID("1a"));
	assert_false(VALID("-a"));
	assert_false(VALID("a_b"));
	assert_false(VALID("a.b"));
	assert_false(VALID("a\n"));
	assert_false(VALID("\xc3\xa4"));
}

static void reserved_names_are_refused(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_false(VALID("ca"));
	assert_false(VALID("root"));
	assert_false(VALID("host"));
	assert_false(VALID("none"));
	assert_false(VALID("postern"));
	assert_true(VALID("roots"));
	assert_true(VALID("c"));
	assert_int_equal(name_check("role", "root", 4, &e), -EINVAL);
	assert_string_equal(e.text, "role name \"root\" is reserved");
}

static void a_bad_name_is_shown_escaped(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(name_check("tenant", "good", 4, &e), 0);
	assert_int_equal(name_check("tenant", "\033[2J", 4, &e), -EINVAL);
	assert_non_null(strstr(e.text, "\\x1b[2J"));
	assert_null(strchr(e.text, '\033'));
}

static void numbers_are_plain_decimals(void **state)
{
	uint64_t v = 42;

	(void)state;
	assert_int_equal(str_to_u64("18446744073709551615", 0, UINT64_MAX, &v), 0);
	assert_true(v == UINT64_MAX);
	v = 42;
	assert_int_equal(str_to_u64("18446744073709551616", 0, UINT64_MAX, &v), -ERANGE);
	assert_int_equal(str_to_u64("", 0, 10, &v), -EINVAL);
	assert_int_equal(str_to_u64("+1", 0, 10, &v), -EINVAL);
	assert_int_equal(str_to_u64("-1", 0, 10, &v), -EINVAL);
	assert_int_equal(str_to_u64(" 1", 0, 10, &v), -EINVAL);
	assert_int_equal(str_to_u64("1 ", 0, 10, &v), -EINVAL);
	assert_int_equal(str_to_u64("01", 0, 10, &v), -EINVAL);
	assert_int_equal(str_to_u64("0x1", 0, 10, &v), -EINVAL);
	assert_int_equal(str_to_u64("99999999999999999999x", 0, 10, &v), -EINVAL);
	assert_int_equal(str_to_u64("1", 2, 10, &v), -ERANGE);
	assert_int_equal(str_to_u64("11", 2, 10, &v), -ERANGE);
	assert_int_equal(v, 42);
	assert_int_equal(str_to_u64("2", 2, 10, &v), 0);
	assert_int_equal(str_to_u64("10", 2, 10, &v), 0);
	assert_int_equal(str_to_u64("0", 0, 10, &v), 0);
	assert_int_equal(v, 0);
}

static void durations_have_units(void **state)
{
	int64_t v = 7;

	(void)state;
	assert_int_equal(str_to_seconds("0", &v), -ERANGE);
	assert_int_equal(str_to_seconds("5x", &v), -EINVAL);
	assert_int_equal(str_to_seconds("5mm", &v), -EINVAL);
	assert_int_equal(str_to_seconds("m", &v), -EINVAL);
	assert_int_equal(str_to_seconds("-5m", &v), -EINVAL);
	assert_int_equal(str_to_seconds("106751991167301d", &v), -ERANGE);
	assert_int_equal(v, 7);
	assert_int_equal(str_to_seconds("90", &v), 0);
	assert_int_equal(v, 90);
	assert_int_equal(str_to_seconds("90s", &v), 0);
	assert_int_equal(v, 90);
	assert_int_equal(str_to_seconds("5m", &v), 0);
	assert_int_equal(v, 300);
	assert_int_equal(str_to_seconds("8h", &v), 0);
	assert_int_equal(v, 28800);
	assert_int_equal(str_to_seconds("30d", &v), 0);
	assert_int_equal(v, 2592000);
}

static void sizes_have_units(void **state)
{
	uint64_t v = 7;

	(void)state;
	assert_int_equal(str_to_bytes("1k", &v), -EINVAL);
	assert_int_equal(str_to_bytes("1KB", &v), -EINVAL);
	assert_int_equal(str_to_bytes("G", &v), -EINVAL);
	assert_int_equal(str_to_bytes("17179869184G", &v), -ERANGE);
	assert_int_equal(v, 7);
	assert_int_equal(str_to_bytes("17179869183G", &v), 0);
	assert_int_equal(str_to_bytes("512M", &v), 0);
	assert_true(v == UINT64_C(512) << 20);
	assert_int_equal(str_to_bytes("64K", &v), 0);
	assert_int_equal(v, 65536);
	assert_int_equal(str_to_bytes("0", &v), 0);
	assert_int_equal(v, 0);
}

static void escape_leaves_only_printable_ascii(void **state)
{
	char out[2048];
	uint8_t all[256];

	(void)state;
	for (unsigned i = 0; i < 256; i++)
		all[i] = (uint8_t)i;
	str_escape(out, sizeof out, all, sizeof all);
	for (const char *p = out; *p; p++)
		assert_true(*p >= 0x20 && *p < 0x7f && *p != '"');
	assert_string_equal(str_escape(out, sizeof out, "a\\\"\n\xff", 5), "a\\x5c\\x22\\x0a\\xff");
	assert_string_equal(str_escape(out, sizeof out, NULL, 0), "");
}

/* For every size: terminated within it, and a cut ends in "..." and never within an escape. */
static void escape_cuts_cleanly(void **state)
{
	(void)state;
	for (size_t size = 8; size < 40; size++) {
		char out[64];

		memset(out, '#', sizeof out);
		str_escape(out, size, "ab\ncd\nef\ngh\nij\nkl", 17);
		assert_true(strlen(out) < size);
		assert_int_equal(out[size], '#');
		if (size < 17 + 15 + 1) {
			assert_string_equal(out + strlen(out) - 3, "...");
			out[strlen(out) - 3] = '\0';
			for (const char *p = strchr(out, '\\'); p; p = strchr(p + 1, '\\'))
				assert_memory_equal(p, "\\x0a", 4);
		}
	}
}

static void escape_keeps_what_fits_exactly(void **state)
{
	char out[8];

	(void)state;
	assert_string_equal(str_escape(out, sizeof out, "1234567", 7), "1234567");
	assert_string_equal(str_escape(out, sizeof out, "12345678", 8), "1234...");
}

static void copy_says_when_it_cuts(void **state)
{
	char out[4];

	(void)state;
	assert_true(str_copy(out, sizeof out, "abc"));
	assert_string_equal(out, "abc");
	assert_false(str_copy(out, sizeof out, "abcd"));
	assert_string_equal(out, "abc");
	assert_false(str_copy(out, 0, ""));
}

/* RFC 4648 section 10 */
static void base64_of_the_rfc(void **state)
{
	static const char *const pairs[][3] = {{"", "", ""}, {"f", "Zg==", "Zg"},
	    {"fo", "Zm8=", "Zm8"}, {"foo", "Zm9v", "Zm9v"}, {"foob", "Zm9vYg==", "Zm9vYg"},
	    {"fooba", "Zm9vYmE=", "Zm9vYmE"}, {"foobar", "Zm9vYmFy", "Zm9vYmFy"}};

	(void)state;
	for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
		char text[16];
		uint8_t back[16];
		size_t n = 99;

		b64_encode(text, pairs[i][0], strlen(pairs[i][0]));
		assert_string_equal(text, pairs[i][1]);
		assert_int_equal(strlen(text), B64_LEN(strlen(pairs[i][0])));
		assert_int_equal(b64_decode(back, sizeof back, text, strlen(text), &n), 0);
		assert_int_equal(n, strlen(pairs[i][0]));
		assert_memory_equal(back, pairs[i][0], n);
		b64url_encode(text, pairs[i][0], strlen(pairs[i][0]));
		assert_string_equal(text, pairs[i][2]);
	}
}

static void base64_alphabets(void **state)
{
	char text[8];
	uint8_t back[3];
	size_t n;

	(void)state;
	b64_encode(text, "\xfb\xef\xff", 3);
	assert_string_equal(text, "++//");
	b64url_encode(text, "\xfb\xef\xff", 3);
	assert_string_equal(text, "--__");
	assert_int_equal(b64_decode(back, 3, "++//", 4, &n), 0);
	assert_int_equal(b64_decode(back, 3, "--__", 4, &n), -EBADMSG);
}

static void base64_refuses_other_forms(void **state)
{
	static const char *const bad[] = {"Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "Zm8", "=",
	    "====", "A===", "Zg==Zg==", "Zm=v", "Z===", " Zg=", "Zg==\n", "Zm9v\n", "Zm9\n", "Zm9-",
	    "Zm9\x80", "Zg=a"};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		uint8_t back[16];
		size_t n = 99;

		assert_int_equal(
		    b64_decode(back, sizeof back, bad[i], strlen(bad[i]), &n), -EBADMSG);
		assert_int_equal(b64_decode(NULL, 0, bad[i], strlen(bad[i]), &n), -EBADMSG);
		assert_int_equal(n, 99);
	}
}

static void base64_minds_the_room(void **state)
{
	uint8_t back[4] = {0};
	size_t n = 99;

	(void)state;
	assert_int_equal(b64_decode(back, 3, "Zm9vYg==", 8, &n), -ENOBUFS);
	assert_int_equal(n, 99);
	assert_int_equal(b64_decode(back, 4, "Zm9vYg==", 8, &n), 0);
	assert_int_equal(n, 4);
	assert_int_equal(b64_decode(NULL, 0, "Zm9vYg==", 8, &n), 0);
	assert_int_equal(n, 4);
}

static void hex_is_lower_case(void **state)
{
	char out[7];

	(void)state;
	hex_encode(out, "\x00\xab\xff", 3);
	assert_string_equal(out, "00abff");
	hex_encode(out, "", 0);
	assert_string_equal(out, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_are_lower_case_words),
	    cmocka_unit_test(reserved_names_are_refused),
	    cmocka_unit_test(a_bad_name_is_shown_escaped),
	    cmocka_unit_test(numbers_are_plain_decimals),
	    cmocka_unit_test(durations_have_units),
	    cmocka_unit_test(sizes_have_units),
	    cmocka_unit_test(escape_leaves_only_printable_ascii),
	    cmocka_unit_test(escape_cuts_cleanly),
	    cmocka_unit_test(escape_keeps_what_fits_exactly),
	    cmocka_unit_test(copy_says_when_it_cuts),
	    cmocka_unit_test(base64_of_the_rfc),
	    cmocka_unit_test(base64_alphabets),
	    cmocka_unit_test(base64_refuses_other_forms),
	    cmocka_unit_test(base64_minds_the_room),
	    cmocka_unit_test(hex_is_lower_case),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
