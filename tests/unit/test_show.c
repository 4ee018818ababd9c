#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "broker/audit/show.h"
#include "broker/audit/timeline.h"
#include "broker/ctl/audit_timeline.h"
#include "lib/buf.h"

/* Records for people: which are wanted, and what they look like. */

static json_t *record(const char *class_name, const char *time, json_t *subject, json_t *body)
{
	return json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "v", 2, "log", "demo", "time",
	    time, "class", class_name, "tenant", "demo", "prev", "", "subject",
	    subject ? subject : json_object(), "body", body ? body : json_object());
}

static json_t *by(const char *conn, const char *session)
{
	json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "conn", conn, "role", "agent", "person",
	    "alice", "peer", "192.0.2.1");

	if (session)
		(void)json_object_set_new(o, "session", json_string(session));
	return o;
}

static bool matches(const struct show_filter *f, json_t *r)
{
	bool match = show_match(f, r);

	json_decref(r);
	return match;
}

#define T1 "2026-11-23T15:38:41.000000Z"
#define T2 "2026-11-23T15:38:42.250000Z"
#define T3 "2026-11-23T15:39:42.250000Z"

static void a_key_is_followed_through_its_connection_and_session(void **state)
{
	json_auto_t *ids = json_object();
	struct show_filter f = {.actor = "SHA256:abc", .ids = ids};

	(void)state;
	assert_false(matches(&f, record("channel.exec", T1, by("c-1", "s-1"), NULL)));
	assert_true(matches(&f, record("grant", T1, by("c-1", NULL),
	                            json_pack("{s:{s:s}}", "grant", "key", "SHA256:abc"))));
	assert_true(matches(&f, record("session.start", T1, by("c-1", "s-1"), NULL)));
	assert_false(matches(&f, record("channel.exec", T1, by("c-2", "s-2"), NULL)));
	assert_true(matches(&f, record("conn.end", T1, by("c-1", NULL), NULL)));
	assert_true(matches(&f, record("session.end", T1, by("c-1", "s-1"), NULL)));
	/* nothing is kept of what is over */
	assert_int_equal(json_object_size(ids), 0);
}

static void text_is_looked_for_in_every_string(void **state)
{
	struct show_filter f = {.text = "needle"};

	(void)state;
	assert_true(matches(
	    &f, record("x", T1, NULL, json_pack("{s:[i,{s:s}]}", "a", 1, "b", "a needle in it"))));
	assert_true(matches(&f, record("x", T1, json_pack("{s:s}", "p", "needle"), NULL)));
	assert_false(matches(&f, record("x", T1, NULL, json_pack("{s:s}", "needle", "key only"))));
}

static void bytes_that_cannot_match_are_passed_over_and_no_others(void **state)
{
	struct show_filter f = {.session = "s-1", .class_name = "x"}, quoted = {.session = "s\"1"};

	(void)state;
	assert_true(show_may_match(&f, "..s-1..x..", 10));
	assert_false(show_may_match(&f, "..s-2..x..", 10));
	assert_true(show_may_match(&quoted, "s\\u00221", 8)); /* JSON may write it so */
}

static void every_byte_is_harmless(void **state)
{
	json_auto_t *r = NULL;
	struct buf b;

	(void)state;
	buf_init(&b, 1u << 20);
	for (int c = 1; c < 0xa0; c++) {
		char utf8[8] = {(char)(c < 0x80 ? c : 0xc2), (char)(c < 0x80 ? 0 : c), 0};

		r = record("x", T1, json_pack("{s:s}", utf8, utf8),
		    json_pack("{s:s, s:[s], s:{s:s}}", "a", utf8, "b", utf8, "c", utf8, utf8));
		buf_reset(&b);
		show_line(r, false, &b);
		show_line(r, true, &b);
		show_json(r, JSON_COMPACT, &b);
		for (size_t i = 0; i < b.len; i++)
			if (b.data[i] != '\n' && (b.data[i] < 0x20 || b.data[i] >= 0x7f))
				fail_msg("%02x of %02x", b.data[i], c);
		json_decref(r);
		r = NULL;
	}
	buf_done(&b);
}

static void a_line_has_an_end(void **state)
{
	json_t *body = json_object(), *r;
	struct buf b;
	char key[16];

	(void)state;
	for (int i = 0; i < 200; i++) {
		(void)snprintf(key, sizeof key, "k%d", i);
		(void)json_object_set_new(
		    body, key, json_string("0123456789012345678901234567890123456789"));
	}
	r = record("x", T1, NULL, body);
	buf_init(&b, 1u << 20);
	show_line(r, false, &b);
	assert_int_equal(b.len, SHOW_LINE_MAX);
	assert_memory_equal(b.data + b.len - 4, "...\n", 4);
	buf_reset(&b);
	show_line(r, true, &b);
	assert_true(b.len > 2 * SHOW_LINE_MAX);
	buf_done(&b);
	json_decref(r);
}

/* ---- timeline ---- */

static void add(struct timeline *t, json_t *r)
{
	assert_int_equal(timeline_add(t, r), 0);
	json_decref(r);
}

static void a_class_that_nobody_knows_is_told_all_the_same(void **state)
{
	struct timeline *t = timeline_new("s-1", "c-1");
	const json_t *o = timeline_json(t), *e;
	struct buf b;

	(void)state;
	add(t,
	    record("grant", T1, by("c-1", NULL), json_pack("{s:{s:s}}", "grant", "role", "agent")));
	add(t, record("session.start", T1, by("c-1", "s-1"), NULL));
	add(t, record("egress.new", T2, by("c-1", "s-1"),
	           json_pack("{s:s}", "host", "example\033[2J")));
	add(t, record("egress.new", T2, by("c-1", "s-2"), NULL)); /* another session's */
	e = json_array_get(json_object_get(o, "events"), 0);
	assert_int_equal(json_array_size(json_object_get(o, "events")), 1);
	assert_string_equal(json_string_value(json_object_get(e, "class")), "egress.new");
	assert_int_equal(json_integer_value(json_object_get(e, "at_ms")), 1250);
	buf_init(&b, 1u << 20);
	timeline_text(o, &b);
	assert_non_null(strstr(
	    buf_cstr(&b) ? (char *)b.data : "", "egress.new {\"host\":\"example\\u001B[2J\"}"));
	buf_done(&b);
	timeline_free(t);
}

static void an_end_belongs_to_the_newest_of_its_channel(void **state)
{
	struct timeline *t = timeline_new("s-1", NULL);
	const json_t *events = json_object_get(timeline_json(t), "events"), *e;

	(void)state;
	for (int i = 0; i < 2; i++) {
		add(t,
		    record("channel.exec", T1, by("c-1", "s-1"), json_pack("{s:i}", "channel", 0)));
		add(t, record("channel.end", T3, by("c-1", "s-1"),
		           json_pack("{s:i, s:i}", "channel", 0, "exit", i)));
	}
	add(t, record("channel.end", T3, by("c-1", "s-1"), json_pack("{s:i}", "channel", 7)));
	assert_int_equal(json_array_size(events), 2);
	for (size_t i = 0; i < 2; i++) {
		e = json_array_get(events, i);
		assert_int_equal(json_integer_value(json_object_get(e, "exit")), i);
		assert_int_equal(json_integer_value(json_object_get(e, "ms")), 61250);
	}
	timeline_free(t);
}

static void what_is_too_much_is_counted(void **state)
{
	struct timeline *t = timeline_new("s-1", "c-1");
	const json_t *o = timeline_json(t);

	(void)state;
	for (int i = 0; i < TIMELINE_EVENTS_MAX + 3; i++)
		add(t, record("x", T1, by("c-1", "s-1"), NULL));
	assert_int_equal(json_array_size(json_object_get(o, "events")), TIMELINE_EVENTS_MAX);
	assert_int_equal(json_integer_value(json_object_get(o, "more_events")), 3);
	timeline_free(t);
}

static void times_are_read_strictly(void **state)
{
	(void)state;
	assert_int_equal(timeline_time("1970-01-01T00:00:01.000002Z"), INT64_C(1000002000));
	assert_int_equal(timeline_time("1970-01-01T00:00:01Z"), -1);
	assert_int_equal(
	    timeline_time("2262-04-11T23:47:15.999999Z"), INT64_C(9223372035999999000));
	assert_int_equal(timeline_time("2262-04-11T23:47:16.000000Z"), -1);
	assert_int_equal(timeline_time("9999-12-31T23:59:59.999999Z"), -1);
	assert_int_equal(timeline_time("1969-12-31T23:59:59.000000Z"), -1);
	assert_int_equal(timeline_time(""), -1);
	assert_int_equal(timeline_time("x"), -1);
}

static void a_body_takes_its_place(void **state)
{
	json_t *r = record("x", T1, NULL,
	    json_pack("{s:s, s:s, s:i}", "kind", "exec", "body_digest", "00", "body_bytes", 3));
	const char whole[] = "{\"kind\":\"exec\",\"command\":\"all of it\"}";
	json_t *body;

	(void)state;
	assert_int_equal(show_body(r, "[]", 2), -EBADMSG);
	assert_int_equal(show_body(r, "{", 1), -EBADMSG);
	assert_int_equal(show_body(r, whole, sizeof whole - 1), 0);
	body = json_object_get(r, "body");
	assert_string_equal(json_string_value(json_object_get(body, "command")), "all of it");
	assert_string_equal(json_string_value(json_object_get(body, "body_digest")), "00");
	json_decref(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_key_is_followed_through_its_connection_and_session),
	    cmocka_unit_test(text_is_looked_for_in_every_string),
	    cmocka_unit_test(bytes_that_cannot_match_are_passed_over_and_no_others),
	    cmocka_unit_test(every_byte_is_harmless),
	    cmocka_unit_test(a_line_has_an_end),
	    cmocka_unit_test(a_class_that_nobody_knows_is_told_all_the_same),
	    cmocka_unit_test(an_end_belongs_to_the_newest_of_its_channel),
	    cmocka_unit_test(what_is_too_much_is_counted),
	    cmocka_unit_test(times_are_read_strictly),
	    cmocka_unit_test(a_body_takes_its_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
