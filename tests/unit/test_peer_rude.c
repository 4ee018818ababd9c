/*
 * Strangers at run.sock, which everybody on the host may connect to: what they can make the core
 * write down, and for whom they are taken.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/core/peer.h"
#include "broker/core/who.h"
#include "lib/clock.h"
#include "lib/seqpacket.h"
#include "lib/util.h"
#include "tests/support/core_rig.h"
#include "tests/support/record_memory.h"

#define STRANGERS 2000
#define AT_ONCE   20

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

/* So many at once as the backlog takes. */
static void connect_to(struct rig *r, const struct sockaddr_un *a, const char *record)
{
	int fd[AT_ONCE];

	for (size_t i = 0; i < AT_ONCE; i++) {
		fd[i] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
		assert_int_equal(connect(fd[i], (const struct sockaddr *)a, sizeof *a), 0);
		assert_int_equal(seqpacket_send(fd[i], record, strlen(record), NULL, 0), 0);
	}
	rig_turns(r);
	for (size_t i = 0; i < AT_ONCE; i++)
		(void)close(fd[i]);
}

static void strangers_do_not_fill_the_log(void **state)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct rig *r = *state;
	int64_t start = clock_mono_ns();
	size_t n, most;

	(void)snprintf(a.sun_path + 1, sizeof a.sun_path - 1, "postern-test-%d", (int)getpid());
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(fd, 64), 0);
	assert_int_equal(core_listen(r->core, "run", fd, NULL), 0);
	for (int i = 0; i < STRANGERS / AT_ONCE; i++)
		connect_to(r, &a, "x");
	n = record_memory_count(r->log, "peer.dropped");
	most = PEER_RUDE_MAX * (size_t)((clock_mono_ns() - start) / NSEC_PER_SEC + 2);
	if (n < PEER_RUDE_MAX || n > most || most >= STRANGERS)
		fail_msg("%zu records of %d, at most %zu", n, STRANGERS, most);
}

/* A process id may have been given anew between connect and accept. */
static void a_process_of_another_user_is_not_who_connected(void **state)
{
	char path[WHO_CGROUP_MAX];

	(void)state;
	cleanup_close int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(who_cgroup(proc, getpid(), geteuid(), path), 0);
	assert_int_equal(who_cgroup(proc, getpid(), geteuid() + 1, path), -ESRCH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(strangers_do_not_fill_the_log, setup, teardown),
	    cmocka_unit_test(a_process_of_another_user_is_not_who_connected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
