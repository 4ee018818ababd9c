/*
 * What a session may have, and what its tenant may have in all: on either version of cgroups, to
 * the end of the session that takes too much, and refused by name where the host cannot hold it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/spawn/cgroup_find.h"
#include "broker/spawn/cgroup_sweep.h"
#include "lib/clock.h"
#include "lib/util.h"
#include "tests/support/sandbox_rig.h"

#define MIB (UINT64_C(1) << 20)

static struct rig rig;
static struct ran ran;

static int try_start(struct box *x, const struct plan *p, struct err *e)
{
	struct backend_failure f = {0};

	*e = (struct err)ERR_INIT;
	return box_start(&rig, x, p, &f, e);
}

static void start(struct box *x, const struct plan *p)
{
	struct err e = ERR_INIT;

	if (try_start(x, p, &e) < 0)
		print_error("%s\n", err_text(&e));
	assert_string_equal(err_text(&e), "no error");
}

static void sh(struct box *x, const char *script)
{
	assert_int_equal(box_sh(x, script, &ran), 0);
	assert_true(ran.finished);
}

/* Version 2 holds it, or version 1. */
static bool v2(void)
{
	json_t *o = rig.b->ops->probe(rig.b);
	bool pure = strcmp(json_string_value(json_object_get(o, "cgroup")), "v2") == 0;

	json_decref(o);
	return pure;
}

/* The rig sits in its own mount namespace, but these were found before. */
static struct {
	int memory, pids, cpu, blkio, unified;
} tree;

static int open_tree_of(const char *controller)
{
	char dir[512];

	return cgroup_find(controller, dir, sizeof(dir), NULL, 0) < 0
	           ? -1
	           : open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static const char *value(int top, const char *below, const char *file)
{
	static char text[4096];
	char name[256];

	(void)snprintf(name, sizeof(name), "postern-%s/%s", rig.instance, below);
	if (cgroup_read(top, name, file, text, sizeof(text)) < 0)
		return "";
	text[strcspn(text, "\n")] = '\0';
	return text;
}

static const char *in_session(const struct box *x, int top, const char *file)
{
	char name[128];

	(void)snprintf(name, sizeof(name), "demo/%s", x->session);
	return value(top, name, file);
}

/* Lets the back end do what its loop would, until init has gone. */
static bool ends(struct box *x)
{
	struct pollfd p[2] = {
	    {rig.b->ops->event_fd(rig.b), POLLIN, 0}, {rig.b->ops->pidfd(x->s), POLLIN, 0}};
	int64_t end = clock_mono_ns() + 20 * NSEC_PER_SEC;

	while (clock_mono_ns() < end) {
		(void)poll(p, 2, 1000);
		if (p[1].revents)
			return true;
		if (p[0].revents)
			rig.b->ops->event(rig.b);
	}
	return false;
}

/* ---- a session ---- */

static void who_runs_out_of_memory_goes_as_a_whole(void **state)
{
	struct backend_usage u;
	struct box x, y;
	struct plan p;

	(void)state;
	rig_plan(&p);
	start(&y, &p);
	p.limits.memory_bytes = 48 * MIB;
	start(&x, &p);
	/* somebody who has done nothing, and one who takes all */
	sh(&x, "setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo");
	(void)box_sh(&x, "exec python3 -c 'x = bytearray(200 << 20)' 2>/dev/null", &ran);
	assert_true(ends(&x));
	assert_true(box_end(&x, &u));
	assert_true(u.oom_kills > 0);
	sh(&y, "echo alive");
	assert_string_equal(ran.out, "alive\n");
	assert_true(box_end(&y, &u));
	assert_int_equal(u.oom_kills, 0);
}

static void a_weight_is_set(void **state)
{
	struct plan p;
	struct box x;

	(void)state;
	rig_plan(&p);
	p.limits.cpu_weight = 250;
	start(&x, &p);
	if (v2())
		assert_string_equal(in_session(&x, tree.unified, "cpu.weight"), "250");
	else
		assert_string_equal(in_session(&x, tree.cpu, "cpu.shares"), "2560");
	assert_true(box_end(&x, NULL));
}

static void swap_comes_on_top_of_memory(void **state)
{
	struct err e = ERR_INIT;
	struct plan p;
	struct box x;
	int r;

	(void)state;
	rig_plan(&p);
	p.limits.memory_bytes = 64 * MIB;
	p.limits.swap_bytes = 32 * MIB;
	if ((r = try_start(&x, &p, &e)) < 0) { /* a kernel that does not account it */
		assert_int_equal(r, -ENOTSUP);
		assert_non_null(strstr(err_text(&e), "cannot limit swap"));
		return;
	}
	if (v2())
		assert_string_equal(in_session(&x, tree.unified, "memory.swap.max"), "33554432");
	else
		assert_string_equal(
		    in_session(&x, tree.memory, "memory.memsw.limit_in_bytes"), "100663296");
	assert_true(box_end(&x, NULL));
	p.limits.swap_bytes = 0; /* none, then */
	start(&x, &p);
	if (v2())
		assert_string_equal(in_session(&x, tree.unified, "memory.swap.max"), "0");
	else
		assert_string_equal(
		    in_session(&x, tree.memory, "memory.memsw.limit_in_bytes"), "67108864");
	assert_true(box_end(&x, NULL));
}

static void io_is_limited_or_refused_by_name(void **state)
{
	struct err e = ERR_INIT;
	struct plan p;
	struct box x;
	int r;

	(void)state;
	rig_plan(&p);
	p.limits.io_read_bps = 4 * MIB;
	p.limits.io_read_iops = 100;
	if ((r = try_start(&x, &p, &e)) < 0) {
		assert_int_equal(r, -ENOTSUP);
		assert_non_null(strstr(err_text(&e), "this host cannot limit io"));
		print_message("# %s\n", err_text(&e));
		return;
	}
	if (v2()) {
		assert_non_null(strstr(in_session(&x, tree.unified, "io.max"), "rbps=4194304"));
		assert_non_null(strstr(in_session(&x, tree.unified, "io.max"), "riops=100"));
	} else {
		assert_non_null(strstr(
		    in_session(&x, tree.blkio, "blkio.throttle.read_bps_device"), " 4194304"));
	}
	sh(&x, "grep -c . /proc/self/cgroup"); /* it is in there, and so are its children */
	if (!v2())
		assert_string_not_equal(in_session(&x, tree.blkio, "tasks"), "");
	assert_true(box_end(&x, NULL));
}

/* Version 1 sees only who writes around the page cache. */
static void io_that_version_1_cannot_hold_is_refused(void **state)
{
	struct err e = ERR_INIT;
	struct plan p;
	struct box x;

	(void)state;
	if (v2()) /* which can */
		return;
	rig_plan(&p);
	p.limits.io_write_bps = MIB;
	assert_int_equal(try_start(&x, &p, &e), -ENOTSUP);
	assert_non_null(strstr(err_text(&e), "this host cannot limit io"));
	rig_plan(&p);
	p.tenant_limits.io_read_bps = MIB;
	assert_int_equal(try_start(&x, &p, &e), -ENOTSUP);
	assert_non_null(strstr(err_text(&e), "io of a tenant"));
	assert_string_equal(value(tree.unified, "demo", "cgroup.procs"), "");
}

/* ---- a tenant ---- */

static void processes_count_together_for_a_tenant(void **state)
{
	static const char bomb[] =
	    "python3 -c '\n"
	    "import os, signal\nn = 0\n"
	    "try:\n  while n < 200:\n"
	    "    if os.fork() == 0: os.closerange(0, 9); signal.pause()\n    n += 1\n"
	    "except BlockingIOError: pass\nprint(n)'";
	struct box x, y, z;
	struct plan p;

	(void)state;
	rig_plan(&p);
	p.tenant_limits.pids = 40;
	start(&x, &p);
	start(&y, &p);
	sh(&x, bomb);
	int n = 0;
	assert_int_equal(sscanf(ran.out, "%d", &n), 1);
	assert_true(n > 10 && n < 40);
	(void)box_sh(&y, "sleep 1 | sleep 1 | sleep 1", &ran); /* its own tenant's doing */
	assert_false(ran.finished && ran.exit == 0 && ran.error == 0);
	/* another tenant's is not in there */
	(void)str_copy(p.tenant, sizeof(p.tenant), "other");
	p.tenant_limits.pids = 0;
	start(&z, &p);
	sh(&z, "echo fine");
	assert_string_equal(ran.out, "fine\n");
	assert_true(box_end(&x, NULL));
	sh(&y, "echo again");
	assert_string_equal(ran.out, "again\n");
	assert_true(box_end(&y, NULL));
	assert_true(box_end(&z, NULL));
}

static void memory_counts_together_and_ends_one_session(void **state)
{
	struct backend_usage u, w;
	struct box x, y;
	struct plan p;

	(void)state;
	rig_plan(&p);
	p.tenant_limits.memory_bytes = 96 * MIB;
	start(&x, &p);
	start(&y, &p);
	sh(&y, "head -c 30000000 /dev/zero >/tmp/held; echo held");
	(void)box_sh(&x, "exec python3 -c 'x = bytearray(90 << 20)' 2>/dev/null", &ran);
	assert_true(ends(&x));
	assert_true(box_end(&x, &u));
	assert_true(u.oom_kills > 0);
	sh(&y, "stat -c %s /tmp/held");
	assert_string_equal(ran.out, "30000000\n");
	assert_true(box_end(&y, &w));
	assert_int_equal(w.oom_kills, 0);
}

static const char *tenant_pids(void)
{
	return value(v2() ? tree.unified : tree.pids, "demo", "pids.max");
}

static void limits_of_a_tenant_follow_the_newest_plan(void **state)
{
	struct box x, y, z;
	struct plan p;

	(void)state;
	rig_plan(&p);
	p.tenant_limits.pids = 50;
	start(&x, &p);
	assert_string_equal(tenant_pids(), "50");
	p.tenant_limits.pids = 60;
	start(&y, &p);
	assert_string_equal(tenant_pids(), "60");
	p.tenant_limits.pids = 0;
	start(&z, &p);
	assert_string_equal(tenant_pids(), "max");
	assert_true(box_end(&x, NULL));
	assert_true(box_end(&y, NULL));
	assert_true(box_end(&z, NULL));
}

/* Version 1 takes no tenant's quota below a session's, nor a session's above the tenant's. */
static void a_tenant_s_processor_is_cut_below_its_sessions(void **state)
{
	struct box x, y;
	struct plan p;

	(void)state;
	rig_plan(&p);
	p.limits.cpu_percent = 80;
	start(&x, &p);
	p.tenant_limits.cpu_percent = 30;
	start(&y, &p);
	if (v2()) {
		assert_string_equal(value(tree.unified, "demo", "cpu.max"), "30000 100000");
	} else {
		assert_string_equal(value(tree.cpu, "demo", "cpu.cfs_quota_us"), "30000");
		assert_string_equal(in_session(&x, tree.cpu, "cpu.cfs_quota_us"), "30000");
		assert_string_equal(in_session(&y, tree.cpu, "cpu.cfs_quota_us"), "30000");
	}
	assert_true(box_end(&x, NULL));
	assert_true(box_end(&y, NULL));
}

/* Nobody is killed for a new limit, and nobody waits for it. */
static void a_limit_below_what_is_in_use_refuses_the_start(void **state)
{
	struct err e = ERR_INIT;
	struct box x, y;
	struct plan p;

	(void)state;
	rig_plan(&p);
	start(&x, &p);
	sh(&x, "head -c 50000000 /dev/zero >/tmp/held");
	p.tenant_limits.memory_bytes = 24 * MIB;
	assert_int_equal(try_start(&y, &p, &e), -EBUSY);
	assert_non_null(strstr(err_text(&e), "in use"));
	sh(&x, "stat -c %s /tmp/held; rm /tmp/held");
	assert_string_equal(ran.out, "50000000\n");
	start(&y, &p); /* and now it holds */
	assert_string_equal(value(v2() ? tree.unified : tree.memory, "demo",
	                        v2() ? "memory.max" : "memory.limit_in_bytes"),
	    "25165824");
	assert_true(box_end(&x, NULL));
	assert_true(box_end(&y, NULL));
}

/* Pages that are made while the kernel gives others back: on version 1 that could go on for ever.
 */
static void a_tenant_that_fills_memory_does_not_hold_up_the_next_start(void **state)
{
	struct err e = ERR_INIT;
	struct box x, y;
	struct plan p;
	int r;

	(void)state;
	rig_plan(&p);
	start(&x, &p);
	sh(&x, "for i in 1 2; do (while :; do cat /usr/bin/* >/dev/null 2>&1; done) "
	       "</dev/null >/dev/null 2>&1 & done");
	for (unsigned i = 0; i < 4; i++) {
		int64_t began = clock_mono_ns();

		p.tenant_limits.memory_bytes = (64 - 8 * i) * MIB;
		if ((r = try_start(&y, &p, &e)) == 0)
			assert_true(box_end(&y, NULL));
		else
			assert_int_equal(r, -EBUSY);
		assert_true(clock_mono_ns() - began < 10 * NSEC_PER_SEC);
	}
	assert_true(box_end(&x, NULL));
}

static bool exists(const char *tenant)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "postern-%s/%s", rig.instance, tenant);
	return faccessat(tree.unified, path, F_OK, 0) == 0;
}

static void a_tenant_s_directory_goes_with_its_last_session(void **state)
{
	struct box x, y;
	struct plan p;

	(void)state;
	rig_plan(&p);
	(void)str_copy(p.tenant, sizeof(p.tenant), "brief");
	p.tenant_limits.pids = 100;
	start(&x, &p);
	start(&y, &p);
	assert_true(exists("brief"));
	assert_true(box_end(&x, NULL));
	assert_true(exists("brief"));
	assert_true(box_end(&y, NULL));
	assert_false(exists("brief"));
}

/* Directories that wait for the next session of a tenant keep it, until another is served. */
static void spares_are_taken_and_given_up(void **state)
{
	struct box x, y;
	struct plan p;

	(void)state;
	rig_plan(&p);
	p.limits.memory_bytes = 64 * MIB;
	start(&x, &p);
	for (int i = 0; i < 100 && rig.b->ops->idle(rig.b) > 0; i++)
		;
	start(&y, &p);
	(void)box_sh(&y, "exec python3 -c 'x = bytearray(200 << 20)' 2>/dev/null", &ran);
	assert_true(ends(&y)); /* news of a spare come, too */
	assert_true(box_end(&y, NULL));
	assert_true(box_end(&x, NULL));
	(void)str_copy(p.tenant, sizeof(p.tenant), "next");
	start(&x, &p);
	for (int i = 0; i < 100 && rig.b->ops->idle(rig.b) > 0; i++)
		;
	assert_false(exists("demo"));
	assert_true(box_end(&x, NULL));
}

static int setup(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	tree.memory = open_tree_of("memory");
	tree.pids = open_tree_of("pids");
	tree.cpu = open_tree_of("cpu");
	tree.blkio = open_tree_of("blkio");
	tree.unified = open_tree_of(NULL);
	if (rig_new(&rig, NULL, 0, &e) < 0) {
		print_error("%s\n", err_text(&e));
		return -1;
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_free(&rig);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(who_runs_out_of_memory_goes_as_a_whole),
	    cmocka_unit_test(a_weight_is_set),
	    cmocka_unit_test(swap_comes_on_top_of_memory),
	    cmocka_unit_test(io_is_limited_or_refused_by_name),
	    cmocka_unit_test(io_that_version_1_cannot_hold_is_refused),
	    cmocka_unit_test(a_tenant_s_directory_goes_with_its_last_session),
	    cmocka_unit_test(processes_count_together_for_a_tenant),
	    cmocka_unit_test(memory_counts_together_and_ends_one_session),
	    cmocka_unit_test(limits_of_a_tenant_follow_the_newest_plan),
	    cmocka_unit_test(a_tenant_s_processor_is_cut_below_its_sessions),
	    cmocka_unit_test(a_limit_below_what_is_in_use_refuses_the_start),
	    cmocka_unit_test(a_tenant_that_fills_memory_does_not_hold_up_the_next_start),
	    cmocka_unit_test(spares_are_taken_and_given_up),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
