#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/audit/body.h"
#include "broker/audit/logs.h"
#include "broker/core/core.h"
#include "broker/core/export_internal.h"
#include "broker/core/peer.h"
#include "broker/store/store.h"
#include "creds/note.h"
#include "lib/buf.h"
#include "lib/chan.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/msg.h"
#include "tests/support/exporter_rig.h"

/*
 * The exporter as the core sees it: somebody who may be taken over. It gets what its sinks are to
 * have, moves cursors forward only, and can make the log say little.
 */

/* ---- what there is ---- */

static void tells_what_has_grown(void **state)
{
	struct xr *f = *state;
	struct msg m = MSG_INIT;
	json_t *logs;

	xr_write(f, "demo", 3);
	rig_expect(f->x, "export.grown", &m);
	logs = msg_obj(&m, "logs");
	assert_int_equal(json_array_size(logs), 1);
	assert_string_equal(
	    json_string_value(json_object_get(json_array_get(logs, 0), "log")), "demo");
	assert_int_equal(json_integer_value(json_object_get(json_array_get(logs, 0), "size")), 3);
	msg_done(&m);
	xr_write(f, "demo", 1);
	rig_expect(f->x, "export.grown", &m);
	assert_int_equal(json_array_size(msg_obj(&m, "logs")), 1);
	msg_done(&m);
	xr_link(f); /* a new one is told all */
	rig_expect(f->x, "export.grown", &m);
	assert_int_equal(json_array_size(msg_obj(&m, "logs")), 2);
	msg_done(&m);
	rig_expect_nothing(f->x);
}

static void gives_records_in_order(void **state)
{
	struct xr *f = *state;
	struct msg m = MSG_INIT;
	cleanup_buf struct buf want, got;
	json_t *records;

	buf_init(&want, STORE_VALUE_MAX);
	buf_init(&got, STORE_VALUE_MAX);
	xr_write(f, "demo", 5);
	xr_pull(f, "demos", "demo", 2);
	xr_expect(f, "export.batch", &m);
	assert_int_equal(msg_int(&m, "from", -1), 2);
	assert_int_equal(msg_int(&m, "size", -1), 5);
	records = msg_obj(&m, "records");
	assert_int_equal(json_array_size(records), 4);
	assert_int_equal(logs_get(f->r->store, 1, 3, &want), 0);
	assert_int_equal(msg_json_decode(json_array_get(records, 1), &got), 0);
	assert_int_equal(got.len, want.len);
	assert_memory_equal(got.data, want.data, want.len);
	assert_null(msg_obj(&m, "private"));
	msg_done(&m);
	xr_pull(f, "demos", "demo", 6);
	xr_expect(f, "export.batch", &m);
	assert_int_equal(json_array_size(msg_obj(&m, "records")), 0);
	msg_done(&m);
}

static void gives_no_log_that_no_sink_is_to_have(void **state)
{
	struct xr *f = *state;
	struct msg m = MSG_INIT;

	xr_write(f, "demo", 1);
	xr_pull(f, "demos", "host", 1);
	xr_refused(f, "no sink");
	xr_pull(f, "people", "demo", 1);
	xr_refused(f, "no sink");
	xr_pull(f, "nobody", "host", 1);
	xr_refused(f, "no sink");
	xr_pull(f, "archive", "host", 1); /* there is no archive configured */
	xr_refused(f, "no sink");
	xr_pull(f, "all", "nothing", 1);
	xr_refused(f, "no such log");
	xr_pull(f, "all", "host", 0);
	xr_refused(f, "from 1");
	xr_open(f, "demos", "host");
	xr_refused(f, "no sink");
	rig_send(f->x, "export.notes", 5,
	    json_pack("{s:s, s:s, s:i}", "log", "demo", "kind", "secret", "from", 0));
	xr_refused(f, "three kinds");
	rig_send(f->x, "export.notes", 5,
	    json_pack("{s:s, s:s, s:i}", "log", "demo", "kind", "checkpoint", "from", 0));
	xr_expect(f, "export.notelist", &m);
	msg_done(&m);
}

static void ask_body(struct xr *f, const char *sink, const char *log, int at)
{
	rig_send(f->x, "export.body", 5,
	    json_pack("{s:s, s:s, s:i, s:i}", "sink", sink, "log", log, "seq",
	        (int)xr_size(f, strcmp(log, "demo") == 0), "at", at));
}

static void gives_bodies_in_pieces(void **state)
{
	struct xr *f = *state;
	struct msg m = MSG_INIT;
	cleanup_buf struct buf want, got;
	char text[80000];

	buf_init(&want, BODY_MAX);
	buf_init(&got, BODY_MAX);
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	assert_int_equal(
	    note(f->r->core, "conn.event", "demo", json_pack("{s:s}", "person", "ann@example.com"),
	        json_pack("{s:s, s:s}", "text", text, "person", "ann@example.com")),
	    0);
	xr_commit(f);
	assert_int_equal(logs_body_get(f->r->store, 1, xr_size(f, 1), &want), 0);
	do {
		ask_body(f, "all", "demo", (int)got.len);
		xr_expect(f, "export.bodypart", &m);
		assert_int_equal(msg_int(&m, "size", 0), want.len);
		assert_int_equal(msg_bytes(&m, "data", &got), 0);
		assert_null(msg_obj(&m, "private"));
		msg_done(&m);
	} while (got.len < want.len);
	assert_int_equal(got.len, want.len);
	assert_memory_equal(got.data, want.data, want.len);
	ask_body(f, "demos", "host", 0); /* not its log */
	xr_refused(f, "no sink");
	ask_body(f, "archive", "demo", 0); /* none is configured */
	xr_refused(f, "no sink");
	ask_body(f, "all", "demo", (int)want.len + 1);
	xr_refused(f, "cannot be read");
	ask_body(f, "all", "host", 0); /* it has none */
	xr_expect(f, "export.bodypart", &m);
	assert_int_equal(msg_int(&m, "size", -1), 0);
	msg_done(&m);
}

static void personal_values_go_where_they_may(void **state)
{
	struct xr *f = *state;
	struct msg m = MSG_INIT;

	assert_int_equal(note(f->r->core, "conn.refused", NULL,
	                     json_pack("{s:s, s:s}", "conn", "c-1", "peer", "192.0.2.7"), NULL),
	    0);
	xr_commit(f);
	xr_pull(f, "all", "host", xr_size(f, 0));
	xr_expect(f, "export.batch", &m);
	assert_null(msg_obj(&m, "private"));
	msg_done(&m);
	xr_pull(f, "people", "host", xr_size(f, 0));
	xr_expect(f, "export.batch", &m);
	assert_int_equal(json_array_size(msg_obj(&m, "private")), 1);
	msg_done(&m);
}

/* ---- cursors ---- */

static void a_cursor_goes_forward_only(void **state)
{
	struct xr *f = *state;

	xr_write(f, "demo", 5);
	xr_open(f, "demos", "demo");
	xr_at(f, 0, 0);
	xr_done(f, "demos", "demo", 4);
	xr_at(f, 4, 0);
	xr_done(f, "demos", "demo", 2);
	xr_at(f, 4, 0);
	xr_done(f, "demos", "demo", 6);
	xr_refused(f, "come so far");
	xr_open(f, "demos", "demo");
	xr_at(f, 4, 0);
	xr_open(f, "all", "demo");
	xr_at(f, 0, 0);
	xr_done(f, "nobody", "demo", 1);
	xr_refused(f, "no sink");
}

static void a_cursor_outlives_the_core(void **state)
{
	struct xr *f = *state;
	uint64_t size;

	xr_write(f, "demo", 5);
	xr_done(f, "demos", "demo", 3);
	xr_at(f, 3, 0);
	size = xr_size(f, 0);
	xr_restart(f);
	xr_open(f, "demos", "demo");
	xr_at(f, 3, 0);
	assert_int_equal(export_taken(f->r->core, "demo"), 0); /* sink all has nothing */
	/* keeping it wrote no record: host.start, config.loaded, and no more */
	xr_commit(f);
	assert_int_equal(xr_size(f, 0), size + 2);
}

/* ---- skips ---- */

static void a_skip_is_recorded_before_the_cursor_moves(void **state)
{
	struct xr *f = *state;

	xr_write(f, "demo", 3);
	xr_skip(f, "demos", "demo", 2);
	xr_refused(f, "only the next");
	xr_skip(f, "demos", "demo", 1);
	xr_at(f, 1, 0);
	assert_int_equal(xr_records_with(f, "\"class\":\"export.skipped\""), 1);
	xr_skip(f, "demos", "demo", 1);
	xr_refused(f, "only the next");
	xr_skip(f, "demos", "demo", 4);
	xr_refused(f, "only the next");
}

/* A sink that refuses everything must not get more to refuse by that. */
static void skips_of_skips_leave_no_record(void **state)
{
	struct xr *f = *state;
	uint64_t size = xr_size(f, 0), after;

	for (uint64_t i = 1; i <= size; i++) {
		xr_skip(f, "people", "host", i);
		xr_at(f, i, 0);
	}
	after = xr_size(f, 0);
	assert_int_equal(after, 2 * size);
	for (uint64_t i = size + 1; i <= after; i++) {
		xr_skip(f, "people", "host", i);
		xr_at(f, i, 0);
	}
	xr_commit(f);
	assert_int_equal(xr_size(f, 0), after);
}

static void skips_have_a_rate(void **state)
{
	struct xr *f = *state;
	int n = EXPORT_SKIPS_BURST + 20;
	struct msg m = MSG_INIT;
	int good = 0;

	xr_write(f, "demo", n);
	for (int i = 0; i < n; i++) {
		struct msg got = MSG_INIT;

		xr_skip(f, "demos", "demo", (uint64_t)good + 1);
		for (int turns = 0; turns < 100; turns++) {
			int r = chan_recv(f->x->chan, &got, NULL);

			if (r == 1 && !xr_by_itself(&got))
				break;
			if (r == 1)
				msg_done(&got);
			rig_turns(f->r);
		}
		assert_non_null(got.type);
		good += msg_is(&got, "export.at");
		msg_done(&got);
	}
	assert_in_range(good, EXPORT_SKIPS_BURST - 1, EXPORT_SKIPS_BURST + 10);
	(void)m;
}

/* ---- what the exporter says of itself ---- */

static json_t *said_since(const char *name, const char *state, const char *reason, int64_t since_s)
{
	return json_pack("{s:[{s:s, s:s, s:s, s:s, s:i, s:I}]}", "sinks", "name", name, "kind",
	    "jsonl", "state", state, "reason", reason, "sent", 5, "since_s", (json_int_t)since_s);
}

static json_t *said(const char *name, const char *state, const char *reason)
{
	return said_since(name, state, reason, 7);
}

static void shows_what_the_exporter_says_of_sinks(void **state)
{
	struct xr *f = *state;
	json_auto_t *s = NULL;
	json_t *sink;

	xr_write(f, "demo", 4);
	xr_done(f, "demos", "demo", 1);
	xr_at(f, 1, 0);
	rig_send(f->x, "export.state", 0, said("nobody", "up", ""));
	rig_send(f->x, "export.state", 0, said("demos", "away", "\x1b]0;x\x07"));
	rig_turns(f->r);
	s = export_status(f->r->core);
	assert_true(json_is_true(json_object_get(s, "running")));
	sink = json_array_get(json_object_get(s, "sinks"), 2);
	assert_string_equal(json_string_value(json_object_get(sink, "name")), "demos");
	assert_string_equal(json_string_value(json_object_get(sink, "state")), "away");
	assert_string_equal(json_string_value(json_object_get(sink, "reason")), "\\x1b]0;x\\x07");
	assert_int_equal(json_integer_value(json_object_get(sink, "behind")), 3);
}

static void a_sink_that_has_been_failing_is_an_alarm(void **state)
{
	int64_t now_s = clock_wall_ns() / NSEC_PER_SEC;
	struct xr *f = *state;

	rig_send(f->x, "export.state", 0, said_since("demos", "failing", "refused", now_s - 5));
	rig_turns(f->r);
	assert_int_equal(xr_alarms(f, "sink demos has been failing"), 0);
	rig_send(f->x, "export.state", 0,
	    said_since("demos", "failing", "refused", now_s - EXPORT_SINK_S - 2));
	rig_turns(f->r);
	assert_int_equal(xr_alarms(f, "sink demos has been failing"), 1);
	rig_send(f->x, "export.state", 0, said_since("demos", "ok", "", now_s - EXPORT_SINK_S - 2));
	rig_turns(f->r);
	assert_int_equal(xr_alarms(f, "sink demos has been failing"), 0);
}

static void a_rule_broken_costs_the_link_and_no_more(void **state)
{
	struct xr *f = *state;

	rig_send(f->x, "export.state", 0, json_pack("{s:[{s:s}]}", "sinks", "name", "all"));
	rig_expect_closed(f->x);
	assert_null(f->r->core->exporter);
	assert_int_equal(xr_alarms(f, "exporter is not there"), 1);
	xr_link(f);
	xr_open(f, "all", "host");
	xr_at(f, 0, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, xr_setup, xr_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(tells_what_has_grown),
	    TEST(gives_records_in_order),
	    TEST(gives_no_log_that_no_sink_is_to_have),
	    TEST(gives_bodies_in_pieces),
	    TEST(personal_values_go_where_they_may),
	    TEST(a_cursor_goes_forward_only),
	    TEST(a_cursor_outlives_the_core),
	    TEST(a_skip_is_recorded_before_the_cursor_moves),
	    TEST(skips_of_skips_leave_no_record),
	    TEST(skips_have_a_rate),
	    TEST(shows_what_the_exporter_says_of_sinks),
	    TEST(a_sink_that_has_been_failing_is_an_alarm),
	    TEST(a_rule_broken_costs_the_link_and_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
