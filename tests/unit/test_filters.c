#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "filters.h"
#include "lib/confine.h"
#include "lib/util.h"
#include "tests/support/child.h"

/* What the programs need of their filters that would fail in silence, and what nobody gets. */

static int core_measures(void)
{
	int pair[2], unread = -1;

	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	CHECK(write(pair[0], "abc", 3) == 3);
	CHECK(confine_basics() == 0);
	CHECK(confine_seccomp(filter_core, ARRAY_LEN(filter_core)) == 0);
	CHECK(ioctl(pair[0], SIOCOUTQ, &unread) == 0 && unread > 0);
	return 0;
}

/* Else the bound on descriptors in flight to an init that does not read is not in force. */
static void the_core_may_ask_what_init_has_not_read(void **state)
{
	(void)state;
	child_run(core_measures);
}

static int no_new_sockets(void)
{
	CHECK(confine_basics() == 0);
	CHECK(confine_seccomp(filter_worker, ARRAY_LEN(filter_worker)) == 0);
	CHECK(socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EPERM);
	CHECK(kill(getppid(), 0) < 0 && errno == EPERM);
	return 0;
}

static void a_worker_makes_no_socket_and_signals_nobody(void **state)
{
	(void)state;
	child_run(no_new_sockets);
}

static bool starts_nothing(void)
{
#ifdef POSTERN_SAN /* the leak check at exit is a process of its own, so clone is let through */
	return true;
#else
	return fork() < 0 && errno == EPERM;
#endif
}

static int only_its_files(void)
{
	int pair[2];

	CHECK(confine_basics() == 0);
	CHECK(confine_seccomp(filter_witness, ARRAY_LEN(filter_witness)) == 0);
	CHECK(socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EPERM);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0 && errno == EPERM);
	CHECK(starts_nothing());
	CHECK(kill(getppid(), 0) < 0 && errno == EPERM);
	CHECK(fsync(0) == 0 || errno == EINVAL);
	return 0;
}

static void a_witness_dials_nobody_and_starts_nothing(void **state)
{
	(void)state;
	child_run(only_its_files);
}

static void *nothing(void *arg)
{
	return arg;
}

static int only_dials(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof a;
	pthread_t thread;
	int abi, s, server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(bind(server, (struct sockaddr *)&a, sizeof a) == 0 && listen(server, 1) == 0);
	CHECK(getsockname(server, (struct sockaddr *)&a, &len) == 0);
	CHECK(confine_basics() == 0);
	abi = confine_landlock_abi();
	if (abi >= 0)
		CHECK(confine_landlock_dial(NULL, 0, &abi) == 0);
	CHECK(confine_seccomp(filter_export, ARRAY_LEN(filter_export)) == 0);
	s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(s >= 0 && connect(s, (struct sockaddr *)&a, sizeof a) == 0);
	CHECK(pthread_create(&thread, NULL, nothing, NULL) == 0); /* names are resolved in one */
	CHECK(pthread_join(thread, NULL) == 0);
	s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	a.sin_port = 0;
	if (abi >= 4)
		CHECK(bind(s, (struct sockaddr *)&a, sizeof a) < 0 && errno == EACCES);
	CHECK(listen(s, 1) < 0 && errno == EPERM);
	CHECK(accept(server, NULL, NULL) < 0 && errno == EPERM);
	CHECK(socket(AF_INET, SOCK_RAW, IPPROTO_RAW) < 0 && errno == EPERM);
	CHECK(socket(AF_PACKET, SOCK_RAW, 0) < 0 && errno == EAFNOSUPPORT);
	CHECK(starts_nothing());
	CHECK(kill(getppid(), 0) < 0 && errno == EPERM);
	if (abi >= 0)
		CHECK(open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0 && errno == EACCES);
	return 0;
}

static void the_exporter_dials_and_does_nothing_else(void **state)
{
	(void)state;
	child_run(only_dials);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_core_may_ask_what_init_has_not_read),
	    cmocka_unit_test(a_worker_makes_no_socket_and_signals_nobody),
	    cmocka_unit_test(the_exporter_dials_and_does_nothing_else),
	    cmocka_unit_test(a_witness_dials_nobody_and_starts_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
