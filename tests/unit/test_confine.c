#include "lib/confine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/util.h"
#include "tests/support/child.h"

static bool is_root(void)
{
	return geteuid() == 0;
}

/* The number after NAME in /proc/self/status, base 16 or 10. */
static uint64_t status_of(const char *name, int base)
{
	char line[256];
	uint64_t v = UINT64_MAX;
	FILE *f = fopen("/proc/self/status", "re");

	if (!f)
		return v;
	while (fgets(line, sizeof line, f))
		if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
			v = strtoull(line + strlen(name) + 1, NULL, base);
	(void)fclose(f);
	return v;
}

/* ---- basics and limits ---- */

static void nothing(int signo)
{
	(void)signo;
}

static int child_basics(void)
{
	struct rlimit l;
	struct sigaction sa;
	sigset_t all, now;

	(void)sigfillset(&all);
	(void)sigprocmask(SIG_BLOCK, &all, NULL);
	(void)signal(SIGUSR1, nothing);
	(void)signal(SIGPIPE, SIG_IGN);
	CHECK(confine_basics() == 0);
	CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
	CHECK(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
	CHECK(getrlimit(RLIMIT_CORE, &l) == 0 && l.rlim_cur == 0 && l.rlim_max == 0);
	CHECK(sigprocmask(SIG_SETMASK, NULL, &now) == 0 && !sigismember(&now, SIGTERM));
	for (int s = 1; s < 32; s++)
		CHECK(sigaction(s, NULL, &sa) < 0 || sa.sa_handler == SIG_DFL);
	return 0;
}

static void basics_hold(void **state)
{
	(void)state;
	child_run(child_basics);
}

static int child_limits(void)
{
	const struct confine_limits l = {10, 0, 7, 0, 0};
	struct rlimit r;
	int fd;

	CHECK(confine_limits(&l) == 0);
	CHECK(getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur == 10 && r.rlim_max == 10);
	CHECK(getrlimit(RLIMIT_CPU, &r) == 0 && r.rlim_max == 7);
	CHECK(getrlimit(RLIMIT_NPROC, &r) == 0 && r.rlim_max == 0);
	CHECK(getrlimit(RLIMIT_FSIZE, &r) == 0 && r.rlim_max == 0);
	for (int i = 0; i < 11; i++)
		fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	CHECK(fd < 0 && errno == EMFILE);
	return 0;
}

#ifndef POSTERN_SAN /* the sanitizer needs terabytes of address space */
static int child_loose_limits(void)
{
	const struct confine_limits l = {64, UINT64_C(1) << 40, 0, 100, UINT64_MAX};
	struct rlimit before, r;

	CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
	CHECK(confine_limits(&l) == 0);
	CHECK(getrlimit(RLIMIT_AS, &r) == 0 && r.rlim_max == UINT64_C(1) << 40);
	CHECK(getrlimit(RLIMIT_FSIZE, &r) == 0 && r.rlim_max == before.rlim_max);
	return 0;
}
#endif

static void limits_hold(void **state)
{
	(void)state;
	child_run(child_limits);
#ifndef POSTERN_SAN
	child_run(child_loose_limits);
#endif
}

/* Without root RLIMIT_NPROC 0 forbids fork. */
static int child_no_fork(void)
{
	const struct confine_limits l = {64, 0, 0, 0, UINT64_MAX};

	CHECK(confine_ids(65534, 65534) == 0);
	CHECK(confine_limits(&l) == 0);
	CHECK(fork() < 0 && errno == EAGAIN);
	return 0;
}

static void no_processes_means_no_fork(void **state)
{
	(void)state;
	if (!is_root())
		skip();
	child_run(child_no_fork);
}

/* ---- ids and capabilities ---- */

static int child_ids(void)
{
	CHECK(setgroups(2, (const gid_t[]){1, 2}) == 0);
	CHECK(confine_ids(12345, 23456) == 0);
	CHECK(getuid() == 12345 && geteuid() == 12345 && getgid() == 23456 && getegid() == 23456);
	CHECK(getgroups(0, NULL) == 0);
	CHECK(setuid(0) < 0 && setgid(0) < 0);
	CHECK(status_of("CapEff", 16) == 0 && status_of("CapPrm", 16) == 0);
	CHECK(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
	CHECK(confine_ids(0, 0) == -EPERM);
	return 0;
}

static int child_ids_invalid(void)
{
	uid_t before = getuid();

	CHECK(confine_ids((uid_t)-1, 1) == -EINVAL);
	CHECK(confine_ids(1, (gid_t)-1) == -EINVAL);
	CHECK(getuid() == before);
	return 0;
}

/* A saved-set bit that keeps capabilities would leave the way back open. */
static int child_ids_keepcaps(void)
{
	CHECK(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0);
	CHECK(confine_ids(12345, 12345) == 0); /* permitted, but not effective */
	CHECK(confine_caps(0) == 0);
	CHECK(status_of("CapPrm", 16) == 0);
	CHECK(setuid(0) < 0);
	return 0;
}

static void ids_cannot_be_taken_back(void **state)
{
	(void)state;
	child_run(child_ids_invalid);
	if (!is_root())
		skip();
	child_run(child_ids);
	child_run(child_ids_keepcaps);
}

static int child_caps_none(void)
{
	CHECK(confine_caps(0) == 0);
	CHECK(status_of("CapInh", 16) == 0);
	CHECK(status_of("CapPrm", 16) == 0);
	CHECK(status_of("CapEff", 16) == 0);
	CHECK(status_of("CapBnd", 16) == 0);
	CHECK(status_of("CapAmb", 16) == 0);
	CHECK(confine_caps(0) == 0);
	CHECK(confine_caps(UINT64_C(1) << CAP_KILL) == -EPERM);
	return 0;
}

static int child_caps_some(void)
{
	const uint64_t keep = UINT64_C(1) << CAP_SETUID | UINT64_C(1) << CAP_SETGID;

	CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0);
	CHECK(confine_caps(keep) == 0);
	CHECK(status_of("CapPrm", 16) == keep && status_of("CapEff", 16) == keep);
	CHECK(status_of("CapInh", 16) == 0 && status_of("CapBnd", 16) == 0);
	/* the order for a daemon: what is left is enough for its ids, and then nothing is */
	CHECK(confine_ids(12345, 12345) == 0);
	CHECK(confine_caps(0) == 0);
	CHECK(status_of("CapPrm", 16) == 0);
	return 0;
}

static int child_caps_unprivileged(void)
{
	if (is_root())
		CHECK(confine_ids(12345, 12345) == 0);
	CHECK(confine_caps(0) == 0);
	CHECK(status_of("CapEff", 16) == 0);
	return 0;
}

static void capabilities_are_gone_from_all_five_sets(void **state)
{
	(void)state;
	child_run(child_caps_unprivileged);
	if (!is_root())
		skip();
	child_run(child_caps_none);
	child_run(child_caps_some);
}

/* ---- seccomp ---- */

/* getppid answers EDOM, everything else goes on. */
static const struct sock_filter filter[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EDOM),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

static int child_seccomp(void)
{
	CHECK(confine_seccomp(filter, 0) == -EINVAL);
	CHECK(confine_seccomp(filter, BPF_MAXINSNS + 1) == -EINVAL);
	CHECK(confine_basics() == 0);
	CHECK(syscall(SYS_getppid) > 0);
	CHECK(confine_seccomp(filter, 3) ==
	      -EINVAL); /* its last instruction is no return: the kernel */
	CHECK(confine_seccomp(filter, ARRAY_LEN(filter)) == 0);
	CHECK(syscall(SYS_getppid) < 0 && errno == EDOM);
	CHECK(status_of("Seccomp", 10) == SECCOMP_MODE_FILTER);
	return 0;
}

static int child_seccomp_unprivileged(void)
{
	if (is_root())
		CHECK(confine_ids(12345, 12345) == 0);
	CHECK(confine_seccomp(filter, ARRAY_LEN(filter)) == -EACCES); /* without no_new_privs */
	CHECK(confine_basics() == 0);
	CHECK(confine_seccomp(filter, ARRAY_LEN(filter)) == 0);
	return 0;
}

static void seccomp_filters_load_and_hold(void **state)
{
	(void)state;
	child_run(child_seccomp);
	child_run(child_seccomp_unprivileged);
}

/* ---- descriptors ---- */

static int child_fds(void)
{
	int fds[20], keep[5];

	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = open("/dev/null", O_RDONLY); /* no CLOEXEC: that is what this is about */
	keep[0] = fds[19]; /* any order, doubles, and what is not there */
	keep[1] = fds[3];
	keep[2] = fds[4];
	keep[3] = fds[3];
	keep[4] = -1;
	int extra = fcntl(fds[0], F_DUPFD, 900);
	CHECK(extra >= 900);
	CHECK(confine_fds(keep, 5) == 0);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		CHECK((fcntl(fds[i], F_GETFD) >= 0) == (i == 3 || i == 4 || i == 19));
	CHECK(fcntl(extra, F_GETFD) < 0);
	CHECK(confine_fds(NULL, 0) == 0);
	CHECK(fcntl(fds[3], F_GETFD) < 0);
	CHECK(fcntl(0, F_GETFD) >= 0 && fcntl(1, F_GETFD) >= 0 && fcntl(2, F_GETFD) >= 0);
	return 0;
}

/* Its report pipe is closed too, so the status is its answer. */
static void closes_every_other_descriptor(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(child_fds() != 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(basics_hold),
	    cmocka_unit_test(limits_hold),
	    cmocka_unit_test(no_processes_means_no_fork),
	    cmocka_unit_test(ids_cannot_be_taken_back),
	    cmocka_unit_test(capabilities_are_gone_from_all_five_sets),
	    cmocka_unit_test(seccomp_filters_load_and_hold),
	    cmocka_unit_test(closes_every_other_descriptor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
