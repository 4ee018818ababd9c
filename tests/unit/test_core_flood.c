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

#include "broker/audit/logs.h"
#include "broker/core/conn.h"
#include "broker/store/store.h"
#include "lib/chan.h"
#include "lib/loop.h"
#include "lib/util.h"
#include "tests/support/core_rig.h"

#define STRANGERS 40

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

/* ---- writing: the log decides (record_share.h), and what is asked for is refused or left out ----
 */

struct tally {
	const char *class_name;
	size_t n, told;
};

static int on_record(uint64_t seq, const void *data, size_t len, void *arg)
{
	struct tally *t = arg;
	json_t *o = json_loadb(data, len, 0, NULL);
	const json_t *classes;

	(void)seq;
	t->n += strcmp(json_string_value(json_object_get(o, "class")), t->class_name) == 0;
	classes = json_object_get(json_object_get(o, "body"), "classes");
	t->told += (size_t)json_integer_value(json_object_get(classes, t->class_name));
	json_decref(o);
	return 0;
}

/* Records of this class in a log, and how many more it says that there were. */
static struct tally tally(struct rig *r, const char *log, const char *class_name)
{
	struct tally t = {.class_name = class_name};
	struct log_info l = {0};

	assert_int_equal(r->log->ops->flush(r->log), 0);
	assert_int_equal(logs_find(r->store, log, &l), 0);
	assert_int_equal(logs_walk(r->store, l.number, 1, STORE_WALK_MAX, on_record, &t), 0);
	return t;
}

static struct rig *with_limits(struct rig *r, const struct record_options *o)
{
	rig_stop(r);
	r->limits = *o;
	rig_start(r, NULL);
	rig_ready(r);
	return r;
}

static int stored(void **state)
{
	*state = core_rig_new(true, NULL);
	return 0;
}

/* A subsystem that is not offered, with a name that is long in a record. */
static void ask_in_vain(struct rig_end *w, int channel)
{
	char name[4096];

	memset(name, 1, sizeof name);
	rig_send(w, "channel.exec", 1,
	    json_pack("{s:i, s:s, s:o, s:[]}", "channel", channel, "kind", "subsystem", "command",
	        msg_json_bytes(name, sizeof name), "env"));
	rig_expect(w, "channel.denied", NULL);
}

static bool let_in(struct rig *r, const struct rig_cert *c, const char *from, const char **ret_why)
{
	static char why[256];
	struct rig_end *w = rig_worker(r, from);
	struct msg m = MSG_INIT;
	bool ok;

	rig_auth(w, "agent", rig_cert(r, c), true);
	rig_expect(w, "auth.verdict", &m);
	ok = msg_bool(&m, "ok");
	(void)snprintf(why, sizeof why, "%s", ok ? "" : msg_str(&m, "banner"));
	*ret_why = why;
	msg_done(&m);
	rig_end_free(w);
	return ok;
}

static void an_agent_cannot_fill_the_log(void **state)
{
	struct rig *r = *state;
	struct rig_cert other = {
	    .ca = r->other_ca, .principal = "agent", .from_s = -60, .to_s = 300};
	struct rig_cert own = {.principal = "agent", .from_s = -60, .to_s = 300};
	struct record_options o = r->limits;
	struct msg m = MSG_INIT;
	struct rig_end *w;
	struct tally t;
	const char *why;

	o.byte_rate = 1;
	o.byte_burst = 200000;
	w = rig_agent(with_limits(r, &o));
	for (int i = 0; i < 60; i++) {
		ask_in_vain(w, 1);
		if (i % (CONN_EXEC_BURST / 2) == 0 && i > 0 && i < 8) {
			rig_end_free(w);
			w = rig_agent(r);
		}
	}
	/* what was refused is not written for ever, and it is told how much that was */
	rig_exec(w, 2, "true", false);
	rig_expect(w, "channel.denied", &m);
	assert_non_null(strstr(msg_str(&m, "reason"), "share of the log"));
	msg_done(&m);
	assert_false(let_in(r, &own, "192.0.2.10", &why));
	assert_non_null(strstr(why, "share of the log"));
	/* others have a share of their own */
	assert_true(let_in(r, &other, "192.0.2.9", &why));
	rig_end_free(w);
	rig_turns(r);
	r->log->ops->flush(r->log);
	rig_stop(r); /* says what it has counted */
	rig_start(r, NULL);
	rig_ready(r);
	t = tally(r, "demo", "channel.denied");
	assert_in_range(t.n, 5, 10);
	assert_true(t.told >= 20);
}

static void strangers_are_counted_when_they_are_too_many(void **state)
{
	struct rig *r = *state;
	struct record_options o = r->limits;
	struct msg m = MSG_INIT;
	struct rig_end *w;
	struct tally t;

	o.rate = 1;
	o.burst = 20;
	(void)with_limits(r, &o);
	for (int i = 0; i < 60; i++) {
		w = rig_worker(r, "192.0.2.9");
		rig_auth(w, "agent", json_string("AAAA"), false);
		rig_expect(w, "auth.verdict", &m);
		assert_false(msg_bool(&m, "ok"));
		msg_done(&m);
		rig_end_free(w);
		rig_turns(r);
	}
	/* no end without a beginning */
	t = tally(r, "host", "conn.accepted");
	assert_in_range(t.n, 5, 25);
	assert_in_range(tally(r, "host", "conn.end").n, 0, t.n);
	assert_in_range(t.n + tally(r, "host", "auth.refused").n, 20, 30);
	/* one that is let in has its tenant's share, and its end is told */
	w = rig_agent(r);
	assert_int_equal(tally(r, "demo", "grant").n, 1);
	rig_end_free(w);
	rig_turns(r);
	assert_int_equal(tally(r, "demo", "conn.end").n, 1);
	rig_stop(r);
	rig_start(r, NULL);
	rig_ready(r);
	t = tally(r, "host", "conn.accepted");
	assert_in_range(t.n + t.told, 61, 61);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(strangers_are_heard_little_by_little, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_stranger_asks_once, setup, teardown),
	    cmocka_unit_test_setup_teardown(an_agent_cannot_fill_the_log, stored, teardown),
	    cmocka_unit_test_setup_teardown(
	        strangers_are_counted_when_they_are_too_many, stored, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
