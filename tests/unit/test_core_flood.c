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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(strangers_are_heard_little_by_little, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_stranger_asks_once, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
