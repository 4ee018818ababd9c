/*
 * Who talks too much: how long the core listens to one of many, and how much it writes down for
 * them.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/core/budget.h"
#include "broker/core/conn.h"
#include "lib/chan.h"
#include "lib/clock.h"
#include "lib/loop.h"
#include "lib/util.h"
#include "tests/support/core_rig.h"
#include "tests/support/record_memory.h"

#define STRANGERS 40
#define MSEC      (NSEC_PER_SEC / 1000)

static int setup(void **state)
{
	*state = core_rig_new(false, NULL);
	return 0;
}

static int teardown(void **state)
{
	core_rig_free(*state);
	return 0;
}

static json_t *long_exec(int channel)
{
	size_t n = 80000; /* base64 of nearly 64 KiB */
	char *text = malloc(n + 1);
	json_t *o;

	assert_non_null(text);
	memset(text, 'A', n);
	text[n] = '\0';
	o = json_pack(
	    "{s:i, s:s, s:s, s:[]}", "channel", channel, "kind", "exec", "command", text, "env");
	free(text);
	return o;
}

/* ---- listening ---- */

static void strangers_are_heard_little_by_little(void **state)
{
	struct rig *r = *state;
	struct rig_end *e[STRANGERS];
	size_t heard = 0;

	rig_listen(r, "run");
	for (size_t i = 0; i < STRANGERS; i++) {
		e[i] = rig_connect(r, "run", MSG_RUN);
		rig_turns(r);
	}
	for (size_t i = 0; i < STRANGERS; i++)
		rig_send(e[i], "channel.exec", 1, long_exec(1));
	/* a few turns read a few of them, whatever is waiting */
	rig_turns(r);
	for (size_t i = 0; i < STRANGERS; i++) {
		struct msg m = MSG_INIT;

		if (chan_recv(e[i]->chan, &m, NULL) == 1)
			heard++;
		msg_done(&m);
	}
	assert_in_range(heard, 1, STRANGERS / 2);
	for (size_t i = 0; i < STRANGERS; i++)
		rig_end_free(e[i]);
}

static void a_stranger_asks_once(void **state)
{
	struct rig *r = *state;
	struct rig_end *e;

	rig_listen(r, "run");
	e = rig_connect(r, "run", MSG_RUN);
	rig_exec(e, 0, "true", false);
	rig_expect(e, "channel.denied", NULL);
	rig_expect_closed(e);
	rig_end_free(e);
	e = rig_connect(r, "run", MSG_RUN);
	rig_send(e, "channel.signal", 0, json_pack("{s:i, s:s}", "channel", 0, "signal", "TERM"));
	rig_expect_closed(e);
	rig_end_free(e);
}

/* ---- writing ---- */

/* A subsystem that is not offered, with a name that is long in a record: it is refused. */
static bool refused_on_record(struct rig_end *w, int channel)
{
	struct msg m = MSG_INIT;
	char name[4096];
	bool full;

	memset(name, 1, sizeof name);
	rig_send(w, "channel.exec", 1,
	    json_pack("{s:i, s:s, s:o, s:[]}", "channel", channel, "kind", "subsystem", "command",
	        msg_json_bytes(name, sizeof name), "env"));
	rig_expect(w, "channel.denied", &m);
	full = strstr(msg_str(&m, "reason"), "share of the log") != NULL;
	msg_done(&m);
	return !full;
}

static void an_agent_cannot_fill_the_log(void **state)
{
	struct rig *r = *state;
	struct rig_cert other = {
	    .ca = r->other_ca, .principal = "agent", .from_s = -60, .to_s = 300};
	struct rig_end *w = rig_agent(r), *w2;
	struct msg m = MSG_INIT;
	size_t most = BUDGET_BURST / 4096 / 6, n = 0;

	/* a connection has a rate of its own, and another one is soon made */
	while (n <= 2 * most && refused_on_record(w, 1)) {
		if (++n % (CONN_EXEC_BURST / 2) != 0)
			continue;
		rig_end_free(w);
		w = rig_agent(r);
	}
	assert_in_range(n, most / 2, most + most / 4);
	assert_int_equal(record_memory_count(r->log, "channel.denied"), n);
	/* others have a share of their own */
	w2 = rig_worker(r, "192.0.2.9");
	rig_auth(w2, "agent", rig_cert(r, &other), true);
	rig_expect(w2, "auth.verdict", &m);
	assert_true(msg_bool(&m, "ok"));
	msg_done(&m);
	assert_true(refused_on_record(w2, 1));
	/* its own has room for no other login either, until time has passed */
	while (budget_take(r->core, "demo", BUDGET_SMALL))
		;
	rig_end_free(w2);
	w2 = rig_worker(r, "192.0.2.10");
	other.ca = NULL;
	rig_auth(w2, "agent", rig_cert(r, &other), true);
	rig_expect(w2, "auth.verdict", &m);
	assert_false(msg_bool(&m, "ok"));
	msg_done(&m);
	rig_end_free(w2);
	rig_end_free(w);
}

static void strangers_are_counted_when_they_are_too_many(void **state)
{
	struct rig *r = *state;
	int64_t start = clock_mono_ns();
	struct rig_end *w;
	struct msg m = MSG_INIT;
	size_t n;

	while (budget_take(r->core, NULL, BUDGET_SMALL))
		;
	n = record_memory_count(r->log, "conn.accepted");
	for (int i = 0; i < 60; i++) {
		w = rig_worker(r, "192.0.2.9");
		rig_auth(w, "agent", json_string("AAAA"), false);
		rig_expect(w, "auth.verdict", &m);
		assert_false(msg_bool(&m, "ok"));
		msg_done(&m);
		rig_end_free(w);
		rig_turns(r);
	}
	n = record_memory_count(r->log, "conn.accepted") +
	    record_memory_count(r->log, "auth.refused") - n;
	/* no more than the time that has passed allows */
	assert_true(
	    (int64_t)n <= (clock_mono_ns() - start) / MSEC * BUDGET_RATE / 1000 / BUDGET_SMALL + 1);
	/* one that is let in is known by its grant, and its end is told */
	while (budget_take(r->core, NULL, BUDGET_SMALL))
		;
	w = rig_agent(r);
	rig_end_free(w);
	rig_turns(r);
	assert_non_null(strstr(record_memory_text(r->log, "conn.end", "reason"), "worker"));
}

static void what_was_left_out_is_told(void **state)
{
	struct rig *r = *state;

	while (budget_take(r->core, NULL, BUDGET_SMALL))
		;
	/* time gives it room again, for the next and for the count */
	for (int i = 0; i < 100 && !budget_take(r->core, NULL, 1); i++)
		rig_turns(r);
	for (int i = 0; i < 100 && record_memory_count(r->log, "log.unsaid") == 0; i++) {
		rig_turns(r);
		(void)budget_take(r->core, NULL, 1);
	}
	rig_turns(r);
	assert_int_equal(record_memory_count(r->log, "log.unsaid"), 1);
	assert_true(
	    json_integer_value(json_object_get(
	        json_object_get(record_memory_last(r->log, "log.unsaid"), "body"), "count")) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(strangers_are_heard_little_by_little, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_stranger_asks_once, setup, teardown),
	    cmocka_unit_test_setup_teardown(an_agent_cannot_fill_the_log, setup, teardown),
	    cmocka_unit_test_setup_teardown(
	        strangers_are_counted_when_they_are_too_many, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_was_left_out_is_told, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
