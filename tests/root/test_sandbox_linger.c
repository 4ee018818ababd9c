/*
 * A hostile init. This program takes init's place (as whoever takes init over would), and tries to
 * send a socket back over the request socket that would keep whoever drops the last reference to it
 * asleep for as long as SO_LINGER says (measured: eight seconds in read, recvmsg and close alike).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/init/proto.h"
#include "broker/spawn/tree.h"
#include "lib/clock.h"
#include "lib/fdio.h"
#include "lib/util.h"
#include "tests/support/sandbox_rig.h"

#define REQUESTS 3

/* ---- inside: the hostile init ---- */

/* Connected, its send queue full, its reader asleep, and to linger for eight seconds. */
static int lingering_socket(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const struct linger l = {1, 8};
	static char junk[65536];
	socklen_t len = sizeof a;
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(listener, (const struct sockaddr *)&a, sizeof a) < 0 || listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&a, &len) < 0 ||
	    connect(fd, (const struct sockaddr *)&a, sizeof a) < 0 ||
	    accept(listener, NULL, NULL) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l) < 0)
		return -1;
	while (send(fd, junk, sizeof junk, MSG_DONTWAIT) > 0)
		;
	return fd;
}

static int transfer(int sock, int fd, bool sending)
{
	static char data[INIT_REQUEST_MAX];
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(4 * sizeof(int))];
	} control = {.align = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
	struct iovec iov = {data, sending ? 1 : sizeof data};
	struct msghdr m = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.bytes,
	    .msg_controllen = sending ? CMSG_SPACE(sizeof(int)) : sizeof control};
	int fds[4];

	if (sending) {
		memcpy(CMSG_DATA(&control.align), &fd, sizeof fd);
		return sendmsg(sock, &m, MSG_NOSIGNAL) < 0 ? errno : 0;
	}
	struct pollfd p = {sock, POLLIN, 0};
	if (poll(&p, 1, -1) < 0 || recvmsg(sock, &m, 0) < 0)
		return -1;
	memcpy(fds, CMSG_DATA(&control.align), sizeof fds);
	return fds[3]; /* of an exec request: the status pipe */
}

static int hostile_init(void)
{
	uint8_t record[INIT_STATUS_LEN];
	int status = transfer(REQUESTS, -1, false), fd = lingering_socket();

	init_put_status(
	    record, INIT_EXITED, fd < 0 ? 9999 : (uint32_t)transfer(REQUESTS, fd, true));
	if (write(status, record, sizeof record) < 0)
		return 1;
	/* and now as an agent might: hold everything, answer nothing */
	for (;;)
		(void)poll(NULL, 0, -1);
}

/* ---- outside ---- */

static struct rig rig;
static char dir_name[64];

static void nothing_can_be_sent_back(void **state)
{
	const char *argv[] = {"true", NULL};
	struct backend_failure f = {0};
	struct err e = ERR_INIT;
	uint8_t record[INIT_STATUS_LEN], kind;
	int status[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);
	uint32_t value = 0;
	int64_t begin;
	struct plan p;
	struct box x;

	(void)state;
	rig_plan(&p);
	int r = box_start(&rig, &x, &p, &f, &e);
	if (r < 0)
		print_error("step %s: %s\n", f.step, err_text(&e));
	assert_int_equal(r, 0);
	assert_int_equal(pipe2(status, O_CLOEXEC), 0);
	const int fds[] = {null, null, null, status[1]};
	assert_int_equal(box_send_exec(&x, 1, 0, argv, fds, 4), 0);
	(void)close(status[1]);
	(void)close(null);
	assert_int_equal(read(status[0], record, sizeof record), sizeof record);
	assert_int_equal(init_parse_status(record, &kind, &value), 0);
	assert_int_equal(value, EPIPE);
	(void)close(status[0]);

	/* our end closes, and the sandbox ends, at once */
	begin = clock_mono_ns();
	assert_int_equal(recv(x.request, record, sizeof record, MSG_DONTWAIT), 0);
	assert_true(box_end(&x, NULL));
	assert_true(clock_mono_ns() - begin < NSEC_PER_SEC);
}

static int setup(void **state)
{
	struct err e = ERR_INIT;
	int build = open(rig_build_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), dir;
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);

	(void)state;
	path[n < 0 ? 0 : n] = '\0';
	(void)snprintf(dir_name, sizeof dir_name, "hostile-%d", (int)getpid());
	dir = fd_open_dir(build, dir_name, 0755);
	if (dir < 0 || tree_copy_file(AT_FDCWD, path, dir, "postern-init", 0755) < 0)
		return -1;
	(void)close(dir);
	(void)close(build);
	(void)snprintf(path, sizeof path, "%s/%s", rig_build_dir(), dir_name);
	if (rig_new(&rig, path, 0, &e) < 0) {
		print_error("%s\n", err_text(&e));
		return -1;
	}
	return 0;
}

static int teardown(void **state)
{
	char path[96];

	(void)state;
	(void)snprintf(path, sizeof path, "%s/postern-init", dir_name);
	(void)unlinkat(rig.parent_fd, path, 0);
	(void)unlinkat(rig.parent_fd, dir_name, AT_REMOVEDIR);
	rig_free(&rig);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_can_be_sent_back)};

	if (argc == 1 && strcmp(argv[0], "postern-init") == 0 && getpid() == 1)
		return hostile_init();
	return cmocka_run_group_tests(tests, setup, teardown);
}
