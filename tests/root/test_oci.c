/*
 * The tier oci with the runtimes that Debian has: the same sandbox as the namespaces' own, by
 * another program's hand.
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
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/spawn/backend_oci.h"
#include "lib/util.h"
#include "tests/support/sandbox_rig.h"

static struct rig rig;
static struct backend *ns;
static struct ran ran;

static int start(struct box *x, struct plan *p, const char *runtime, struct backend_failure *f)
{
	struct err e = ERR_INIT;
	int r;

	p->tier = PLAN_TIER_OCI;
	(void)str_copy(p->runtime, sizeof p->runtime, runtime);
	r = box_start(&rig, x, p, f, &e);
	if (r < 0)
		print_message("step %s: %s\n", f->step, err_text(&e));
	return r;
}

static void begin(struct box *x, struct plan *p, const char *runtime)
{
	struct backend_failure f = {0};

	assert_int_equal(start(x, p, runtime, &f), 0);
}

static void expect(struct box *x, const char *script, const char *out)
{
	assert_int_equal(box_sh(x, script, &ran), 0);
	if (strcmp(ran.out, out) != 0)
		print_error("%s\nsaid: %s\nand: %s\n", script, ran.out, ran.err);
	assert_string_equal(ran.out, out);
}

static void runs_commands(void **state)
{
	struct plan p;
	struct box x;

	rig_plan(&p);
	begin(&x, &p, *state);
	expect(&x, "echo out; echo err >&2; exit 7", "out\n");
	assert_string_equal(ran.err, "err\n");
	assert_int_equal(ran.exit, 7);
	expect(&x, "id -u; hostname; pwd; cat /proc/1/comm",
	    "1000\nagent\n/home/agent\npostern-init\n");
	expect(&x, "echo x > ~/file && cat ~/file; touch /usr/x 2>/dev/null || echo ro", "x\nro\n");
	assert_true(box_end(&x, NULL));
}

/* As /proc shows an agent's process of the other tier. */
static void holds_as_the_namespaces_do(void **state)
{
	struct plan p;
	struct box x;

	rig_plan(&p);
	begin(&x, &p, *state);
	expect(&x, "grep -E '^(Cap|NoNew|Seccomp:|Uid)' /proc/self/status | tr -d '\\t'",
	    "Uid:1000100010001000\nCapInh:0000000000000000\nCapPrm:0000000000000000\n"
	    "CapEff:0000000000000000\nCapBnd:0000000000000000\nCapAmb:0000000000000000\n"
	    "NoNewPrivs:1\nSeccomp:2\n");
	/* crun adds a link to the empty /proc/kcore */
	expect(&x, "ls /proc/self/fd | wc -l; ls /dev | grep -v core | tr '\\n' ' '",
	    "4\nfd full null ptmx pts random shm stderr stdin stdout tty urandom zero ");
	expect(&x,
	    "unshare -U true 2>/dev/null || echo no; mount -t tmpfs x /tmp 2>/dev/null || echo no",
	    "no\nno\n");
	expect(&x, "echo x > /proc/sys/kernel/hostname 2>/dev/null || echo no; wc -c </proc/keys",
	    "no\n0\n");
	expect(&x,
	    "ls /sys /boot 2>/dev/null; ls /sys/class/net 2>/dev/null; grep -c : /proc/net/dev",
	    "1\n");
	expect(&x, "grep -c ' /dev ro,' /proc/self/mountinfo; wc -c 2>/dev/null </dev/core", "1\n");
	expect(&x, "grep -c ' / /tmp\\|hostroot' /proc/self/mountinfo", "0\n");
	expect(&x, "awk '{print $3}' /proc/self/uid_map", "65536\n");
	/* Landlock, where modes would allow it */
	expect(&x, "touch /etc/x 2>/dev/null || echo no; kill -0 1 2>/dev/null || echo no",
	    "no\nno\n");
	assert_true(box_end(&x, NULL));
}

/* What session.enforced says. */
static void has_each_namespace_of_its_own(void **state)
{
	char script[128], path[64], host[64];
	json_t *all, *name;
	struct plan p;
	struct box x;
	size_t i;

	rig_plan(&p);
	begin(&x, &p, *state);
	all = json_object_get(x.enforced, "namespaces");
	assert_int_equal(json_array_size(all), 8);
	json_array_foreach(all, i, name)
	{
		(void)snprintf(path, sizeof path, "/proc/self/ns/%s", json_string_value(name));
		(void)snprintf(script, sizeof script, "readlink %s", path);
		ssize_t n = readlink(path, host, sizeof host - 2);
		assert_true(n > 0);
		host[n] = '\n';
		host[n + 1] = '\0';
		assert_int_equal(box_sh(&x, script, &ran), 0);
		assert_non_null(strchr(ran.out, '['));
		assert_string_not_equal(ran.out, host);
	}
	assert_true(box_end(&x, NULL));
}

static void is_limited(void **state)
{
	struct plan p;
	struct box x;

	rig_plan(&p);
	p.limits.pids = 24;
	p.limits.memory_bytes = 128 << 20;
	p.disk_bytes = 1 << 20;
	p.open_files = 64;
	begin(&x, &p, *state);
	expect(&x, "for i in $(seq 60); do sleep 1 & done; echo over", "");
	assert_non_null(strstr(ran.err, "fork"));
	assert_true(box_end(&x, NULL));
	begin(&x, &p, *state);
	expect(&x, "ulimit -n; head -c 3000000 /dev/zero > ~/big 2>/dev/null || echo full",
	    "64\nfull\n");
	assert_int_equal(
	    json_integer_value(json_object_get(json_object_get(x.enforced, "limits"), "pids")), 24);
	assert_string_equal(json_string_value(json_object_get(x.enforced, "backend")), "oci");
	assert_true(box_end(&x, NULL));
}

static void has_terminals(void **state)
{
	struct err e = ERR_INIT;
	int master, slave, status[2];
	char text[256] = "";
	const char *argv[] = {"sh", "-c", "tty; exit 3", NULL};
	struct plan p;
	struct box x;

	rig_plan(&p);
	begin(&x, &p, *state);
	expect(&x, "true", ""); /* init is there */
	assert_int_equal(rig.b->ops->open_pty(x.s, &master, &slave, &e), 0);
	assert_int_equal(pipe2(status, O_CLOEXEC), 0);
	const int fds[] = {slave, status[1]};
	assert_int_equal(box_send_exec(&x, 9, 1, argv, fds, 2), 0);
	(void)close(slave);
	(void)close(status[1]);
	struct pollfd there = {master, POLLIN, 0};
	assert_int_equal(poll(&there, 1, 5000), 1);
	assert_true(read(master, text, sizeof text - 1) > 0);
	assert_string_equal(text, "/dev/pts/0\r\n");
	(void)close(master);
	(void)close(status[0]);
	assert_true(box_end(&x, NULL));
}

/* The runtime is killed; init dies with it, and so does everything else. */
static void ends_with_its_runtime(void **state)
{
	struct plan p;
	struct box x;
	int alive[2];
	char c;

	rig_plan(&p);
	begin(&x, &p, *state);
	expect(&x, "true", "");
	assert_int_equal(pipe2(alive, O_CLOEXEC), 0);
	const char *argv[] = {"sleep", "1000", NULL};
	const int fds[] = {alive[1], alive[1], alive[1], alive[1]};
	assert_int_equal(box_send_exec(&x, 5, 0, argv, fds, 4), 0);
	(void)close(alive[1]);
	expect(&x, "sleep 0.1", "");
	assert_int_equal(kill(rig.b->ops->pid(x.s), 9), 0);
	struct pollfd gone = {alive[0], POLLIN, 0};
	assert_int_equal(poll(&gone, 1, 5000), 1);
	while (read(alive[0], &c, 1) > 0)
		;
	(void)close(alive[0]);
	assert_true(box_end(&x, NULL));
}

static void refuses_what_it_cannot_hold(void **state)
{
	struct backend_failure f = {0};
	struct plan p;
	struct box x;

	rig_plan(&p);
	p.watch = true;
	assert_int_equal(start(&x, &p, *state, &f), -ENOTSUP);
	assert_string_equal(f.step, "tier");
}

static void runs_only_a_program_of_roots(void **state)
{
	struct backend_failure f = {0};
	struct plan p;
	struct box x;

	(void)state;
	rig_plan(&p);
	assert_int_equal(start(&x, &p, "/usr/bin/no-such-runtime", &f), -ENOENT);
	assert_string_equal(f.step, "runtime");
	assert_int_equal(start(&x, &p, "/etc/passwd", &f), -EPERM);
	assert_int_equal(start(&x, &p, "/tmp", &f), -EPERM);
}

static void tells_a_runtime_that_fails(void **state)
{
	struct plan p;
	struct box x;

	(void)state;
	rig_plan(&p);
	begin(&x, &p, "/usr/bin/false");
	struct pollfd gone = {rig.b->ops->pidfd(x.s), POLLIN, 0};
	assert_int_equal(poll(&gone, 1, 5000), 1);
	assert_true(box_end(&x, NULL));
}

static int set_up(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	if (rig_new(&rig, NULL, 0, &e) < 0) {
		print_error("%s\n", err_text(&e));
		return -1;
	}
	ns = rig.b;
	rig.b = backend_oci_new(ns);
	return rig.b ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	rig.b->ops->free(rig.b);
	rig.b = ns;
	rig_free(&rig);
	return 0;
}

#define BOTH(f)                                                                                    \
	{#f "_crun", f, NULL, NULL, (void *)(uintptr_t) "/usr/bin/crun"},                          \
	{                                                                                          \
#f "_runc", f, NULL, NULL, (void *)(uintptr_t) "/usr/sbin/runc"                    \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    BOTH(runs_commands),
	    BOTH(holds_as_the_namespaces_do),
	    BOTH(has_each_namespace_of_its_own),
	    BOTH(is_limited),
	    BOTH(has_terminals),
	    BOTH(ends_with_its_runtime),
	    BOTH(refuses_what_it_cannot_hold),
	    cmocka_unit_test(runs_only_a_program_of_roots),
	    cmocka_unit_test(tells_a_runtime_that_fails),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
