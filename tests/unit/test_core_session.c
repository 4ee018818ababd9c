#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/chan.h"
#include "tests/support/core_rig.h"
#include "tests/support/decide_script.h"
#include "tests/support/record_memory.h"

/*
 * A session from its first channel to its end, whoever ends it; and decisions that come late.
 */

static struct decider *script;

static int setup(void **state)
{
	*state = core_rig_new(false, NULL);
	return 0;
}

static int setup_script(void **state)
{
	script = decide_script_new();
	*state = core_rig_new(false, script);
	return 0;
}

static int teardown(void **state)
{
	core_rig_free(*state);
	return 0;
}

static void a_sandbox_that_fails_fails_its_channels(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_agent(r);
	struct msg m = MSG_INIT;

	rig_exec(w, 1, "true", false);
	rig_expect(r->spawn, "sandbox.start", &m);
	rig_expect(w, "channel.started", NULL);
	rig_send(r->spawn, "sandbox.failed", m.id,
	    json_pack("{s:s, s:s, s:s}", "session", msg_str(&m, "session"), "step", "cgroup",
	        "reason", "this host cannot limit memory"));
	msg_done(&m);
	rig_expect(w, "channel.failed", &m);
	assert_non_null(strstr(msg_str(&m, "reason"), "cannot limit memory"));
	msg_done(&m);
	rig_turns(r);
	assert_int_equal(record_memory_count(r->log, "session.end"), 1);
	assert_null(r->core->sessions);
	rig_end_free(w);
}

static void the_end_of_the_connection_ends_the_session(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_agent(r);
	char id[CORE_ID_MAX + 1];
	int init = rig_session(r, w, id);
	struct msg m = MSG_INIT;

	rig_end_free(w); /* as if it was killed */
	rig_expect(r->spawn, "sandbox.end", &m);
	assert_string_equal(msg_str(&m, "session"), id);
	msg_done(&m);
	assert_int_equal(record_memory_count(r->log, "session.end"), 0);
	rig_send(r->spawn, "sandbox.ended", 0,
	    json_pack("{s:s, s:s, s:i, s:i, s:i}", "session", id, "reason", "ended", "cpu_us", 5,
	        "memory_peak", 6, "oom_kills", 0));
	rig_turns(r);
	assert_int_equal(record_memory_count(r->log, "session.end"), 1);
	assert_string_equal(
	    record_memory_text(r->log, "session.end", "reason"), "the worker has gone");
	assert_null(r->core->sessions);
	assert_null(r->core->conns);
	(void)close(init);
}

static void spawn_lost_ends_every_session(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_agent(r);
	char id[CORE_ID_MAX + 1];
	int init = rig_session(r, w, id);

	rig_end_free(r->spawn);
	r->spawn = NULL;
	rig_turns(r);
	assert_null(r->core->sessions);
	assert_int_equal(record_memory_count(r->log, "spawn.lost"), 1);
	assert_int_equal(record_memory_count(r->log, "session.end"), 1);
	/* no spawn, no sandbox, and the reason is said */
	rig_exec(w, 2, "true", false);
	rig_denied(w, 2, "spawn cannot be reached");
	(void)close(init);
	rig_end_free(w);
}

static void a_session_more_than_the_tenant_has_is_denied(void **state)
{
	struct rig *r = *state;
	struct rig_end *w[4];
	char id[CORE_ID_MAX + 1];

	for (int i = 0; i < 3; i++) {
		w[i] = rig_agent(r);
		(void)close(rig_session(r, w[i], id));
	}
	rig_end_free(w[0]); /* its session is ending, but not ended */
	rig_expect(r->spawn, "sandbox.end", NULL);
	w[3] = rig_agent(r);
	rig_exec(w[3], 1, "true", false);
	rig_denied(w[3], 1, "all of its 3 sessions");
	for (int i = 1; i < 4; i++)
		rig_end_free(w[i]);
}

static void a_parked_decision_blocks_nobody(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_agent(r), *other = rig_agent(r);

	decide_script_park(script, true);
	rig_exec(w, 1, "true", false);
	rig_expect_nothing(w);
	assert_int_equal(decide_script_parked(script), 1);
	decide_script_park(script, false);
	rig_exec(other, 1, "true", false);
	rig_expect(other, "channel.started", NULL);
	assert_true(decide_script_answer(script, VERDICT_ALLOW));
	rig_expect(w, "channel.started", NULL);
	rig_end_free(w);
	rig_end_free(other);
}

static void a_decision_for_somebody_who_has_gone_does_nothing(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_agent(r);

	decide_script_park(script, true);
	rig_exec(w, 1, "true", false);
	rig_turns(r);
	rig_end_free(w);
	rig_turns(r);
	assert_true(decide_script_answer(script, VERDICT_ALLOW));
	rig_expect_nothing(r->spawn);
	assert_null(r->core->sessions);
}

static void a_refusal_says_which_rule(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_agent(r);

	decide_script_refuse(script, "pty");
	rig_exec(w, 1, "true", true);
	rig_denied(w, 1, "the script says no");
	assert_string_equal(record_memory_text(r->log, "channel.denied", "rule"), "script");
	rig_end_free(w);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define S(f) cmocka_unit_test_setup_teardown(f, setup_script, teardown)
	const struct CMUnitTest tests[] = {
	    T(a_sandbox_that_fails_fails_its_channels),
	    T(the_end_of_the_connection_ends_the_session),
	    T(spawn_lost_ends_every_session),
	    T(a_session_more_than_the_tenant_has_is_denied),
	    S(a_parked_decision_blocks_nobody),
	    S(a_decision_for_somebody_who_has_gone_does_nothing),
	    S(a_refusal_says_which_rule),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
