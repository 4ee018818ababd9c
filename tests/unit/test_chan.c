#include "lib/chan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/msg.h"
#include "lib/seqpacket.h"
#include "lib/util.h"
#include "tests/support/chan_pair.h"

static int send_probe(struct chan *core, uint64_t id)
{
	return chan_send(core, "probe", id, NULL, NULL, 0);
}

static void carries_messages_in_order(void **state)
{
	struct chan_pair *p = *state;

	assert_int_equal(chan_pair_expect(p->a, "probe", 0), -EAGAIN);
	for (uint64_t id = 1; id <= 3; id++)
		assert_int_equal(send_probe(p->b, id), 0);
	assert_false(chan_wants_write(p->b));
	for (uint64_t id = 1; id <= 3; id++)
		assert_int_equal(chan_pair_expect(p->a, "probe", id), 1);
	assert_int_equal(chan_pair_expect(p->a, "probe", 0), -EAGAIN);
	assert_int_equal(chan_next_id(p->a), 1);
	assert_int_equal(chan_next_id(p->a), 2);
}

static void carries_descriptors_cloexec(void **state)
{
	struct chan_pair *p = *state;
	struct msg m = MSG_INIT;
	int pipe_fds[2];

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	assert_int_equal(chan_send(p->a, "sandbox.pty.opened", 3,
	                     json_pack("{s:s}", "session", "s"), pipe_fds, 2),
	    0);
	util_close(&pipe_fds[0]);
	util_close(&pipe_fds[1]);
	assert_int_equal(chan_recv(p->b, &m, NULL), 1);
	assert_int_equal(m.nfds, 2);
	assert_true(fcntl(m.fds[0], F_GETFD) & FD_CLOEXEC);
	assert_int_equal(write(m.fds[1], "x", 1), 1);
	msg_done(&m);
}

static void tells_that_the_peer_has_closed(void **state)
{
	struct chan_pair *p = *state;

	assert_int_equal(send_probe(p->b, 1), 0);
	chan_free(p->b);
	p->b = NULL;
	assert_int_equal(
	    chan_pair_expect(p->a, "probe", 1), 1); /* what it had said is still read */
	assert_int_equal(chan_pair_expect(p->a, "probe", 0), 0);
	assert_int_equal(chan_fd(p->a), -1);
	assert_int_equal(chan_pair_expect(p->a, "probe", 0), 0);
	assert_int_equal(chan_send(p->a, "ready", 0, NULL, NULL, 0), -EINVAL); /* not to the core */
	assert_int_equal(chan_send(p->a, "sandbox.pty.opened", 0, json_object(), NULL, 0), -EINVAL);
	assert_int_equal(
	    chan_send(p->a, "sandbox.failed", 0,
	        json_pack("{s:s,s:s,s:s}", "session", "s", "step", "x", "reason", "y"), NULL, 0),
	    -EPIPE);
	assert_int_equal(chan_flush(p->a), -EPIPE);
}

static void sending_to_a_closed_peer_raises_no_signal(void **state)
{
	struct chan_pair *p = *state;

	chan_free(p->a);
	p->a = NULL;
	assert_int_equal(send_probe(p->b, 1), -EPIPE);
	assert_int_equal(send_probe(p->b, 1), -EPIPE);
	assert_int_equal(chan_flush(p->b), -EPIPE);
	assert_int_equal(chan_pair_expect(p->b, "", 0), 0);
	assert_int_equal(chan_fd(p->b), -1);
}

/* Whoever leaves without reading all of ours leaves a reset in front of its last words. */
static void last_words_are_heard(void **state)
{
	struct chan_pair *p = *state;

	assert_int_equal(send_probe(p->b, 1), 0);
	assert_int_equal(
	    chan_send(p->a, "sandbox.listing", 7, json_pack("{s:[]}", "sessions"), NULL, 0), 0);
	chan_free(p->a);
	p->a = NULL;
	assert_int_equal(chan_pair_expect(p->b, "sandbox.listing", 7), 1);
	assert_int_equal(chan_pair_expect(p->b, "", 0), 0);
}

static void last_words_are_heard_after_a_failed_send(void **state)
{
	struct chan_pair *p = *state;

	assert_int_equal(
	    chan_send(p->a, "sandbox.listing", 7, json_pack("{s:[]}", "sessions"), NULL, 0), 0);
	chan_free(p->a);
	p->a = NULL;
	assert_int_equal(send_probe(p->b, 1), -EPIPE);
	assert_int_equal(chan_pair_expect(p->b, "sandbox.listing", 7), 1);
	assert_int_equal(chan_pair_expect(p->b, "", 0), 0);
	assert_int_equal(chan_fd(p->b), -1);
}

static void sends_nothing_against_the_table(void **state)
{
	struct chan_pair *p = *state;
	int bad = 9999;

	assert_int_equal(chan_send(p->b, "no.such", 1, NULL, NULL, 0), -EINVAL);
	assert_int_equal(chan_send(p->b, "ctl.status", 1, NULL, NULL, 0), -EINVAL);
	assert_non_null(strstr(chan_why(p->b), "ctl.status"));
	assert_int_equal(chan_send(p->b, "probe", 1, json_pack("{s:i}", "x", 1), NULL, 0), -EINVAL);
	assert_string_equal(chan_why(p->b), "probe: x: unknown key");
	/* no body for a type with fields: json_pack() found no memory */
	assert_int_equal(chan_send(p->b, "sandbox.pty", 1, NULL, NULL, 0), -EINVAL);
	assert_int_equal(
	    chan_send(p->a, "lease.up", 1, json_pack("{s:s}", "session", "s"), &bad, 1), -EINVAL);
	assert_true(chan_fd(p->a) >= 0 && chan_fd(p->b) >= 0); /* our bug, not the peer's */
	assert_int_equal(send_probe(p->b, 1), 0);
	assert_string_equal(chan_why(p->b), "");
}

/* Linux 6.16 on: descriptors do not even reach a peer that must not get any. */
static void the_kernel_refuses_descriptors_where_none_may_come(void **state)
{
	int fds[2], null = open("/dev/null", O_RDONLY | O_CLOEXEC), on = 1;
	socklen_t len = sizeof on;

	(void)state;
	assert_int_equal(fd_seqpacket_pair(fds), 0);
	struct chan *core = chan_new(fds[0], MSG_CORE, MSG_WORKER);
	assert_non_null(core);
	if (getsockopt(fds[1], SOL_SOCKET, 83 /* SO_PASSRIGHTS */, &on, &len) == 0)
		assert_int_equal(seqpacket_send(fds[1], "{}", 2, &null, 1), -EPERM);
	assert_int_equal(seqpacket_send(fds[1], "{}", 2, NULL, 0), 0);
	chan_free(core);
	util_close(&fds[1]);
	util_close(&null);
}

static void a_full_socket_queues_and_flushes_in_order(void **state)
{
	struct chan_pair *p = *state;
	uint64_t sent = 0, got = 0;
	int pipe_fds[2];

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	while (!chan_wants_write(p->a))
		assert_int_equal(chan_send(p->a, "lease.up", ++sent,
		                     json_pack("{s:s}", "session", "s"), pipe_fds, 1),
		    0);
	for (int i = 0; i < 10; i++) /* these carry copies of their own */
		assert_int_equal(chan_send(p->a, "lease.up", ++sent,
		                     json_pack("{s:s}", "session", "s"), pipe_fds, 1),
		    0);
	util_close(&pipe_fds[0]);
	util_close(&pipe_fds[1]);
	assert_int_equal(chan_flush(p->a), 0);
	assert_true(chan_wants_write(p->a));
	while (got < sent) {
		int r = chan_pair_expect(p->b, "lease.up", got + 1);

		if (r == 1)
			got++;
		else
			assert_int_equal(r, -EAGAIN);
		assert_int_equal(chan_flush(p->a), 0);
	}
	assert_false(chan_wants_write(p->a));
}

static void nothing_overtakes_what_is_queued(void **state)
{
	struct chan_pair *p = *state;
	uint64_t sent = 0;

	while (!chan_wants_write(p->b))
		assert_int_equal(send_probe(p->b, ++sent), 0);
	/* now there is room again, but the queue comes first */
	for (uint64_t id = 1; id <= sent / 2; id++)
		assert_int_equal(chan_pair_expect(p->a, "probe", id), 1);
	assert_int_equal(send_probe(p->b, ++sent), 0);
	assert_int_equal(chan_flush(p->b), 0);
	for (uint64_t id = (sent - 1) / 2 + 1; id <= sent; id++)
		assert_int_equal(chan_pair_expect(p->a, "probe", id), 1);
}

static void a_peer_that_does_not_read_is_dropped(void **state)
{
	struct chan_pair *p = *state;
	int r;

	for (unsigned n = 0; (r = send_probe(p->b, 1)) == 0; n++)
		assert_true(n < CHAN_QUEUE_MAX / 256 + 10000);
	assert_int_equal(r, -ENOBUFS);
	assert_int_equal(chan_fd(p->b), -1);
	assert_false(chan_wants_write(p->b));
}

static void waiting_descriptors_are_bounded(void **state)
{
	struct chan_pair *p = *state;
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), r;
	unsigned queued = 0;

	while (
	    (r = chan_send(p->a, "lease.up", 1, json_pack("{s:s}", "session", "s"), &null, 1)) == 0)
		if (chan_wants_write(p->a))
			queued++;
	assert_int_equal(r, -ENOBUFS);
	assert_int_equal(queued, CHAN_QUEUE_FDS_MAX);
	util_close(&null);
}

static void carries_the_largest_record(void **state)
{
	struct chan_pair *p = *state;
	json_t *ids = json_array();
	struct msg m = MSG_INIT;
	static char pad[37];

	memset(pad, 'a', 36);
	for (int i = 0; i < 2048; i++)
		json_array_append_new(ids, json_string(pad));
	assert_int_equal(
	    chan_send(p->a, "sandbox.listing", 1, json_pack("{s:o}", "sessions", ids), NULL, 0), 0);
	assert_int_equal(chan_recv(p->b, &m, NULL), 1);
	msg_done(&m);
}

static void the_phase_is_the_receivers(void **state)
{
	struct chan_pair *p = *state;
	struct msg m = MSG_INIT;
	struct err e = ERR_INIT;

	assert_int_equal(chan_phase(p->a), MSG_PHASE_OPEN);
	chan_set_phase(p->a, MSG_PHASE_ENDED);
	assert_int_equal(send_probe(p->b, 1), 0);
	assert_int_equal(chan_recv(p->a, &m, &e), -EPERM);
}

static void knows_its_peer(void **state)
{
	struct chan_pair *p = *state;
	pid_t pid;
	uid_t uid;
	gid_t gid;

	assert_int_equal(chan_peercred(p->a, &pid, &uid, &gid), 0);
	assert_true(pid == getpid() && uid == geteuid() && gid == getegid());
	assert_int_equal(chan_peercred(p->a, NULL, NULL, NULL), 0);
}

static void new_takes_the_descriptor_even_when_it_fails(void **state)
{
	(void)state;
	errno = 0;
	assert_null(chan_new(-1, MSG_CORE, MSG_CTL));
	assert_int_equal(errno, EBADF);
	errno = ENOTTY;
	chan_free(NULL);
	assert_int_equal(errno, ENOTTY);
}

#define T(name) cmocka_unit_test_setup_teardown(name, chan_pair_setup, chan_pair_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(carries_messages_in_order),
	    T(carries_descriptors_cloexec),
	    T(tells_that_the_peer_has_closed),
	    T(sending_to_a_closed_peer_raises_no_signal),
	    T(last_words_are_heard),
	    T(last_words_are_heard_after_a_failed_send),
	    T(sends_nothing_against_the_table),
	    T(the_kernel_refuses_descriptors_where_none_may_come),
	    T(a_full_socket_queues_and_flushes_in_order),
	    T(nothing_overtakes_what_is_queued),
	    T(a_peer_that_does_not_read_is_dropped),
	    T(waiting_descriptors_are_bounded),
	    T(carries_the_largest_record),
	    T(the_phase_is_the_receivers),
	    T(knows_its_peer),
	    T(new_takes_the_descriptor_even_when_it_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
