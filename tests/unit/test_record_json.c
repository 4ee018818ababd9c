#include "broker/audit/record_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/audit/record_class.h"
#include "lib/buf.h"
#include "lib/msg.h"

/* What the record's writer makes of JSON, against jansson that reads it again. */

static void says(const json_t *v, const char *want)
{
	cleanup_buf struct buf b;
	json_t *again;

	buf_init(&b, 65536);
	record_json(&b, v, NULL, NULL);
	assert_int_equal(buf_status(&b), 0);
	if (want)
		assert_string_equal(buf_cstr(&b), want);
	again = json_loadb((const char *)b.data, b.len, JSON_DECODE_ANY, NULL);
	assert_non_null(again);
	assert_true(json_equal(v, again));
	json_decref(again);
}

static void writes_what_it_was_given(void **state)
{
	json_t *o = json_pack("{s:i, s:I, s:b, s:b, s:n, s:[i,s,{}], s:{}, s:[], s:f}", "one", 1,
	    "least", (json_int_t)INT64_MIN, "yes", 1, "no", 0, "nothing", "list", 0, "x", "object",
	    "array", "real", 0.5);

	(void)state;
	says(o, "{\"one\":1,\"least\":-9223372036854775808,\"yes\":true,\"no\":false,"
	        "\"nothing\":null,\"list\":[0,\"x\",{}],\"object\":{},\"array\":[],\"real\":0.5}");
	json_decref(o);
}

static void every_character_of_a_string_comes_back(void **state)
{
	(void)state;
	for (int c = 1; c < 0x250; c++) {
		char text[8] = {'a', 0};
		json_t *s;

		if (c < 0x80) {
			text[1] = (char)c;
		} else {
			text[1] = (char)(0xc0 | c >> 6);
			text[2] = (char)(0x80 | (c & 0x3f));
		}
		s = json_string(text);
		says(s, NULL);
		json_decref(s);
	}
}

static void no_control_character_is_raw(void **state)
{
	json_t *s = json_string("\x1b]0;x\a\x7f\r\n\t\"\\\b");
	cleanup_buf struct buf b;

	(void)state;
	buf_init(&b, 1024);
	record_json(&b, s, NULL, NULL);
	for (size_t i = 0; i < b.len; i++)
		assert_in_range(b.data[i], 0x20, 0x7e);
	says(s, NULL);
	json_decref(s);
}

static void what_is_nested_too_deep_is_cut(void **state)
{
	json_t *v = json_string("core");
	cleanup_buf struct buf b;

	(void)state;
	for (int i = 0; i < 1000; i++)
		v = json_pack("[o]", v);
	buf_init(&b, 4096);
	record_json(&b, v, NULL, NULL);
	assert_int_equal(b.len, 2 * MSG_DEPTH_MAX + strlen("null"));
	json_decref(v);
}

static const char *hide(const char *key, const char *value, size_t len, void *arg)
{
	(void)value;
	*(size_t *)arg += len;
	return strcmp(key, "peer") == 0 ? "hidden\"" : NULL;
}

static void members_can_be_replaced_at_any_depth(void **state)
{
	json_t *o = json_pack("{s:s, s:{s:s, s:i}}", "a", "x", "in", "peer", "192.0.2.1", "n", 1);
	cleanup_buf struct buf b;
	size_t seen = 0;

	(void)state;
	buf_init(&b, 1024);
	record_json(&b, o, hide, &seen);
	assert_string_equal(buf_cstr(&b), "{\"a\":\"x\",\"in\":{\"peer\":\"hidden\\\"\",\"n\":1}}");
	assert_int_equal(seen, 10);
	json_decref(o);
}

static void classes_have_their_ocsf_numbers(void **state)
{
	/* what the log says of itself is written when there is no room, too: what is in the archive
	 * can leave the store only then */
	static const char *const of_itself[] = {"log.alive", "log.archived", "log.break",
	    "log.checkpoint", "log.coalesced", "log.conflict", "log.conflict.accepted",
	    "log.created", "log.epoch", "log.erased", "log.late", "log.lost", "log.pruned",
	    "log.rollback", "log.space", "log.unarchived", "log.unsealed", "log.unwitnessed",
	    "log.witnessed"};

	(void)state;
	assert_int_equal(record_class_find("auth.refused")->class_uid, 3002);
	assert_int_equal(record_class_find("auth.refused")->kind, RECORD_DENIAL);
	assert_int_equal(record_class_find("channel.exec")->class_uid, 1007);
	assert_int_equal(record_class_find("spawn.lost")->kind, RECORD_END);
	assert_int_equal(record_class_find("session.end")->kind, RECORD_END);
	assert_int_equal(record_class_find("conn.end")->kind, RECORD_END);
	assert_int_equal(record_class_find("lease.end")->kind, RECORD_END);
	for (size_t i = 0; i < sizeof of_itself / sizeof of_itself[0]; i++) {
		assert_string_equal(record_class_find(of_itself[i])->name, of_itself[i]);
		assert_int_equal(record_class_find(of_itself[i])->kind, RECORD_END);
	}
	/* who asks for these can wait until there is room */
	assert_int_equal(record_class_find("log.read")->kind, RECORD_PLAIN);
	assert_int_equal(record_class_find("export.skipped")->kind, RECORD_PLAIN);
	assert_int_equal(record_class_find("no such thing")->class_uid, 0);
	assert_int_equal(record_class_find("no such thing")->activity_id, 99);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(writes_what_it_was_given),
	    cmocka_unit_test(every_character_of_a_string_comes_back),
	    cmocka_unit_test(no_control_character_is_raw),
	    cmocka_unit_test(what_is_nested_too_deep_is_cut),
	    cmocka_unit_test(members_can_be_replaced_at_any_depth),
	    cmocka_unit_test(classes_have_their_ocsf_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
