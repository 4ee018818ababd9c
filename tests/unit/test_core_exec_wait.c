#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include <sys/socket.h>

#include "broker/init/proto.h"
#include "lib/chan.h"
#include "lib/clock.h"
#include "tests/support/core_rig.h"
#include "tests/support/record_memory.h"

/* channel.exec for a sandbox whose init is slow to read, or never does. */

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

/* Channels that end at once until one gets no answer: how many requests init has not read. */
static int fill_init(struct rig *r, struct rig_end *w)
{
	for (int n = 0; n < 100; n++) {
		struct msg m = MSG_INIT;
		bool started;

		rig_exec(w, 2, "true", false);
		rig_turns(r);
		started = chan_recv(w->chan, &m, NULL) == 1;
		if (started)
			assert_true(msg_is(&m, "channel.started"));
		msg_done(&m);
		if (!started)
			return n;
		rig_send(w, "channel.ended", 0,
		    json_pack("{s:i, s:i, s:i, s:i, s:i}", "channel", 2, "exit", 0, "bytes_in", 0,
		        "bytes_out", 0, "bytes_err", 0));
	}
	fail_msg("an init that reads nothing gets every request");
	return 0;
}

/* Descriptors in flight count against the core: an init that does not read gets no more of them. */
static void an_init_that_does_not_read_gets_no_more(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_agent(r);
	char id[CORE_ID_MAX + 1];
	int init;
	struct msg m = MSG_INIT;

	r->core->patience_ns = NSEC_PER_SEC / 20;
	init = rig_session(r, w, id);
	assert_in_range(fill_init(r, w), 5, 99);
	rig_expect(w, "channel.denied", &m);
	assert_string_equal(msg_str(&m, "reason"), "the sandbox does not take requests any more");
	msg_done(&m);
	(void)close(init);
	rig_end_free(w);
}

static void an_init_that_is_slow_gets_what_waited(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_agent(r);
	char id[CORE_ID_MAX + 1];
	int init = rig_session(r, w, id), unread = fill_init(r, w);
	static char data[INIT_REQUEST_MAX];
	struct msg m = MSG_INIT;

	rig_exec(w, 3, "true", false);
	rig_expect_nothing(w);
	while (unread-- > 0) /* without room for descriptors recv(2) closes them */
		assert_true(recv(init, data, sizeof data, MSG_DONTWAIT) > 0);
	for (unsigned i = 0; i < 2; i++) {
		rig_expect(w, "channel.started", &m);
		assert_int_equal(m.nfds, 4);
		msg_done(&m);
	}
	assert_int_equal(record_memory_count(r->log, "channel.denied"), 0);
	(void)close(init);
	rig_end_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
	        an_init_that_does_not_read_gets_no_more, setup, teardown),
	    cmocka_unit_test_setup_teardown(an_init_that_is_slow_gets_what_waited, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
