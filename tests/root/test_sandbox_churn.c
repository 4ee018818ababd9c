/*
 * Hundreds of sandboxes started and killed at any moment leave nothing: no process, mount, cgroup,
 * id or descriptor. CHURN_SECONDS: how long (a few, unless it says otherwise).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
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

#define LIVE    200
#define SECONDS 8
#define MIB     (UINT64_C(1) << 20)

static const char *const controllers[] = {"memory", "pids", "cpu", "blkio", NULL};
static int trees[ARRAY_LEN(controllers)];
static struct box boxes[LIVE];
static bool live[LIVE];
static struct rig rig;
static unsigned seed;

struct count {
	unsigned fds, mounts, ids, cgroups, children;
};

static unsigned lines(const char *path)
{
	FILE *f = fopen(path, "re");
	unsigned n = 0;

	for (int c; f && (c = fgetc(f)) != EOF;)
		n += c == '\n';
	if (f)
		(void)fclose(f);
	return n;
}

/* Those of sessions: directories that wait for one are called otherwise. */
static unsigned sessions_below(int top, const char *name)
{
	int fd = openat(top, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	unsigned n = 0;

	for (struct dirent *t; d && (t = readdir(d));) {
		char below[600];

		if (t->d_type != DT_DIR || t->d_name[0] == '.')
			continue;
		n += strncmp(t->d_name, "0000", 4) == 0;
		(void)snprintf(below, sizeof(below), "%s/%s", name, t->d_name);
		DIR *s = fdopendir(openat(top, below, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
		for (struct dirent *u; s && (u = readdir(s));)
			n += u->d_type == DT_DIR && strncmp(u->d_name, "0000", 4) == 0;
		if (s)
			(void)closedir(s);
	}
	if (d)
		(void)closedir(d);
	return n;
}

static struct count take(void)
{
	struct count c = {.mounts = lines("/proc/self/mountinfo")};
	json_t *o = rig.b->ops->probe(rig.b);
	DIR *d = opendir("/proc/self/fd");
	char name[64], path[64];

	c.ids = (unsigned)json_integer_value(json_object_get(o, "ids_in_use")) -
	        (unsigned)json_integer_value(json_object_get(o, "spares"));
	json_decref(o);
	while (d && readdir(d))
		c.fds++;
	if (d)
		(void)closedir(d);
	(void)snprintf(name, sizeof(name), "postern-%s", rig.instance);
	for (size_t i = 0; i < ARRAY_LEN(trees); i++)
		if (trees[i] >= 0)
			c.cgroups += sessions_below(trees[i], name);
	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	FILE *f = fopen(path, "re");
	for (int ch; f && (ch = fgetc(f)) != EOF;)
		c.children += ch == ' ';
	if (f)
		(void)fclose(f);
	return c;
}

static unsigned dice(unsigned n)
{
	seed = seed * 1103515245u + 12345u;
	return (seed >> 16) % n;
}

static void begin(size_t i)
{
	static const char *const tenants[] = {"demo", "other", "third"};
	const char *argv[] = {"/bin/sh", "-c", "(sleep 9 & sleep 9 & : >/tmp/x; wait)", NULL};
	struct backend_failure f = {0};
	struct err e = ERR_INIT;
	struct plan p;
	int fds[4];

	rig_plan(&p);
	(void)str_copy(p.tenant, sizeof(p.tenant), tenants[dice(3)]);
	p.limits.memory_bytes = 64 * MIB;
	p.limits.pids = 32;
	p.tenant_limits.pids = 2000 + dice(3);
	if (dice(16) == 0) { /* one that fails in the midst of it */
		p.limits.cpu_percent = UINT64_C(1) << 62;
		assert_true(box_start(&rig, &boxes[i], &p, &f, &e) < 0);
		return;
	}
	if (box_start(&rig, &boxes[i], &p, &f, &e) < 0) {
		print_error("%s: %s\n", f.step, err_text(&e));
		fail();
	}
	live[i] = true;
	if (dice(2))
		return; /* killed before init has read anything */
	for (size_t k = 0; k < 4; k++)
		fds[k] = open("/dev/null", O_RDWR | O_CLOEXEC);
	(void)box_send_exec(&boxes[i], 1, 0, argv, fds, 4);
	for (size_t k = 0; k < 4; k++)
		(void)close(fds[k]);
}

static void end(size_t i)
{
	assert_true(box_end(&boxes[i], NULL));
	live[i] = false;
}

static void fill_spares(void)
{
	for (int i = 0; i < 100 && rig.b->ops->idle(rig.b) > 0; i++)
		;
}

/* One of each tenant, so that what is kept for the next is there. */
static void settle(void)
{
	seed = 7;
	for (size_t i = 0; i < 8; i++) {
		begin(i);
		if (live[i])
			end(i);
	}
	struct backend_failure f = {0};
	struct err e = ERR_INIT;
	struct plan p;
	rig_plan(&p);
	assert_int_equal(box_start(&rig, &boxes[0], &p, &f, &e), 0);
	end(0);
	fill_spares();
}

static void two_hundred_at_once_leave_nothing(void **state)
{
	const char *s = getenv("CHURN_SECONDS");
	int64_t stop = clock_mono_ns() + (s ? strtoll(s, NULL, 10) : SECONDS) * NSEC_PER_SEC;
	struct count before, after;
	unsigned starts = 0;

	(void)state;
	settle();
	before = take();
	seed = (unsigned)clock_mono_ns();
	print_message("# seed %u\n", seed);
	for (bool full = false; clock_mono_ns() < stop || !full;) {
		size_t i = dice(LIVE);

		if (live[i]) {
			if (full || dice(64) == 0) /* fill it up at first */
				end(i);
		} else {
			begin(i);
			starts++;
		}
		if (dice(8) == 0)
			(void)rig.b->ops->idle(rig.b);
		unsigned n = 0;
		for (size_t k = 0; k < LIVE; k++)
			n += live[k];
		full |= n > LIVE - 10;
	}
	for (size_t i = 0; i < LIVE; i++)
		if (live[i])
			end(i);
	print_message("# %u starts\n", starts);
	assert_true(starts > LIVE);
	settle();
	after = take();
	assert_int_equal(after.children, before.children);
	assert_int_equal(after.cgroups, 0);
	assert_int_equal(after.ids, before.ids);
	assert_int_equal(after.mounts, before.mounts);
	assert_int_equal(after.fds, before.fds);
}

static int setup(void **state)
{
	struct err e = ERR_INIT;
	char dir[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(trees); i++)
		trees[i] = cgroup_find(controllers[i], dir, sizeof(dir), NULL, 0) < 0
		               ? -1
		               : open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
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
	const struct CMUnitTest tests[] = {cmocka_unit_test(two_hundred_at_once_leave_nothing)};

	return cmocka_run_group_tests(tests, setup, teardown);
}
