#include "lib/chan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/msg.h"
#include "lib/seqpacket.h"
#include "tests/support/chan_pair.h"

#define MS (NSEC_PER_SEC / 1000)

static void a_call_finds_its_answer_and_keeps_the_rest(void **state)
{
	struct chan_pair *p = *state;
	struct msg m = MSG_INIT;
	struct err e = ERR_INIT;

	/* spawn says things before and after the answer to question 1 */
	for (uint64_t id = 0; id < 4; id++) {
		const char *type = id == 2 ? "sandbox.listing" : "sandbox.failed";
		json_t *body = id == 2 ? json_pack("{s:[]}", "sessions")
		                       : json_pack("{s:s,s:s,s:s}", "session", "s", "step", "x",
		                             "reason", "y");

		assert_int_equal(chan_send(p->a, type, id == 2 ? 1 : 100 + id, body, NULL, 0), 0);
	}
	assert_int_equal(
	    chan_call(p->b, "sandbox.list", NULL, NULL, 0, clock_mono_ns() + NSEC_PER_SEC, &m, &e),
	    0);
	assert_true(msg_is(&m, "sandbox.listing"));
	msg_done(&m);
	assert_int_equal(chan_pair_expect(p->a, "sandbox.list", 1), 1);
	assert_true(chan_pending(p->b));
	assert_int_equal(chan_pair_expect(p->b, "sandbox.failed", 100), 1);
	assert_true(chan_pending(p->b));
	assert_int_equal(chan_pair_expect(p->b, "sandbox.failed", 101), 1);
	assert_false(chan_pending(p->b));
	assert_int_equal(chan_pair_expect(p->b, "sandbox.failed", 103), 1);
	assert_int_equal(chan_pair_expect(p->b, "", 0), -EAGAIN);
}

static void a_call_ends_at_its_deadline(void **state)
{
	struct chan_pair *p = *state;
	struct msg m = MSG_INIT;
	struct err e = ERR_INIT;
	int64_t begin = clock_mono_ns();

	assert_int_equal(
	    chan_call(p->b, "sandbox.list", NULL, NULL, 0, begin + 30 * MS, &m, &e), -ETIMEDOUT);
	assert_true(clock_mono_ns() - begin >= 30 * MS);
	assert_true(clock_mono_ns() - begin < 10 * NSEC_PER_SEC);
	assert_string_equal(e.text, "sandbox.list: no answer in time");
	assert_true(chan_fd(p->b) >= 0);
	/* an answer that comes too late is a message like any other */
	assert_int_equal(
	    chan_send(p->a, "sandbox.listing", 1, json_pack("{s:[]}", "sessions"), NULL, 0), 0);
	assert_int_equal(chan_pair_expect(p->b, "sandbox.listing", 1), 1);
}

static void a_call_ends_when_the_peer_does(void **state)
{
	struct chan_pair *p = *state;
	struct msg m = MSG_INIT;
	struct err e = ERR_INIT;
	int far = chan_fd(p->a);

	assert_int_equal(shutdown(far, SHUT_RDWR), 0);
	assert_int_equal(
	    chan_call(p->b, "probe", NULL, NULL, 0, clock_mono_ns() + NSEC_PER_SEC, &m, &e),
	    -ECONNRESET);
	assert_int_equal(
	    chan_call(p->b, "probe", NULL, NULL, 0, clock_mono_ns() + NSEC_PER_SEC, &m, &e),
	    -ECONNRESET);
}

static void a_call_passes_on_a_broken_rule(void **state)
{
	struct chan_pair *p = *state;
	struct msg m = MSG_INIT;
	struct err e = ERR_INIT;

	assert_int_equal(seqpacket_send(chan_fd(p->a), "x", 1, NULL, 0), 0);
	assert_int_equal(
	    chan_call(p->b, "probe", NULL, NULL, 0, clock_mono_ns() + NSEC_PER_SEC, &m, &e),
	    -EBADMSG);
	assert_int_equal(
	    chan_call(p->b, "ctl.status", NULL, NULL, 0, clock_mono_ns() + NSEC_PER_SEC, &m, &e),
	    -EINVAL);
}

static void a_call_keeps_only_so_much(void **state)
{
	struct chan_pair *p = *state;
	struct msg m = MSG_INIT;
	struct err e = ERR_INIT;

	for (int i = 0; i <= CHAN_KEPT_MAX; i++)
		assert_int_equal(
		    chan_send(p->a, "sandbox.failed", 9,
		        json_pack("{s:s,s:s,s:s}", "session", "s", "step", "x", "reason", "y"),
		        NULL, 0),
		    0);
	assert_int_equal(
	    chan_call(p->b, "probe", NULL, NULL, 0, clock_mono_ns() + NSEC_PER_SEC, &m, &e),
	    -ENOBUFS);
	assert_int_equal(chan_fd(p->b), -1);
	assert_int_equal(
	    chan_pair_expect(p->b, "sandbox.failed", 9), 1); /* what came before is still there */
}

#define T(name) cmocka_unit_test_setup_teardown(name, chan_pair_setup, chan_pair_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(a_call_finds_its_answer_and_keeps_the_rest),
	    T(a_call_ends_at_its_deadline),
	    T(a_call_ends_when_the_peer_does),
	    T(a_call_passes_on_a_broken_rule),
	    T(a_call_keeps_only_so_much),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
