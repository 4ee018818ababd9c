/*
 * postern-spawn itself, as the supervisor starts it: what it may do, whom it starts, and what its
 * death leaves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/spawn/cgroup_find.h"
#include "broker/spawn/plan.h"
#include "broker/supervisor/launch.h"
#include "lib/chan.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/msg.h"
#include "lib/util.h"
#include "tests/support/sandbox_rig.h"

#define IDBASE     2900000000u
#define IDCOUNT    (8u * 65536u)
#define SESSION    "11111111-2222-4333-8444-555555555555"
#define SECONDS(n) ((n)*NSEC_PER_SEC)

struct spawn {
	struct chan *supervisor, *core;
	pid_t pid;
};

static char instance[32], state_name[64], workspaces_name[64];
static int build_fd = -1, cgroup_fd[4] = {-1, -1, -1, -1};
static const char *const hierarchies[] = {NULL, "memory", "pids", "cpu"};

static pid_t launch(int link)
{
	struct err e = ERR_INIT;
	struct launch l;
	int libexec = openat(build_fd, "libexec/postern", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int state = fd_open_dir(build_fd, state_name, 0700);
	int workspaces = fd_open_dir(build_fd, workspaces_name, 0700);
	pid_t pid;

	launch_init(&l, libexec, "postern-spawn");
	launch_fd(&l, NULL, link);
	launch_fd(&l, "state", state);
	launch_fd(&l, "libexec", libexec);
	launch_fd(&l, "workspaces", workspaces);
	launch_arg(&l, "instance=%s", instance);
	launch_arg(&l, "idbase=%u", IDBASE);
	launch_arg(&l, "idcount=%u", IDCOUNT);
	pid = launch_run(&l, &e);
	for (int fd = 0; fd < 3; fd++)
		(void)close((const int[]){libexec, state, workspaces}[fd]);
	return pid;
}

static void begin(struct spawn *s)
{
	int link[2], core[2];
	struct msg m = MSG_INIT;

	assert_int_equal(fd_seqpacket_pair(link), 0);
	assert_int_equal(fd_seqpacket_pair(core), 0);
	s->pid = launch(link[1]);
	assert_true(s->pid > 0);
	(void)close(link[1]);
	s->supervisor = chan_new(link[0], MSG_SUPERVISOR, MSG_SPAWN);
	struct pollfd p = {chan_fd(s->supervisor), POLLIN, 0};
	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_int_equal(chan_recv(s->supervisor, &m, NULL), 1);
	assert_true(msg_is(&m, "ready"));
	msg_done(&m);
	s->core = chan_new(core[0], MSG_CORE, MSG_SPAWN);
	assert_int_equal(chan_send(s->supervisor, "core.link", 0, NULL, &core[1], 1), 0);
	(void)close(core[1]);
}

static int finish(struct spawn *s)
{
	int status = -1;

	(void)chan_send(s->supervisor, "shutdown", 0, NULL, NULL, 0);
	assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
	chan_free(s->supervisor);
	chan_free(s->core);
	return status;
}

static void ask(
    struct spawn *s, const char *type, json_t *body, const int *fds, size_t n, struct msg *m)
{
	struct err e = ERR_INIT;
	int r = chan_call(s->core, type, body, fds, n, clock_mono_ns() + SECONDS(10), m, &e);

	if (r < 0)
		print_error("%s: %s\n", type, err_text(&e));
	assert_int_equal(r, 0);
}

/* What the walk of an ended sandbox tells has its own tests. */
static void hear(struct spawn *s, const char *type, struct msg *m)
{
	struct pollfd p = {chan_fd(s->core), POLLIN, 0};

	do {
		msg_done(m);
		if (!chan_pending(s->core))
			assert_int_equal(poll(&p, 1, 10000), 1);
		assert_int_equal(chan_recv(s->core, m, NULL), 1);
	} while (msg_is(m, "walk.up"));
	assert_true(msg_is(m, type));
}

/* A sandbox; *x holds its request socket. Returns init's process id as we see it. */
static pid_t start(struct spawn *s, struct box *x)
{
	struct msg m = MSG_INIT;
	struct plan p;
	int pair[2];
	pid_t pid;

	rig_plan(&p);
	p.credentials = true;
	p.limits.memory_bytes = 256 << 20;
	*x = (struct box){0};
	assert_int_equal(fd_seqpacket_pair(pair), 0);
	(void)shutdown(pair[0], SHUT_RD);
	ask(s, "sandbox.start", json_pack("{s:s,s:o}", "session", SESSION, "plan", plan_pack(&p)),
	    &pair[1], 1, &m);
	(void)close(pair[1]);
	if (!msg_is(&m, "sandbox.started"))
		print_error("%s: %s\n", msg_str(&m, "step"), msg_str(&m, "reason"));
	assert_true(msg_is(&m, "sandbox.started"));
	pid = (pid_t)msg_int(&m, "pid", 0);
	msg_done(&m);
	x->request = pair[0];
	return pid;
}

static void end(struct spawn *s, struct box *x)
{
	struct msg m = MSG_INIT;

	assert_int_equal(
	    chan_send(s->core, "sandbox.end", 0, json_pack("{s:s}", "session", SESSION), NULL, 0),
	    0);
	hear(s, "sandbox.ended", &m);
	assert_string_equal(msg_str(&m, "reason"), "ended");
	msg_done(&m);
	util_close(&x->request);
}

static size_t cgroups_left(const char *below)
{
	char path[128];
	size_t n = 0;

	(void)snprintf(path, sizeof path, "postern-%s%s", instance, below);
	for (size_t i = 0; i < 4; i++) {
		int fd = cgroup_fd[i] < 0
		             ? -1
		             : openat(cgroup_fd[i], path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd >= 0)
			n++;
		util_close(&fd);
	}
	return n;
}

/* ---- tests ---- */

static unsigned long long status_number(pid_t pid, const char *key)
{
	char path[64], line[256];
	unsigned long long n = ~0ull;
	size_t len = strlen(key);
	FILE *f;

	(void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof line, f))
		if (strncmp(line, key, len) == 0 && line[len] == ':')
			n = strtoull(line + len + 1, NULL, 16);
	if (f)
		(void)fclose(f);
	return n;
}

static void it_keeps_few_capabilities(void **state)
{
	/* bits 0 to 8, CHOWN to SETPCAP; NET_ADMIN SYS_CHROOT SYS_ADMIN SYS_NICE */
	const unsigned long long keep = 0x1ff | 1ull << 12 | 1ull << 18 | 1ull << 21 | 1ull << 23;
	const unsigned long long resource = 1ull << 24;
	struct spawn s;

	(void)state;
	begin(&s);
	assert_int_equal(status_number(s.pid, "CapPrm") & ~resource, keep);
	assert_int_equal(status_number(s.pid, "CapBnd") & ~resource, keep);
	assert_int_equal(status_number(s.pid, "CapInh"), 0);
	assert_int_equal(status_number(s.pid, "CapAmb"), 0);
	assert_int_equal(status_number(s.pid, "NoNewPrivs"), 1);
	assert_int_equal(finish(&s), 0);
}

static void it_lives_in_a_small_mount_namespace(void **state)
{
	char path[64], line[1024];
	size_t n = 0;
	struct spawn s;
	FILE *f;

	(void)state;
	begin(&s);
	(void)snprintf(path, sizeof path, "/proc/%d/mountinfo", (int)s.pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof line, f))
		n++;
	if (f)
		(void)fclose(f);
	assert_in_range(n, 1, 8);
	assert_int_equal(finish(&s), 0);
}

static void it_leaves_nothing_when_it_is_told_to_stop(void **state)
{
	struct spawn s;
	struct box x;
	pid_t init;

	(void)state;
	begin(&s);
	init = start(&s, &x);
	assert_true(cgroups_left("/demo/" SESSION) > 0);
	assert_int_equal(finish(&s), 0);
	assert_int_equal(kill(init, 0), -1);
	assert_int_equal(cgroups_left(""), 0);
	util_close(&x.request);
}

static void it_gives_the_id_back_and_ends_cleanly(void **state)
{
	struct spawn s;
	struct box x;

	(void)state;
	begin(&s);
	/* more sandboxes than there are blocks of ids */
	for (int i = 0; i < 20; i++) {
		int64_t deadline = clock_mono_ns() + SECONDS(5);

		(void)start(&s, &x);
		end(&s, &x);
		while (cgroups_left("/demo/" SESSION) > 0) {
			assert_true(clock_mono_ns() < deadline);
			(void)poll(NULL, 0, 2);
		}
		(void)poll(NULL, 0, 30); /* its reap timer, so that the name is free */
	}
	assert_int_equal(finish(&s), 0);
}

static void its_death_is_its_sandboxes_end_and_the_next_one_sweeps(void **state)
{
	static struct ran ran;
	struct spawn s;
	struct box x;
	pid_t init;

	(void)state;
	begin(&s);
	init = start(&s, &x);
	assert_int_equal(box_sh(&x, "sleep 1000 >/dev/null 2>&1 & sleep 0.1", &ran), 0);
	struct pollfd p = {fd_pidfd_open(init), POLLIN, 0};
	assert_true(p.fd >= 0);
	assert_int_equal(kill(s.pid, SIGKILL), 0);
	assert_int_equal(waitpid(s.pid, NULL, 0), s.pid);
	assert_int_equal(poll(&p, 1, 1000), 1);
	(void)close(p.fd);
	(void)waitpid(init, NULL, WNOHANG);
	chan_free(s.supervisor);
	chan_free(s.core);
	util_close(&x.request);
	assert_true(cgroups_left("/demo/" SESSION) > 0);

	begin(&s);
	assert_int_equal(cgroups_left("/demo"), 0);
	(void)start(&s, &x); /* the same name, and ids from the first on */
	end(&s, &x);
	assert_int_equal(finish(&s), 0);
	assert_int_equal(cgroups_left(""), 0);
}

static void a_knock_starts_the_lease_process(void **state)
{
	static struct ran ran;
	struct msg m = MSG_INIT;
	struct spawn s;
	struct box x;

	(void)state;
	begin(&s);
	(void)start(&s, &x);
	assert_int_equal(box_sh(&x,
	                     "/usr/bin/python3 -c 'import socket; "
	                     "socket.create_connection((\"127.0.0.1\", 4712))'",
	                     &ran),
	    0);
	assert_int_equal(ran.exit, 0);
	hear(&s, "lease.up", &m);
	assert_string_equal(msg_str(&m, "session"), SESSION);
	assert_int_equal(m.nfds, 1);
	msg_done(&m);
	end(&s, &x);
	assert_int_equal(finish(&s), 0);
}

static void terminals_come_from_the_sandbox(void **state)
{
	struct msg m = MSG_INIT;
	struct spawn s;
	struct box x;

	(void)state;
	begin(&s);
	(void)start(&s, &x);
	ask(&s, "sandbox.pty", json_pack("{s:s}", "session", SESSION), NULL, 0, &m);
	assert_true(msg_is(&m, "sandbox.pty.opened"));
	assert_int_equal(m.nfds, 2);
	assert_true(isatty(m.fds[0]));
	assert_true(isatty(m.fds[1]));
	msg_done(&m);
	end(&s, &x);
	assert_int_equal(finish(&s), 0);
}

/* What /proc/PID/cgroup says of a process that a PAM session has put into the tie. */
static void a_tie_is_a_cgroup_that_processes_can_be_known_by(void **state)
{
	char path[600] = {0}, file[64], want[600], pid_text[32];
	struct msg m = MSG_INIT;
	struct spawn s;
	bool seen = false;
	pid_t pid;
	FILE *f;

	(void)state;
	begin(&s);
	ask(&s, "tie.make", json_pack("{s:s}", "session", SESSION), NULL, 0, &m);
	assert_true(msg_is(&m, "tie.made"));
	(void)snprintf(want, sizeof want, "0::%s\n", msg_str(&m, "path"));
	pid = fork();
	if (pid == 0)
		for (;;)
			(void)poll(NULL, 0, -1);
	(void)snprintf(pid_text, sizeof pid_text, "%d", (int)pid);
	assert_int_equal(write(m.fds[0], pid_text, strlen(pid_text)), (ssize_t)strlen(pid_text));
	msg_done(&m);
	(void)snprintf(file, sizeof file, "/proc/%d/cgroup", (int)pid);
	f = fopen(file, "re");
	while (f && fgets(path, sizeof path, f))
		seen |= strcmp(path, want) == 0;
	if (f)
		(void)fclose(f);
	assert_true(seen);
	assert_int_equal(cgroups_left("/ties.sshd/" SESSION), 1);
	/* it is removed when the session has ended and its processes have gone; they are not ours
	 * to kill */
	assert_int_equal(
	    chan_send(s.core, "sandbox.end", 0, json_pack("{s:s}", "session", SESSION), NULL, 0),
	    0);
	hear(&s, "sandbox.ended", &m);
	msg_done(&m);
	assert_int_equal(kill(pid, 0), 0);
	assert_int_equal(cgroups_left("/ties.sshd/" SESSION), 1);
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	int64_t deadline = clock_mono_ns() + SECONDS(3);
	while (cgroups_left("/ties.sshd/" SESSION) > 0) {
		assert_true(clock_mono_ns() < deadline);
		(void)poll(NULL, 0, 5);
	}
	assert_int_equal(finish(&s), 0);
}

static void refuses_arguments_that_are_none(void **state)
{
	static const char *const bad[] = {"instance=../x", "idbase=x", "state=-1", "what=1", ""};
	int libexec = openat(build_fd, "libexec/postern", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err e = ERR_INIT;
		struct launch l;
		int status;
		pid_t pid;

		launch_init(&l, libexec, "postern-spawn");
		launch_arg(&l, "%s", bad[i]);
		pid = launch_run(&l, &e);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(WEXITSTATUS(status), 2);
	}
	(void)close(libexec);
}

/* In a mount namespace where the sysctl reads 2. */
static int with_dumpable(void)
{
	int link[2], status, fd;
	char path[4096];
	pid_t pid;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return 90;
	/* by its path: what was opened in another mount namespace cannot be bound */
	(void)snprintf(path, sizeof path, "%s/dumpable", rig_build_dir());
	fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, "2\n", 2) != 2)
		return 91;
	if (mount(path, "/proc/sys/fs/suid_dumpable", NULL, MS_BIND, NULL) < 0)
		return 92;
	if (fd_seqpacket_pair(link) < 0 || (pid = launch(link[1])) < 0 ||
	    waitpid(pid, &status, 0) != pid)
		return 93;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 94;
}

static void refuses_to_run_with_suid_dumpable(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(with_dumpable());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 1);
	(void)unlinkat(build_fd, "dumpable", 0);
}

static int setup(void **state)
{
	char path[512];

	(void)state;
	(void)signal(SIGPIPE, SIG_IGN);
	build_fd = open(rig_build_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	(void)snprintf(instance, sizeof instance, "spawn%d", (int)getpid());
	(void)snprintf(state_name, sizeof state_name, "state-%s", instance);
	(void)snprintf(workspaces_name, sizeof workspaces_name, "workspaces-%s", instance);
	for (size_t i = 0; i < 4; i++)
		if (cgroup_find(hierarchies[i], path, sizeof path, NULL, 0) == 0)
			cgroup_fd[i] = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int fd = fd_open_dir(build_fd, state_name, 0700);
	(void)close(fd);
	return fd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	(void)unlinkat(build_fd, workspaces_name, AT_REMOVEDIR);
	return unlinkat(build_fd, state_name, AT_REMOVEDIR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_keeps_few_capabilities),
	    cmocka_unit_test(it_lives_in_a_small_mount_namespace),
	    cmocka_unit_test(it_leaves_nothing_when_it_is_told_to_stop),
	    cmocka_unit_test(it_gives_the_id_back_and_ends_cleanly),
	    cmocka_unit_test(its_death_is_its_sandboxes_end_and_the_next_one_sweeps),
	    cmocka_unit_test(a_knock_starts_the_lease_process),
	    cmocka_unit_test(terminals_come_from_the_sandbox),
	    cmocka_unit_test(a_tie_is_a_cgroup_that_processes_can_be_known_by),
	    cmocka_unit_test(refuses_arguments_that_are_none),
	    cmocka_unit_test(refuses_to_run_with_suid_dumpable),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
