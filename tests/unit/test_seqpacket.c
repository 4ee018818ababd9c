#include "lib/seqpacket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fdio.h"
#include "lib/util.h"

static int ends[2];

static int setup(void **state)
{
	(void)state;
	return fd_seqpacket_pair(ends);
}

static int teardown(void **state)
{
	(void)state;
	util_close(&ends[0]);
	util_close(&ends[1]);
	return 0;
}

static void carries_a_record_with_its_descriptors(void **state)
{
	struct seqpacket p;
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), fds[SEQPACKET_FDS_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = null;
	assert_int_equal(seqpacket_send(ends[0], "abc", 3, fds, ARRAY_LEN(fds)), 0);
	assert_int_equal(seqpacket_recv(ends[1], 3, &p), 1);
	assert_int_equal(p.len, 3);
	assert_memory_equal(p.data, "abc", 3);
	assert_int_equal(p.nfds, SEQPACKET_FDS_MAX);
	for (size_t i = 0; i < p.nfds; i++) {
		assert_true(fcntl(p.fds[i], F_GETFD) & FD_CLOEXEC);
		util_close(&p.fds[i]);
	}
	free(p.data);
	util_close(&null);
}

static void sends_no_more_descriptors_than_fit(void **state)
{
	int fds[SEQPACKET_FDS_MAX + 1] = {0};

	(void)state;
	assert_int_equal(seqpacket_send(ends[0], "x", 1, fds, ARRAY_LEN(fds)), -EINVAL);
	assert_int_equal(seqpacket_send(ends[0], "x", 1, (int[]){9999}, 1), -EBADF);
}

static void refuses_one_descriptor_too_many(void **state)
{
	union {
		char bytes[CMSG_SPACE((SEQPACKET_FDS_MAX + 1) * sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct iovec iov = {(char[]){'x'}, 1};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes};
	int fds[SEQPACKET_FDS_MAX + 1] = {0}; /* stdin, nine times */
	struct seqpacket p;

	(void)state;
	h.msg_controllen = sizeof control.bytes;
	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	control.align.cmsg_len = CMSG_LEN(sizeof fds);
	memcpy(CMSG_DATA(&control.align), fds, sizeof fds);
	assert_int_equal(sendmsg(ends[0], &h, 0), 1);
	int before = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(seqpacket_recv(ends[1], 10, &p), -EPROTO);
	int after = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(after, before + 1); /* the eight that came are closed */
	util_close(&before);
	util_close(&after);
}

static void a_record_too_long_is_taken_off(void **state)
{
	struct seqpacket p;

	(void)state;
	assert_int_equal(seqpacket_send(ends[0], "abcd", 4, NULL, 0), 0);
	assert_int_equal(seqpacket_send(ends[0], "x", 1, NULL, 0), 0);
	assert_int_equal(seqpacket_send(ends[0], "y", 1, NULL, 0), 0);
	assert_int_equal(seqpacket_recv(ends[1], 3, &p), -EMSGSIZE);
	assert_int_equal(seqpacket_recv(ends[1], 0, &p), -EMSGSIZE);
	assert_int_equal(seqpacket_recv(ends[1], 1, &p), 1);
	assert_memory_equal(p.data, "y", 1);
	free(p.data);
	assert_int_equal(seqpacket_recv(ends[1], 1, &p), -EAGAIN);
}

static void tells_end_full_and_too_large(void **state)
{
	static char big[1u << 22];
	struct seqpacket p;
	int r;

	(void)state;
	assert_int_equal(seqpacket_send(ends[0], big, sizeof big, NULL, 0), -EMSGSIZE);
	while ((r = seqpacket_send(ends[0], big, 4096, NULL, 0)) == 0)
		;
	assert_int_equal(r, -EAGAIN);
	util_close(&ends[1]);
	assert_int_equal(seqpacket_send(ends[0], "x", 1, NULL, 0), -EPIPE);
	assert_int_equal(seqpacket_recv(ends[0], 10, &p), 0); /* a reset counts as a close */
	assert_int_equal(seqpacket_recv(-1, 10, &p), -EBADF);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(carries_a_record_with_its_descriptors),
	    T(sends_no_more_descriptors_than_fit),
	    T(refuses_one_descriptor_too_many),
	    T(a_record_too_long_is_taken_off),
	    T(tells_end_full_and_too_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
