#include "lib/chan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/err.h"
#include "lib/msg.h"
#include "lib/seqpacket.h"
#include "lib/util.h"
#include "tests/support/chan_pair.h"

/* What a peer that breaks a rule gets: its own link closed, everything it sent closed, nothing
 * else. */

/* Raw bytes to b, as a hostile spawn would send them; then b must answer `want` and be shut. */
static void expect_drop(
    struct chan_pair *p, const void *data, size_t len, const int *fds, size_t nfds, int want)
{
	struct msg m = MSG_INIT;
	struct err e = ERR_INIT;

	assert_int_equal(seqpacket_send(chan_fd(p->a), data, len, fds, nfds), 0);
	assert_int_equal(chan_recv(p->b, &m, &e), want);
	assert_true(want == 0 || e.text[0] != '\0');
	assert_int_equal(chan_fd(p->b), -1);
	assert_int_equal(chan_recv(p->b, &m, &e), 0);
	/* the other end sees a close, and nobody else is concerned */
	assert_int_equal(chan_recv(p->a, &m, &e), 0);
}

static void drops_a_malformed_peer(void **state)
{
	expect_drop(*state, "{}", 2, NULL, 0, -EBADMSG);
}

static void drops_a_peer_that_may_not_say_that(void **state)
{
	const char *text = "{\"v\":1,\"id\":1,\"type\":\"ctl.status\",\"body\":{}}";

	expect_drop(*state, text, strlen(text), NULL, 0, -EPERM);
}

static void drops_a_peer_that_sends_too_much(void **state)
{
	static char big[MSG_MAX + 1];

	expect_drop(*state, big, sizeof big, NULL, 0, -EMSGSIZE);
}

static void an_empty_record_is_a_close(void **state)
{
	expect_drop(*state, "", 0, NULL, 0, 0);
}

#define FAILED                                                                                     \
	"{\"v\":1,\"id\":1,\"type\":\"sandbox.failed\",\"body\":{\"session\":\"s\",\"step\":"      \
	"\"x\","                                                                                   \
	"\"reason\":\"y\"}}"

/* The write end of a pipe whose reader sees the end only when every copy is closed. */
static void expect_all_closed(
    struct chan_pair *p, const void *data, size_t len, size_t copies, int want)
{
	int fds[64], pipe_fds[2];
	struct pollfd watch;

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	for (size_t i = 0; i < copies; i++)
		fds[i] = pipe_fds[1];
	if (copies <= SEQPACKET_FDS_MAX) {
		expect_drop(p, data, len, fds, copies, want);
	} else {
		/* more than seqpacket_send() lets through */
		char control[CMSG_SPACE(sizeof fds)] = "";
		char copy[4096];
		struct iovec iov = {copy, len};
		struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control};
		struct cmsghdr *cm = (struct cmsghdr *)(void *)control;
		struct msg m = MSG_INIT;
		struct err e = ERR_INIT;

		memcpy(copy, data, len);
		h.msg_controllen = CMSG_SPACE(copies * sizeof(int));
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(copies * sizeof(int));
		memcpy(CMSG_DATA(cm), fds, copies * sizeof(int));
		assert_int_equal(sendmsg(chan_fd(p->a), &h, 0), (ssize_t)len);
		assert_int_equal(chan_recv(p->b, &m, &e), want);
		assert_int_equal(chan_fd(p->b), -1);
	}
	util_close(&pipe_fds[1]);
	watch = (struct pollfd){pipe_fds[0], POLLIN, 0};
	assert_int_equal(poll(&watch, 1, 5000), 1);
	assert_true(watch.revents & POLLHUP);
	util_close(&pipe_fds[0]);
}

static void closes_descriptors_that_the_table_does_not_allow(void **state)
{
	expect_all_closed(*state, FAILED, strlen(FAILED), 1, -EPROTO);
}

static void closes_eight_descriptors_of_a_malformed_record(void **state)
{
	expect_all_closed(*state, "{", 1, SEQPACKET_FDS_MAX, -EBADMSG);
}

static void closes_more_descriptors_than_fit(void **state)
{
	expect_all_closed(*state, FAILED, strlen(FAILED), 64, -EPROTO);
}

static void closes_descriptors_of_an_oversized_record(void **state)
{
	static char big[MSG_MAX + 1];

	expect_all_closed(*state, big, sizeof big, 3, -EMSGSIZE);
}

static void closes_descriptors_of_an_empty_record(void **state)
{
	expect_all_closed(*state, "", 0, 2, 0);
}

static void closes_descriptors_that_nobody_read(void **state)
{
	struct chan_pair *p = *state;
	int pipe_fds[2];

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	for (int i = 0; i < 20; i++)
		assert_int_equal(chan_send(p->a, "sandbox.pty.opened", 3,
		                     json_pack("{s:s}", "session", "s"), pipe_fds, 2),
		    0);
	util_close(&pipe_fds[0]);
	util_close(&pipe_fds[1]);
}

#define T(name) cmocka_unit_test_setup_teardown(name, chan_pair_setup, chan_pair_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(drops_a_malformed_peer),
	    T(drops_a_peer_that_may_not_say_that),
	    T(drops_a_peer_that_sends_too_much),
	    T(an_empty_record_is_a_close),
	    T(closes_descriptors_that_the_table_does_not_allow),
	    T(closes_eight_descriptors_of_a_malformed_record),
	    T(closes_more_descriptors_than_fit),
	    T(closes_descriptors_of_an_oversized_record),
	    T(closes_descriptors_of_an_empty_record),
	    T(closes_descriptors_that_nobody_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
