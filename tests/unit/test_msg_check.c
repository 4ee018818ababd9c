#include "lib/msg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/err.h"
#include "lib/util.h"

static struct err why;

static int check(const struct msg_field *fields, const char *text)
{
	json_auto_t *o = json_loads(text, 0, NULL);

	assert_non_null(o);
	why = (struct err)ERR_INIT;
	return msg_check_fields("test", o, fields, &why);
}

static void every_kind_has_its_limits(void **state)
{
	static const struct {
		enum msg_kind kind;
		int64_t max;
		const char *value;
		bool good;
	} cases[] = {
	    {MSG_NAME, 31, "\"demo\"", true},
	    {MSG_NAME, 31, "\"../x\"", false},
	    {MSG_NAME, 31, "\"a+b\"", false},
	    {MSG_NAME, 31, "\"root\"", false},
	    {MSG_NAME, 31, "5", false},
	    {MSG_STRING, 3, "\"abc\"", true},
	    {MSG_STRING, 3, "\"abcd\"", false},
	    {MSG_STRING, 3, "\"\xc3\xa9\xc3\xa9\"", false}, /* bytes, not characters */
	    {MSG_STRING, 3, "[]", false},
	    {MSG_BYTES, 3, "\"Zm9v\"", true},
	    {MSG_BYTES, 2, "\"Zm9v\"", false},
	    {MSG_BYTES, 4, "\"Zm9vYg==\"", true},
	    {MSG_BYTES, 4, "\"Zm9vYg\"", false},
	    {MSG_BYTES, 4, "\"Zm9vYh==\"", false},
	    {MSG_BYTES, 4, "1", false},
	    {MSG_INT, 5, "0", true},
	    {MSG_INT, 5, "5", true},
	    {MSG_INT, 5, "6", false},
	    {MSG_INT, 5, "-1", false},
	    {MSG_INT, 5, "1.0", false},
	    {MSG_INT, INT64_MAX, "9223372036854775807", true},
	    {MSG_SIGNED, 5, "-5", true},
	    {MSG_SIGNED, 5, "-6", false},
	    {MSG_SIGNED, 5, "6", false},
	    {MSG_BOOL, 0, "true", true},
	    {MSG_BOOL, 0, "false", true},
	    {MSG_BOOL, 0, "1", false},
	    {MSG_BOOL, 0, "null", false},
	    {MSG_STRINGS, 2, "[\"a\",\"b\"]", true},
	    {MSG_STRINGS, 2, "[]", true},
	    {MSG_STRINGS, 2, "[\"a\",\"b\",\"c\"]", false},
	    {MSG_STRINGS, 2, "[\"a\",1]", false},
	    {MSG_STRINGS, 2, "\"a\"", false},
	    {MSG_BLOBS, 2, "[\"Zm9v\",\"\"]", true},
	    {MSG_BLOBS, 2, "[\"Zm9\"]", false},
	    {MSG_BLOBS, 1, "[\"\",\"\"]", false},
	    {MSG_INTS, 2, "[0,2147483647]", true},
	    {MSG_INTS, 2, "[2147483648]", false},
	    {MSG_INTS, 2, "[-1]", false},
	    {MSG_INTS, 2, "[1,2,3]", false},
	    {MSG_OBJECT, 1, "{\"x\":[1]}", true},
	    {MSG_OBJECT, 1, "{\"x\":1,\"y\":2}", false},
	    {MSG_OBJECT, 1, "[]", false},
	    {MSG_OBJECTS, 1, "[{}]", true},
	    {MSG_OBJECTS, 1, "[{},{}]", false},
	    {MSG_OBJECTS, 1, "[1]", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct msg_field f[] = {{"f", cases[i].kind, cases[i].max, false}, {0}};
		char text[200];

		(void)snprintf(text, sizeof text, "{\"f\":%s}", cases[i].value);
		if (check(f, text) != (cases[i].good ? 0 : -EBADMSG))
			fail_msg("case %zu: %s: %s", i, cases[i].value, why.text);
	}
}

static void elements_have_a_length_too(void **state)
{
	const struct msg_field f[] = {{"f", MSG_STRINGS, 2, false}, {0}};
	static char item[MSG_ITEM_MAX + 2];

	(void)state;
	memset(item, 'a', MSG_ITEM_MAX);
	json_auto_t *fits = json_pack("{s:[s]}", "f", item);
	assert_int_equal(msg_check_fields("t", fits, f, NULL), 0);
	item[MSG_ITEM_MAX] = 'a';
	json_auto_t *longer = json_pack("{s:[s]}", "f", item);
	assert_int_equal(msg_check_fields("t", longer, f, NULL), -EBADMSG);
}

static void optional_fields_may_be_absent_but_not_wrong(void **state)
{
	const struct msg_field f[] = {{"must", MSG_BOOL, 0, false}, {"may", MSG_INT, 9, true}, {0}};

	(void)state;
	assert_int_equal(check(f, "{\"must\":true}"), 0);
	assert_int_equal(check(f, "{\"must\":true,\"may\":1}"), 0);
	assert_int_equal(check(f, "{\"must\":true,\"may\":null}"), -EBADMSG);
	assert_int_equal(check(f, "{\"may\":1}"), -EBADMSG);
	assert_string_equal(why.text, "test: must: missing");
	assert_int_equal(check(f, "{\"must\":true,\"maybe\":1}"), -EBADMSG);
	assert_string_equal(why.text, "test: maybe: unknown key");
	assert_int_equal(check(f, "[]"), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_kind_has_its_limits),
	    cmocka_unit_test(elements_have_a_length_too),
	    cmocka_unit_test(optional_fields_may_be_absent_but_not_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
