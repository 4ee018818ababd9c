#include "creds/scope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/err.h"

static int parse(const char *text)
{
	struct scope *s = NULL;
	int r = scope_parse(text, strlen(text), &s, NULL);

	scope_free(s);
	return r;
}

static const char full[] =
    "{\"v\":1,\"template\":\"small\",\"credentials\":[\"jwt:a\",\"jwt:b\"],\"egress\":[],"
    "\"lifetime_s\":300,\"idle_s\":60,\"person\":\"J\\u00f6rg\",\"task\":\"T-1\","
    "\"allow\":[\"exec\",\"credential\"]}";

static void reads_every_field(void **state)
{
	struct scope *s = NULL;
	json_t *o, *want;

	(void)state;
	assert_int_equal(scope_parse(full, strlen(full), &s, NULL), 0);
	assert_string_equal(s->template, "small");
	assert_int_equal(s->credentials.n, 2);
	assert_string_equal(s->credentials.item[1], "jwt:b");
	assert_true(s->egress.present);
	assert_int_equal(s->egress.n, 0);
	assert_int_equal(s->lifetime_s, 300);
	assert_int_equal(s->idle_s, 60);
	assert_string_equal(s->person, "J\xc3\xb6rg");
	assert_string_equal(s->task, "T-1");
	assert_int_equal(s->allow, SCOPE_EXEC | SCOPE_CREDENTIAL);
	o = scope_to_json(s);
	want = json_loads(full, 0, NULL);
	assert_true(json_equal(o, want));
	json_decref(o);
	json_decref(want);
	scope_free(s);
}

static void what_is_absent_does_not_narrow(void **state)
{
	struct scope *s = NULL;
	json_t *o, *allowed = json_pack("[s,s]", "a", "b"), *out;

	(void)state;
	assert_int_equal(scope_parse("{\"v\":1}", 7, &s, NULL), 0);
	assert_string_equal(s->template, "");
	assert_int_equal(s->allow, SCOPE_ALL);
	assert_null(s->person);
	assert_true(scope_list_permits(&s->credentials, "anything"));
	out = scope_list_narrow(&s->egress, allowed);
	assert_true(json_equal(out, allowed));
	o = scope_to_json(s);
	assert_int_equal(json_object_size(o), 1);
	json_decref(o);
	json_decref(out);
	json_decref(allowed);
	scope_free(s);
}

static void an_empty_list_allows_nothing(void **state)
{
	struct scope *s = NULL;
	json_t *allowed = json_pack("[s,s]", "a", "b"), *out;
	static const char text[] = "{\"v\":1,\"egress\":[],\"allow\":[]}";

	(void)state;
	assert_int_equal(scope_parse(text, strlen(text), &s, NULL), 0);
	assert_false(scope_list_permits(&s->egress, "a"));
	assert_int_equal(s->allow, 0);
	out = scope_list_narrow(&s->egress, allowed);
	assert_int_equal(json_array_size(out), 0);
	json_decref(out);
	json_decref(allowed);
	scope_free(s);
}

static void a_list_never_adds(void **state)
{
	struct scope *s = NULL;
	json_t *allowed = json_pack("[s,s,s]", "jwt:b", "jwt:bb", "jwt:c"), *out;

	(void)state;
	assert_int_equal(scope_parse(full, strlen(full), &s, NULL), 0);
	out = scope_list_narrow(&s->credentials, allowed); /* jwt:a is not among what is allowed */
	assert_int_equal(json_array_size(out), 1);
	assert_string_equal(json_string_value(json_array_get(out, 0)), "jwt:b");
	json_decref(out);
	json_decref(allowed);
	allowed = json_pack("[s,i]", "jwt:b", 1);
	assert_null(scope_list_narrow(&s->credentials, allowed));
	json_decref(allowed);
	assert_null(scope_list_narrow(&s->credentials, NULL));
	scope_free(s);
}

static void the_shorter_time_holds(void **state)
{
	(void)state;
	assert_int_equal(scope_narrow_s(300, 0), 300);
	assert_int_equal(scope_narrow_s(0, 300), 300);
	assert_int_equal(scope_narrow_s(300, 60), 60);
	assert_int_equal(scope_narrow_s(60, 300), 60);
	assert_int_equal(scope_narrow_s(0, 0), 0);
}

static void refuses_what_it_does_not_understand(void **state)
{
	static const char *const bad[] = {"", " ", "null", "[]", "1", "\"v\"", "{}", "{\"v\":1",
	    "{\"v\":1}x", "{\"v\":1}{}", "{\"v\":1.0}", "{\"v\":\"1\"}", "{\"v\":0}", "{\"v\":2}",
	    "{\"v\":true}", "{\"v\":1,\"v\":1}", "{\"v\":1,\"other\":1}", "{\"v\":1,\"V\":1}",
	    "{\"v\":1,\"\":1}", "{\"v\":1,\"template\":null}", "{\"v\":1,\"template\":\"\"}",
	    "{\"v\":1,\"template\":\"../x\"}", "{\"v\":1,\"template\":\"root\"}",
	    "{\"v\":1,\"template\":\"A\"}", "{\"v\":1,\"template\":[\"a\"]}",
	    "{\"v\":1,\"credentials\":\"jwt:a\"}", "{\"v\":1,\"credentials\":[1]}",
	    "{\"v\":1,\"credentials\":[\"\"]}", "{\"v\":1,\"credentials\":{}}",
	    "{\"v\":1,\"egress\":null}", "{\"v\":1,\"egress\":[[]]}", "{\"v\":1,\"lifetime_s\":0}",
	    "{\"v\":1,\"lifetime_s\":-1}", "{\"v\":1,\"lifetime_s\":1.5}",
	    "{\"v\":1,\"lifetime_s\":\"5m\"}", "{\"v\":1,\"lifetime_s\":31622401}",
	    "{\"v\":1,\"lifetime_s\":99999999999999999999}", "{\"v\":1,\"idle_s\":0}",
	    "{\"v\":1,\"person\":1}", "{\"v\":1,\"person\":\"\"}", "{\"v\":1,\"task\":[]}",
	    "{\"v\":1,\"person\":\"a\\u0000b\"}", "{\"v\":1,\"allow\":\"exec\"}",
	    "{\"v\":1,\"allow\":[\"everything\"]}", "{\"v\":1,\"allow\":[\"exec\",\"exec\"]}",
	    "{\"v\":1,\"allow\":[1]}", "{\"v\":1,\"allow\":null}", "{'v':1}", "{\"v\":1,}",
	    "{\"v\":1,\"person\":\"\xff\"}"};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		if (parse(bad[i]) != -EBADMSG)
			fail_msg("accepted: %s", bad[i]);
	}
	assert_int_equal(scope_parse("{\"v\":1}\0", 8, &(struct scope *){NULL}, NULL), -EBADMSG);
	assert_int_equal(parse("{\"v\":1,\"lifetime_s\":31622400}"), 0);
}

static void says_what_is_wrong_without_control_characters(void **state)
{
	struct err e = ERR_INIT;
	struct scope *s;
	static const char text[] = "{\"v\":1,\"a\\u001b]0;\":1}";

	(void)state;
	assert_int_equal(scope_parse(text, strlen(text), &s, &e), -EBADMSG);
	assert_non_null(strstr(e.text, "\\x1b"));
	assert_null(strchr(e.text, '\33'));
}

static void bounds_lists_and_texts(void **state)
{
	char item[SCOPE_TEXT_MAX + 2];
	struct buf b;

	(void)state;
	buf_init(&b, 1u << 16);
	for (int extra = 0; extra < 2; extra++) {
		buf_reset(&b);
		buf_printf(&b, "{\"v\":1,\"egress\":[\"x\"");
		for (int i = 1; i < SCOPE_LIST_MAX + extra; i++)
			buf_printf(&b, ",\"x%d\"", i);
		buf_printf(&b, "]}");
		assert_int_equal(parse(buf_cstr(&b)), extra == 0 ? 0 : -EBADMSG);

		memset(item, 'x', sizeof item);
		item[SCOPE_TEXT_MAX + extra] = '\0';
		buf_reset(&b);
		buf_printf(&b, "{\"v\":1,\"task\":\"%s\"}", item);
		assert_int_equal(parse(buf_cstr(&b)), extra == 0 ? 0 : -EBADMSG);

		buf_reset(&b);
		buf_printf(&b, "{\"v\":1%*s}", (int)SCOPE_MAX - 7 + extra, "");
		assert_int_equal(parse(buf_cstr(&b)), extra == 0 ? 0 : -EBADMSG);
	}
	/* deep nesting costs an error and nothing else */
	buf_reset(&b);
	for (int i = 0; i < 8000; i++)
		buf_put(&b, "[", 1);
	assert_int_equal(parse(buf_cstr(&b)), -EBADMSG);
	buf_done(&b);
}

static void names_of_what_is_allowed_round_trip(void **state)
{
	(void)state;
	for (unsigned bit = 1; bit < SCOPE_ALL; bit <<= 1)
		assert_int_equal(scope_allow_bit(scope_allow_name(bit)), bit);
	assert_int_equal(scope_allow_bit("root"), 0);
	assert_null(scope_allow_name(0));
	assert_null(scope_allow_name(3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_every_field),
	    cmocka_unit_test(what_is_absent_does_not_narrow),
	    cmocka_unit_test(an_empty_list_allows_nothing),
	    cmocka_unit_test(a_list_never_adds),
	    cmocka_unit_test(the_shorter_time_holds),
	    cmocka_unit_test(refuses_what_it_does_not_understand),
	    cmocka_unit_test(says_what_is_wrong_without_control_characters),
	    cmocka_unit_test(bounds_lists_and_texts),
	    cmocka_unit_test(names_of_what_is_allowed_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
