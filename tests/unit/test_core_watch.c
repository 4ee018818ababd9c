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
#include "lib/fdio.h"
#include "tests/support/core_rig.h"
#include "tests/support/record_memory.h"

/*
 * What a session's watch process tells is put on record with the session's name; one that was taken
 * over loses its link, and nothing else.
 */

struct fix {
	struct rig *r;
	struct rig_end *w, *watch;
	char session[CORE_ID_MAX + 1];
	int init;
};

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof *f);
	int pair[2];

	f->r = core_rig_new(false, NULL);
	f->w = rig_agent(f->r);
	f->init = rig_session(f->r, f->w, f->session);
	assert_int_equal(fd_seqpacket_pair(pair), 0);
	assert_int_equal(chan_send(f->r->spawn->chan, "watch.up", 0,
	                     json_pack("{s:s}", "session", f->session), &pair[1], 1),
	    0);
	(void)close(pair[1]);
	f->watch = rig_end_new(f->r, pair[0], MSG_WATCH);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	rig_end_free(f->w);
	rig_end_free(f->watch);
	(void)close(f->init);
	core_rig_free(f->r);
	free(f);
	return 0;
}

static void tell(struct fix *f, json_t *program, int dropped)
{
	rig_send(f->watch, "watch.programs", 0,
	    json_pack("{s:[o], s:i}", "programs", program, "dropped", dropped));
	rig_turns(f->r);
}

static void records_what_is_told(void **state)
{
	struct fix *f = *state;
	json_t *body;

	tell(f, json_pack("{s:i,s:s,s:[s],s:b}", "pid", 7, "path", "/bin/x", "argv", "x", "cut", 0),
	    3);
	assert_int_equal(record_memory_count(f->r->log, "session.programs"), 1);
	body = record_memory_last(f->r->log, "session.programs");
	assert_non_null(body);
	char *text = json_dumps(body, 0);
	assert_non_null(strstr(text, "/bin/x"));
	assert_non_null(strstr(text, "\"dropped\": 3"));
	free(text);
}

static void a_program_of_another_shape_costs_the_link(void **state)
{
	struct fix *f = *state;

	tell(f, json_pack("{s:i,s:s}", "pid", 7, "paths", "/bin/x"), 0);
	rig_expect_closed(f->watch);
	assert_int_equal(record_memory_count(f->r->log, "session.programs"), 0);
	assert_int_equal(record_memory_count(f->r->log, "peer.dropped"), 1);
	assert_int_equal(record_memory_count(f->r->log, "session.end"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(records_what_is_told, setup, teardown),
	    cmocka_unit_test_setup_teardown(
	        a_program_of_another_shape_costs_the_link, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
