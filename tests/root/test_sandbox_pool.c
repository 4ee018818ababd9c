/*
 * Sandboxes of the warm pool: nobody's before they are claimed, one session's afterwards.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/spawn/backend_ns.h"
#include "broker/spawn/plan.h"
#include "lib/str.h"
#include "lib/util.h"
#include "tests/support/sandbox_rig.h"

static struct rig rig;
static struct ran ran;
static pid_t other; /* a spawn to be killed, made before our own changes its mounts */
static pid_t cleaner;
static int go, ready, next;

static struct plan plan_of(uint32_t warm)
{
	struct plan p;

	rig_plan(&p);
	p.warm = warm;
	return p;
}

/* Until nothing is left to do now. */
static void idle(void)
{
	while (rig.b->ops->idle(rig.b) == 1)
		;
}

static int told(const char *key)
{
	json_t *o = rig.b->ops->probe(rig.b);
	int n = (int)json_integer_value(json_object_get(json_object_get(o, "pool"), key));

	json_decref(o);
	return n;
}

static void prepare(const struct plan *p)
{
	struct backend_failure f = {0};
	struct err e = ERR_INIT;

	if (rig.b->ops->prepare(rig.b, p, &f, &e) < 0)
		fail_msg("step %s: %s", f.step, err_text(&e));
}

static void start(struct box *x, const struct plan *p, const char *how)
{
	struct backend_failure f = {0};
	struct err e = ERR_INIT;

	if (box_start(&rig, x, p, &f, &e) < 0)
		fail_msg("step %s: %s", f.step, err_text(&e));
	assert_string_equal(json_string_value(json_object_get(x->enforced, "start")), how);
}

static void expect(struct box *x, const char *script, const char *out)
{
	assert_int_equal(box_sh(x, script, &ran), 0);
	assert_true(ran.finished);
	assert_string_equal(ran.out, out);
}

/* The pids of our children: each is some sandbox's init. */
static size_t inits(pid_t *list, size_t max)
{
	char path[64], text[4096] = "";
	size_t n = 0;
	int fd;

	(void)snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_true(read(fd, text, sizeof text - 1) >= 0);
	(void)close(fd);
	for (char *p = text, *end; n < max; p = end) {
		long pid = strtol(p, &end, 10);

		if (end == p)
			break;
		if (pid != other && pid != cleaner)
			list[n++] = (pid_t)pid;
	}
	return n;
}

static void drain(void)
{
	struct plan none = plan_of(0);

	prepare(&none);
	idle();
	assert_int_equal(told("ready"), 0);
}

static void a_prepared_plan_gets_its_members_when_nobody_waits(void **state)
{
	struct plan p = plan_of(2);
	pid_t list[8];

	(void)state;
	prepare(&p);
	assert_int_equal(told("ready"), 0);
	idle();
	assert_int_equal(told("ready"), 2);
	assert_int_equal(inits(list, 8), 2);
	drain();
	assert_int_equal(inits(list, 8), 0);
}

static void a_claimed_member_serves_like_any_other(void **state)
{
	struct plan p = plan_of(1);
	struct box x;

	(void)state;
	prepare(&p);
	idle();
	start(&x, &p, "warm");
	assert_int_equal(told("ready"), 0);
	expect(&x, "id -un; hostname; pwd", "agent\nagent\n/home/agent\n");
	/* the claim socket is gone, and nothing of ours has come in */
	expect(&x, "ls /proc/self/fd | wc -l; grep -c . /proc/1/comm", "4\n1\n");
	assert_true(box_end(&x, NULL));
	drain();
}

static void an_empty_pool_starts_cold(void **state)
{
	struct plan p = plan_of(1);
	struct box x, y;

	(void)state;
	prepare(&p);
	idle();
	start(&x, &p, "warm");
	start(&y, &p, "cold");
	expect(&y, "echo up", "up\n");
	assert_true(box_end(&x, NULL));
	assert_true(box_end(&y, NULL));
	idle();
	assert_int_equal(told("ready"), 1); /* another one, never the one that was used */
	drain();
}

static void a_session_never_sees_what_another_left(void **state)
{
	struct plan p = plan_of(1);
	struct box x, y;

	(void)state;
	prepare(&p);
	idle();
	start(&x, &p, "warm");
	expect(&x, "echo secret >/tmp/mine; echo secret >/dev/shm/mine", "");
	assert_true(box_end(&x, NULL));
	idle();
	start(&y, &p, "warm");
	expect(&y, "ls -A /tmp /dev/shm | grep -c mine; true", "0\n");
	assert_true(box_end(&y, NULL));
	drain();
}

static void another_tenant_role_or_plan_gets_no_member(void **state)
{
	struct plan p = plan_of(1), q;
	struct box x;

	(void)state;
	prepare(&p);
	idle();
	for (int i = 0; i < 3; i++) {
		q = p;
		if (i == 0)
			memcpy(q.tenant, "other", 6);
		else if (i == 1)
			memcpy(q.role, "other", 6);
		else
			q.open_files = 77;
		start(&x, &q, "cold");
		assert_true(box_end(&x, NULL));
	}
	assert_int_equal(told("ready"), 1);
	idle();
	/* each of the two that are nobody's like has taught its own */
	assert_int_equal(told("shelves"), 3);
	memcpy(q.tenant, "other", 6);
	for (int i = 0; i < 2; i++) {
		q = plan_of(0);
		memcpy(i == 0 ? q.tenant : q.role, "other", 6);
		prepare(&q);
	}
	drain();
}

static void another_plan_of_the_template_drains_the_old_members(void **state)
{
	struct plan p = plan_of(2), q = plan_of(2);
	pid_t before[8], after[8];
	struct box x;

	(void)state;
	q.open_files = 333;
	prepare(&p);
	idle();
	assert_int_equal(inits(before, 8), 2);
	prepare(&q);
	idle();
	assert_int_equal(inits(after, 8), 2);
	for (size_t i = 0; i < 4; i++)
		assert_int_not_equal(before[i / 2], after[i % 2]);
	start(&x, &q, "warm");
	expect(&x, "ulimit -n", "333\n");
	assert_true(box_end(&x, NULL));
	q = plan_of(0);
	drain();
}

static void a_member_whose_init_has_died_is_thrown_away(void **state)
{
	struct plan p = plan_of(2);
	pid_t list[8];
	siginfo_t info;
	struct box x, y;

	(void)state;
	prepare(&p);
	idle();
	assert_int_equal(inits(list, 8), 2);
	/* the last made is the first claimed */
	assert_int_equal(kill(list[1], SIGKILL), 0);
	assert_int_equal(waitid(P_PID, (id_t)list[1], &info, WEXITED | WNOWAIT), 0);
	start(&x, &p, "warm");
	expect(&x, "echo up", "up\n");
	assert_int_equal(told("lost"), 1);
	start(&y, &p, "cold");
	assert_true(box_end(&x, NULL));
	assert_true(box_end(&y, NULL));
	drain();
}

static ssize_t read_file(const char *path, char *text, size_t size)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -1 : read(fd, text, size);
}

static void before_its_claim_a_member_holds_nothing_of_anybody(void **state)
{
	struct plan p = plan_of(1);
	pid_t list[8];
	char path[64], text[4096];
	ssize_t n;
	int fd;

	(void)state;
	prepare(&p);
	idle();
	assert_int_equal(inits(list, 8), 1);
	/* no environment, no argument but its name */
	(void)snprintf(path, sizeof path, "/proc/%d/cmdline", (int)list[0]);
	/* empty until its execve, which lets spawn go on, has come to its end */
	for (int i = 0; (n = read_file(path, text, sizeof text)) == 0 && i < 200; i++)
		(void)poll(NULL, 0, 10);
	assert_int_equal(n, sizeof "postern-init");
	(void)snprintf(path, sizeof path, "/proc/%d/environ", (int)list[0]);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, text, sizeof text);
	if (fd >= 0)
		(void)close(fd);
	assert_true(n <= 0);
	/* a cgroup of its tenant, with no session's name */
	(void)snprintf(path, sizeof path, "/proc/%d/cgroup", (int)list[0]);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = read(fd, text, sizeof text - 1);
	(void)close(fd);
	assert_true(n > 0);
	text[n] = '\0';
	assert_non_null(strstr(text, "/demo/warm-"));
	/* filter and no_new_privs are there already */
	(void)snprintf(path, sizeof path, "/proc/%d/status", (int)list[0]);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = read(fd, text, sizeof text - 1);
	(void)close(fd);
	assert_true(n > 0);
	text[n] = '\0';
	assert_non_null(strstr(text, "Seccomp:\t2\n"));
	assert_non_null(strstr(text, "NoNewPrivs:\t1\n"));
	assert_non_null(strstr(text, "CapEff:\t00000000000001e0\n"));
	drain();
}

static void members_share_no_name_and_no_randomness(void **state)
{
	static const char script[] = "cat /etc/machine-id; od -An -N16 -tx1 /dev/urandom; "
	                             "cat /proc/sys/kernel/random/uuid";
	struct plan p = plan_of(2);
	char first[512];
	struct box x, y;

	(void)state;
	prepare(&p);
	idle();
	start(&x, &p, "warm");
	start(&y, &p, "warm");
	assert_int_equal(box_sh(&x, script, &ran), 0);
	(void)str_copy(first, sizeof first, ran.out);
	assert_int_equal(strcspn(first, "\n"), 32);
	assert_int_equal(box_sh(&y, script, &ran), 0);
	assert_int_equal(strcspn(ran.out, "\n"), 32);
	for (const char *a = first, *b = ran.out; *a && *b;) {
		size_t n = strcspn(a, "\n");

		assert_true(strncmp(a, b, n) != 0);
		a += n + 1;
		b += strcspn(b, "\n") + 1;
	}
	expect(&x, "echo x >/etc/machine-id 2>/dev/null || echo kept", "kept\n");
	assert_true(box_end(&x, NULL));
	assert_true(box_end(&y, NULL));
	drain();
}

static __attribute__((noreturn)) void be_killed(int from, int to)
{
	struct plan p = plan_of(3);
	struct backend_failure f = {0};
	struct err e = ERR_INIT;
	struct rig own;
	char c;

	if (read(from, &c, 1) != 1)
		_exit(0);
	if (rig_new(&own, NULL, 0, &e) < 0 || own.b->ops->prepare(own.b, &p, &f, &e) < 0)
		_exit(1);
	while (own.b->ops->idle(own.b) == 1)
		;
	if (write(to, "u", 1) != 1)
		_exit(1);
	for (;;)
		(void)pause();
}

/* Takes the place of the one that was killed: same instance, same state. */
static __attribute__((noreturn)) void be_next(int from)
{
	struct backend_ns_config c = {.idbase = 2600000000u, .idcount = 256u * 65536u};
	char instance[32], dir[64], path[4096];
	struct err e = ERR_INIT;
	struct backend *b;
	int parent;
	pid_t dead;

	if (read(from, &dead, sizeof dead) != sizeof dead)
		_exit(0);
	(void)snprintf(instance, sizeof instance, "rig%d-0", (int)dead);
	(void)snprintf(dir, sizeof dir, "state-%s", instance);
	(void)snprintf(path, sizeof path, "%s/libexec/postern", rig_build_dir());
	parent = open(rig_build_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	c.state_fd = openat(parent, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	c.libexec_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	c.instance = instance;
	b = backend_ns_new(&c, &e);
	if (!b)
		_exit(1);
	b->ops->free(b);
	_exit(unlinkat(parent, dir, AT_REMOVEDIR) == 0 ? 0 : 2);
}

/* As spawn's end by SIGKILL: init dies with its parent, and the next spawn finds nothing to keep.
 */
static void a_full_pool_dies_with_spawn(void **state)
{
	struct pollfd end;
	pid_t child = other;
	int left;
	char c;

	(void)state;
	assert_int_equal(write(go, "g", 1), 1);
	assert_int_equal(read(ready, &c, 1), 1);
	pid_t list[8];
	size_t n = 0;
	char path[64], text[256] = "";
	int fd;

	(void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)child, (int)child);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(read(fd, text, sizeof text - 1) > 0);
	(void)close(fd);
	for (char *at = text, *stop; n < 8; at = stop) {
		long pid = strtol(at, &stop, 10);

		if (stop == at)
			break;
		list[n++] = (pid_t)pid;
	}
	assert_int_equal(n, 3);
	int pidfds[3];
	for (size_t i = 0; i < 3; i++)
		assert_true((pidfds[i] = pidfd_open(list[i], 0)) >= 0);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	for (size_t i = 0; i < 3; i++) {
		end = (struct pollfd){.fd = pidfds[i], .events = POLLIN};
		assert_int_equal(poll(&end, 1, 5000), 1);
		(void)close(pidfds[i]);
	}
	/* the next spawn of that instance removes the directories */
	assert_int_equal(write(next, &child, sizeof child), sizeof child);
	assert_int_equal(waitpid(cleaner, &left, 0), cleaner);
	assert_int_equal(left, 0);
}

static int set_up(void **state)
{
	struct err e = ERR_INIT;
	int down[2], up[2], after[2];

	(void)state;
	if (pipe2(down, O_CLOEXEC) < 0 || pipe2(up, O_CLOEXEC) < 0 || pipe2(after, O_CLOEXEC) < 0)
		return -1;
	other = fork();
	if (other == 0) {
		(void)close(down[1]);
		(void)close(up[0]);
		(void)close(after[1]);
		be_killed(down[0], up[1]);
	}
	cleaner = fork();
	if (cleaner == 0) {
		(void)close(after[1]);
		(void)close(down[1]);
		(void)close(up[1]);
		be_next(after[0]);
	}
	(void)close(after[0]);
	next = after[1];
	(void)close(down[0]);
	(void)close(up[1]);
	go = down[1];
	ready = up[0];
	if (rig_new(&rig, NULL, 2700000000u, &e) == 0)
		return 0;
	print_error("%s\n", err_text(&e));
	return -1;
}

static int tear_down(void **state)
{
	(void)state;
	rig_free(&rig);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_prepared_plan_gets_its_members_when_nobody_waits),
	    cmocka_unit_test(a_claimed_member_serves_like_any_other),
	    cmocka_unit_test(an_empty_pool_starts_cold),
	    cmocka_unit_test(a_session_never_sees_what_another_left),
	    cmocka_unit_test(another_tenant_role_or_plan_gets_no_member),
	    cmocka_unit_test(another_plan_of_the_template_drains_the_old_members),
	    cmocka_unit_test(a_member_whose_init_has_died_is_thrown_away),
	    cmocka_unit_test(before_its_claim_a_member_holds_nothing_of_anybody),
	    cmocka_unit_test(members_share_no_name_and_no_randomness),
	    cmocka_unit_test(a_full_pool_dies_with_spawn),
	};

	return cmocka_run_group_tests_name("sandbox_pool", tests, set_up, tear_down);
}
