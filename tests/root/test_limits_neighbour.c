/*
 * One tenant takes all that it can get of one thing: it meets its own limit, and what another
 * tenant does, succeeds. How much of its share is left to the other is measured in
 * tests/bench/bench_neighbour.c.
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
#include "lib/util.h"
#include "tests/support/hog.h"
#include "tests/support/sandbox_rig.h"

#define ROUNDS 10

static struct rig rig;
static struct ran ran;
static struct plan bad_plan, good_plan;
static int pids_top[2]; /* version 1's, version 2's */

static void start(struct box *x, const struct plan *p)
{
	struct backend_failure f = {0};
	struct err e = ERR_INIT;

	if (box_start(&rig, x, p, &f, &e) < 0)
		print_error("step %s: %s\n", f.step, err_text(&e));
	assert_string_equal(err_text(&e), "no error");
}

/* The errno of what the kernel refused first; the hog goes on. */
static int let_loose(struct box *x, enum hog what)
{
	char number[8];
	const char *argv[] = {"/tmp/probe", "hog", number, NULL};
	int error;

	(void)snprintf(number, sizeof(number), "%d", (int)what);
	start(x, &bad_plan);
	assert_int_equal(box_install_self(x), 0);
	assert_int_equal(box_run(x, 1, argv, NULL, 0, 60000, &ran), 0);
	if (what == HOG_FILLS_MEMORY) /* it may be gone before it could say so */
		return 0;
	assert_int_equal(sscanf(ran.out, "%d", &error), 1);
	return error;
}

/* What is done every day: in a sandbox that lives, and in a new one. */
static void the_other_works(struct box *y)
{
	static const char script[] =
	    "set -e; head -c 4000000 /dev/zero >/tmp/f; cat /tmp/f | cat | wc -c; rm /tmp/f; "
	    "mkdir /tmp/d; for i in 1 2 3 4 5 6 7 8 9; do : >/tmp/d/$i; done; rm -r /tmp/d; "
	    "exec 4</dev/null 5</dev/null 6</dev/null; (sleep 0 & sleep 0 & wait)";
	struct backend_usage u;
	struct box z;

	for (int i = 0; i < ROUNDS; i++) {
		assert_int_equal(box_sh(y, script, &ran), 0);
		assert_string_equal(ran.err, "");
		assert_string_equal(ran.out, "4000000\n");
		assert_int_equal(ran.exit, 0);
	}
	start(&z, &good_plan);
	assert_int_equal(box_sh(&z, script, &ran), 0);
	assert_string_equal(ran.out, "4000000\n");
	assert_true(box_end(&z, &u));
	assert_int_equal(u.oom_kills, 0);
}

/* How often a fork was refused in x for its limit of processes, -1: not counted. */
static long refused_forks(const struct box *x)
{
	char name[256], text[256] = "", *at;

	(void)snprintf(
	    name, sizeof(name), "postern-%s/%s/%s", rig.instance, bad_plan.tenant, x->session);
	for (size_t i = 0; i < ARRAY_LEN(pids_top); i++)
		if (pids_top[i] >= 0 &&
		    cgroup_read(pids_top[i], name, "pids.events", text, sizeof(text)) == 0 &&
		    (at = strstr(text, "max ")))
			return strtol(at + 4, NULL, 10);
	return -1;
}

static void under(enum hog what, int error)
{
	struct backend_usage u;
	struct box x, y;

	start(&y, &good_plan);
	assert_int_equal(let_loose(&x, what), error);
	the_other_works(&y);
	if (what == HOG_FORKS)
		assert_true(refused_forks(&x) > 0);
	assert_true(box_end(&x, NULL));
	assert_true(box_end(&y, &u));
	assert_int_equal(u.oom_kills, 0);
}

static void a_fork_bomb_leaves_the_other_its_processes(void **state)
{
	(void)state;
	under(HOG_FORKS, EAGAIN);
}

static void a_filled_disk_is_the_filler_s_own(void **state)
{
	(void)state;
	under(HOG_FILLS_DISK, ENOSPC);
}

static void used_up_descriptors_are_the_user_s_own(void **state)
{
	(void)state;
	under(HOG_OPENS, EMFILE);
}

static void used_up_inodes_are_the_maker_s_own(void **state)
{
	(void)state;
	under(HOG_MAKES_FILES, ENOSPC);
}

/* Each ends as a whole, and the next one comes. */
static void a_memory_hog_ends_and_the_other_goes_on(void **state)
{
	struct pollfd p[2] = {{rig.b->ops->event_fd(rig.b), POLLIN, 0}, {-1, POLLIN, 0}};
	struct backend_usage u;
	struct box x, y;

	(void)state;
	start(&y, &good_plan);
	for (int i = 0; i < 3; i++) {
		(void)let_loose(&x, HOG_FILLS_MEMORY);
		the_other_works(&y);
		for (p[1].fd = rig.b->ops->pidfd(x.s); poll(p, 2, 60000) > 0 && !p[1].revents;)
			rig.b->ops->event(rig.b);
		assert_true(p[1].revents);
		assert_true(box_end(&x, &u));
		assert_true(u.oom_kills > 0);
		assert_true(u.memory_peak <= HOG_MEMORY);
	}
	assert_true(box_end(&y, &u));
	assert_int_equal(u.oom_kills, 0);
}

static int open_tree_of(const char *controller)
{
	char dir[512];

	return cgroup_find(controller, dir, sizeof(dir), NULL, 0) < 0
	           ? -1
	           : open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int setup(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	pids_top[0] = open_tree_of("pids");
	pids_top[1] = open_tree_of(NULL);
	if (rig_new(&rig, NULL, 0, &e) < 0) {
		print_error("%s\n", err_text(&e));
		return -1;
	}
	rig_plan(&bad_plan);
	hog_limits(&bad_plan);
	good_plan = bad_plan;
	(void)str_copy(good_plan.tenant, sizeof(good_plan.tenant), "other");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_free(&rig);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_fork_bomb_leaves_the_other_its_processes),
	    cmocka_unit_test(a_memory_hog_ends_and_the_other_goes_on),
	    cmocka_unit_test(a_filled_disk_is_the_filler_s_own),
	    cmocka_unit_test(used_up_descriptors_are_the_user_s_own),
	    cmocka_unit_test(used_up_inodes_are_the_maker_s_own),
	};
	int status;

	if (hog_main(argc, argv, &status))
		return status;
	return cmocka_run_group_tests(tests, setup, teardown);
}
