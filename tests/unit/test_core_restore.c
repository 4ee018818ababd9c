#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <fcntl.h>
#include "broker/store/store.h"
#include "creds/cert.h"
#include "lib/buf.h"
#include "lib/chan.h"
#include "lib/fdio.h"
#include "tests/support/core_rig.h"

/*
 * The core that comes back, on the same store: what rows, kept descriptors and spawn's list agree
 * on goes on; the rest is ended and recorded.
 */

struct fix {
	struct rig *r;
	struct rig_end *w;
	char session[CORE_ID_MAX + 1];
	int init;
	int kept_conn, kept_init; /* what the supervisor kept */
};

/* The descriptor that the core had the supervisor keep under this name. */
static int kept(struct rig *r, const char *kind, const char *id)
{
	char name[64];
	int fd = -1;

	(void)snprintf(name, sizeof name, "%s:%s", kind, id);
	for (;;) {
		struct msg m = MSG_INIT;

		if (chan_recv(r->supervisor->chan, &m, NULL) != 1)
			break;
		if (msg_is(&m, "store.put") && strcmp(msg_str(&m, "name"), name) == 0)
			fd = msg_take_fd(&m, 0);
		msg_done(&m);
		if (fd >= 0)
			return fd;
	}
	fail_msg("%s was not kept", name);
	return -1;
}

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof *f);

	f->r = core_rig_new(true, NULL);
	f->w = rig_agent(f->r);
	f->init = rig_session(f->r, f->w, f->session);
	rig_turns(f->r);
	f->kept_conn = kept(f->r, "conn", f->w->conn);
	f->kept_init = kept(f->r, "init", f->session);
	rig_stop(f->r);
	rig_start(f->r, NULL);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	rig_end_free(f->w);
	(void)close(f->init);
	(void)close(f->kept_conn);
	(void)close(f->kept_init);
	core_rig_free(f->r);
	free(f);
	return 0;
}

/* spawn's answers to the list that was asked for last. */
static void listing(struct fix *f, json_t *sessions)
{
	rig_send(f->r->spawn, "sandbox.listing", 99, json_pack("{s:o}", "sessions", sessions));
	rig_turns(f->r);
}

static bool recorded(struct fix *f, const char *class_name);

static int find_class(const void *key, size_t klen, const void *value, size_t len, void *arg)
{
	char *wanted = arg;
	json_t *o = json_loadb(value, len, 0, NULL);
	bool hit = strcmp(json_string_value(json_object_get(o, "class")), wanted) == 0;

	(void)key;
	(void)klen;
	json_decref(o);
	return hit;
}

static bool recorded(struct fix *f, const char *class_name)
{
	char copy[64];

	(void)snprintf(copy, sizeof copy, "%s", class_name);
	rig_turns(f->r);
	return store_walk(f->r->store, STORE_RECORDS, "", 0, STORE_WALK_MAX, find_class, copy) == 1;
}

static void restore_all(struct fix *f)
{
	char name[64];

	(void)snprintf(name, sizeof name, "conn:%s", f->w->conn);
	rig_restore(f->r, name, f->kept_conn);
	(void)snprintf(name, sizeof name, "init:%s", f->session);
	rig_restore(f->r, name, f->kept_init);
}

static uint64_t who_asked(struct fix *f)
{
	struct msg m = MSG_INIT;
	uint64_t id;

	rig_expect(f->w, "conn.who", &m);
	id = m.id;
	msg_done(&m);
	return id;
}

static void a_session_goes_on(void **state)
{
	struct fix *f = *state;
	struct msg m = MSG_INIT;

	restore_all(f);
	rig_ready(f->r);
	rig_send(f->w, "conn.resume", who_asked(f), json_pack("{s:[i]}", "channels", 1));
	listing(f, json_pack("[s]", f->session));
	assert_true(recorded(f, "core.restored"));
	assert_false(recorded(f, "session.lost"));
	/* the channel that was running ends, another one starts in the same sandbox */
	rig_send(f->w, "channel.ended", 0,
	    json_pack("{s:i, s:i, s:i, s:i, s:i}", "channel", 1, "exit", 0, "bytes_in", 1,
	        "bytes_out", 2, "bytes_err", 3));
	rig_exec(f->w, 2, "true", false);
	rig_expect(f->w, "channel.started", &m);
	assert_string_equal(msg_str(&m, "session"), f->session);
	msg_done(&m);
	assert_true(recorded(f, "channel.end"));
	rig_expect_nothing(f->r->spawn);
	/* and its end is as ever */
	rig_send(f->w, "conn.ended", 0, json_pack("{s:s}", "reason", "bye"));
	rig_expect(f->r->spawn, "sandbox.end", NULL);
}

static void what_spawn_does_not_know_is_lost(void **state)
{
	struct fix *f = *state;

	restore_all(f);
	rig_ready(f->r);
	rig_expect(f->w, "conn.who", NULL);
	listing(f, json_array());
	assert_true(recorded(f, "session.lost"));
	assert_true(recorded(f, "session.end"));
	assert_null(f->r->core->sessions);
}

static void what_we_do_not_know_is_ended(void **state)
{
	struct fix *f = *state;
	struct msg m = MSG_INIT;

	restore_all(f);
	rig_ready(f->r);
	listing(f, json_pack("[s, s]", f->session, "s-0123456789abcdef"));
	rig_expect(f->r->spawn, "sandbox.end", &m);
	assert_string_equal(msg_str(&m, "session"), "s-0123456789abcdef");
	msg_done(&m);
	assert_true(recorded(f, "sandbox.orphan"));
	assert_non_null(f->r->core->sessions);
}

static void a_connection_that_is_gone_takes_its_session_along(void **state)
{
	struct fix *f = *state;
	struct msg m = MSG_INIT;

	rig_send(f->r->supervisor, "store.done", 0, json_object());
	rig_expect(f->r->supervisor, "ready", NULL);
	rig_expect(f->r->spawn, "probe", NULL);
	rig_expect(f->r->spawn, "sandbox.list", NULL);
	rig_expect(f->r->spawn, "template.forget", NULL);
	rig_expect(f->r->spawn, "template.prepare", NULL);
	rig_expect(f->r->spawn, "sandbox.end", &m);
	assert_string_equal(msg_str(&m, "session"), f->session);
	msg_done(&m);
	assert_true(recorded(f, "conn.end"));
	assert_true(recorded(f, "session.lost"));
}

/* The core before us was killed between its question and the answer. */
static void an_answer_to_a_core_before_us_is_no_answer(void **state)
{
	struct fix *f = *state;
	uint64_t who;

	restore_all(f);
	rig_ready(f->r);
	who = who_asked(f);
	rig_send(f->w, "conn.resume", who - 1, json_pack("{s:[]}", "channels"));
	rig_send(f->w, "conn.resume", who, json_pack("{s:[i]}", "channels", 1));
	listing(f, json_pack("[s]", f->session));
	assert_false(recorded(f, "peer.dropped"));
	/* the channel it told of is in use */
	rig_exec(f->w, 1, "true", false);
	(void)close(f->kept_conn);
	f->kept_conn = -1;
	rig_expect_closed(f->w);
	assert_true(recorded(f, "peer.dropped"));
}

static void an_unasked_resume_costs_the_link(void **state)
{
	struct fix *f = *state;
	uint64_t who;

	restore_all(f);
	rig_ready(f->r);
	who = who_asked(f);
	rig_send(f->w, "conn.resume", who, json_pack("{s:[]}", "channels"));
	rig_send(f->w, "conn.resume", who, json_pack("{s:[]}", "channels"));
	(void)close(f->kept_conn); /* as the supervisor does when it is told */
	f->kept_conn = -1;
	rig_expect_closed(f->w);
	assert_true(recorded(f, "peer.dropped"));
}

/* Somebody who had connected, but was not let in yet, goes on as well; a spare worker too. */
static void those_without_a_grant_go_on(void **state)
{
	struct fix *f = *state;
	struct rig_cert c = {.principal = "agent", .from_s = -60, .to_s = 300};
	struct rig_end *half, *spare;
	struct msg m = MSG_INIT;
	char name[64];
	int a, b;

	restore_all(f);
	rig_ready(f->r);
	half = rig_worker(f->r, "192.0.2.8");
	spare = rig_worker(f->r, NULL);
	rig_turns(f->r);
	a = kept(f->r, "conn", half->conn);
	b = kept(f->r, "conn", spare->conn);
	rig_stop(f->r);
	rig_start(f->r, NULL);
	restore_all(f);
	(void)snprintf(name, sizeof name, "conn:%s", half->conn);
	rig_restore(f->r, name, a);
	(void)snprintf(name, sizeof name, "conn:%s", spare->conn);
	rig_restore(f->r, name, b);
	(void)close(a);
	(void)close(b);
	rig_ready(f->r);
	rig_auth(half, "agent", rig_cert(f->r, &c), true);
	rig_expect(half, "auth.verdict", &m);
	assert_true(msg_bool(&m, "ok"));
	msg_done(&m);
	rig_send(f->r->listener, "conn.accepted", 0,
	    json_pack("{s:s, s:s, s:s}", "conn", spare->conn, "peer", "192.0.2.9", "local", "x"));
	rig_auth(spare, "agent", rig_cert(f->r, &c), true);
	rig_expect(spare, "auth.verdict", &m);
	assert_true(msg_bool(&m, "ok"));
	msg_done(&m);
	rig_end_free(half);
	rig_end_free(spare);
}

/* The files were broken while the core was away: what runs goes on, nothing new starts. */
static void a_wrong_configuration_ends_no_session(void **state)
{
	struct fix *f = *state;
	struct msg m = MSG_INIT;
	struct rig_cert c = {.principal = "agent", .from_s = -60, .to_s = 300};
	struct rig_end *other;

	rig_stop(f->r);
	assert_int_equal(
	    fd_write_file(f->r->config_fd, "tenants/bad.yaml", "ca: 7\n", 6, 0600, NULL), 0);
	f->r->config_wrong = true;
	rig_start(f->r, NULL);
	restore_all(f);
	rig_send(f->r->supervisor, "store.done", 0, json_object());
	rig_expect(f->w, "conn.who", NULL);
	listing(f, json_pack("[s]", f->session));
	assert_non_null(f->r->core->sessions);
	assert_true(recorded(f, "config.refused"));
	rig_exec(f->w, 2, "true", false);
	rig_expect(f->w, "channel.denied", NULL);
	other = rig_worker(f->r, "192.0.2.8");
	rig_auth(other, "agent", rig_cert(f->r, &c), true);
	rig_expect(other, "auth.verdict", &m);
	assert_false(msg_bool(&m, "ok"));
	msg_done(&m);
	/* mended and loaded again: everything as before */
	assert_int_equal(unlinkat(f->r->config_fd, "tenants/bad.yaml", 0), 0);
	rig_send(f->r->supervisor, "reload", 0, json_object());
	rig_turns(f->r);
	rig_exec(f->w, 3, "true", false);
	rig_expect(f->w, "channel.started", NULL);
	rig_end_free(other);
}

/* On a first start it is the operator's to mend. */
static void a_wrong_configuration_is_no_start(void **state)
{
	struct fix *f = *state;

	rig_stop(f->r);
	assert_int_equal(
	    fd_write_file(f->r->config_fd, "tenants/bad.yaml", "ca: 7\n", 6, 0600, NULL), 0);
	f->r->config_wrong = true;
	rig_start(f->r, NULL);
	rig_send(f->r->supervisor, "store.done", 0, json_object());
	rig_turns(f->r);
	assert_true(f->r->core->quit);
	assert_int_equal(f->r->core->status, 78);
}

static void ended_sessions_are_still_listed(void **state)
{
	struct fix *f = *state;
	cleanup_buf struct buf b;
	json_t *o;

	restore_all(f);
	rig_ready(f->r);
	listing(f, json_array());
	buf_init(&b, STORE_VALUE_MAX);
	assert_int_equal(
	    store_get(f->r->store, STORE_SESSIONS, f->session, strlen(f->session), &b), 0);
	o = json_loadb((const char *)b.data, b.len, 0, NULL);
	assert_string_equal(json_string_value(json_object_get(o, "state")), "ended");
	json_decref(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_session_goes_on, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_spawn_does_not_know_is_lost, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_we_do_not_know_is_ended, setup, teardown),
	    cmocka_unit_test_setup_teardown(
	        a_connection_that_is_gone_takes_its_session_along, setup, teardown),
	    cmocka_unit_test_setup_teardown(
	        an_answer_to_a_core_before_us_is_no_answer, setup, teardown),
	    cmocka_unit_test_setup_teardown(an_unasked_resume_costs_the_link, setup, teardown),
	    cmocka_unit_test_setup_teardown(those_without_a_grant_go_on, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_wrong_configuration_ends_no_session, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_wrong_configuration_is_no_start, setup, teardown),
	    cmocka_unit_test_setup_teardown(ended_sessions_are_still_listed, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
