/*
 * What operators are told is one message. People and commands with long names must not make it so
 * long that they are told nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/core/ctl_answers.h"
#include "broker/core/ctl_sessions.h"
#include "broker/store/store.h"
#include "tests/support/core_rig.h"

#define ENDED 300

static int setup(void **state)
{
	*state = core_rig_new(true, NULL);
	return 0;
}

static int teardown(void **state)
{
	core_rig_free(*state);
	return 0;
}

static size_t length(const json_t *o)
{
	return json_dumpb(o, NULL, 0, JSON_COMPACT);
}

static void long_names_do_not_hide_the_list(void **state)
{
	struct rig *r = *state;
	char person[256], id[CORE_ID_MAX + 1];
	json_t *answer;

	memset(person, 'x', sizeof person - 1);
	person[sizeof person - 1] = '\0';
	for (int i = 0; i < ENDED; i++) {
		json_t *o;
		char *text;

		(void)snprintf(id, sizeof id, "s-%016d", i);
		o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "id", id, "state", "ended",
		    "tenant", "demo", "person", person, "task", person, "reason", person, "started",
		    id);
		text = json_dumps(o, JSON_COMPACT);
		assert_int_equal(store_later(r->store, STORE_SESSIONS, id, text, strlen(text)), 0);
		free(text);
		json_decref(o);
	}
	rig_turns(r);
	answer = ctl_sessions(r->core, NULL, true);
	assert_in_range(json_array_size(json_object_get(answer, "sessions")), 100, ENDED - 1);
	assert_true(json_is_true(json_object_get(answer, "more")));
	assert_in_range(length(answer), 1, MSG_MAX - 1024);
	json_decref(answer);
}

static void long_commands_do_not_hide_a_session(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_agent(r);
	char id[CORE_ID_MAX + 1], command[4096];
	json_t *answer, *open;
	int init;

	init = rig_session(r, w, id);
	memset(command, 1, sizeof command);
	command[sizeof command - 1] = '\0';
	rig_exec(w, 2, command, false);
	rig_expect(w, "channel.started", NULL);
	answer = ctl_session(r->core, id);
	open = json_object_get(answer, "open");
	assert_int_equal(json_array_size(open), 2);
	/* there may be 64 of them */
	assert_in_range(length(json_array_get(open, 0)), 64, 1024);
	assert_in_range(length(json_array_get(open, 1)), 64, 1024);
	json_decref(answer);
	(void)close(init);
	rig_end_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(long_names_do_not_hide_the_list, setup, teardown),
	    cmocka_unit_test_setup_teardown(long_commands_do_not_hide_a_session, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
