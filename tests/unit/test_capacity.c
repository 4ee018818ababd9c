#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/core/capacity.h"
#include "broker/core/config.h"
#include "lib/err.h"
#include "tests/support/config_dir.h"

/*
 * What is promised to sessions has to be there.
 */

#define GIB (UINT64_C(1) << 30)

static const struct host_capacity small = {2 * GIB, 15000, 200000, 100000};
static const struct host_capacity large = {24 * GIB, 32768, 2400000, 100000};

/* NULL: it fits. */
static const char *judged(const struct config_dir *f, const struct host_capacity *h, struct err *e)
{
	struct config *c = config_dir_accepted(f);
	int r = capacity_check(c, h, e);

	config_free(c);
	return r < 0 ? err_text(e) : NULL;
}

static void refused(
    const struct config_dir *f, const struct host_capacity *h, const char *a, const char *b)
{
	struct err e = ERR_INIT;
	const char *text = judged(f, h, &e);

	if (!text || !strstr(text, a) || !strstr(text, b))
		fail_msg("%s and %s were expected in: %s", a, b, text ? text : "nothing");
}

static void accepted(const struct config_dir *f, const struct host_capacity *h)
{
	struct err e = ERR_INIT;
	const char *text = judged(f, h, &e);

	if (text)
		fail_msg("%s", text);
}

static void the_defaults_fit_a_small_host(void **state)
{
	const struct config_dir *f = *state;

	accepted(f, &small);
	config_dir_tenant(f, "demo", f->ca[0], "");
	config_dir_tenant(f, "other", f->ca[1], "");
	accepted(f, &small);
	accepted(f, &large);
}

static void promises_fit_as_they_are(void **state)
{
	const struct config_dir *f = *state;

	config_dir_tenant(f, "demo", f->ca[0], "limits: {memory: 1G}\n");
	accepted(f, &small);
	config_dir_tenant(f, "other", f->ca[1], "limits: {memory: 1G}\n");
	refused(f, &small, "2048M", "2048M less reserve.memory of 256M");
	accepted(f, &large);
	config_dir_put(f, "postern.yaml", "reserve: {memory: 23G}\n");
	refused(f, &large, "2048M", "24576M less reserve.memory of 23552M");
	config_dir_put(f, "postern.yaml", "reserve: {memory: 22G}\n");
	accepted(f, &large);
}

static void sessions_fit_as_often_as_is_said(void **state)
{
	const struct config_dir *f = *state;

	config_dir_tenant(f, "demo", f->ca[0], "limits: {sessions: 10}\n");
	config_dir_put(f, "templates/default.yaml", "limits: {memory: 1G}\n");
	config_dir_put(f, "postern.yaml", "reserve: {memory: 0}\novercommit: {memory: 5}\n");
	accepted(f, &small);
	config_dir_put(f, "postern.yaml", "reserve: {memory: 0}\novercommit: {memory: 4}\n");
	refused(f, &small, "10240M of memory", "4 times");
	/* a limit of the tenant's own bounds it */
	config_dir_tenant(f, "demo", f->ca[0], "limits: {sessions: 10, memory: 1G}\n");
	accepted(f, &small);
	/* and so does the host's number of sessions */
	config_dir_tenant(f, "demo", f->ca[0], "limits: {sessions: 10}\n");
	config_dir_put(f, "postern.yaml",
	    "reserve: {memory: 0}\novercommit: {memory: 4}\nlimits: {sessions: 8}\n");
	accepted(f, &small);
}

static void sums_pids_files_and_mounts(void **state)
{
	const struct config_dir *f = *state;
	struct host_capacity h = large;

	config_dir_tenant(f, "demo", f->ca[0], "limits: {sessions: 10}\n");
	h.pids = 1024 + 10 * (128 + CAPACITY_OWN_PIDS);
	accepted(f, &h);
	h.pids--;
	refused(f, &h, "1320 of pids", "2343");
	h = large;
	h.files = 4096 + 10 * 1024;
	accepted(f, &h);
	h.files -= 1;
	refused(f, &h, "1310720 of files", "14335");
	h = large;
	h.mounts = 1000 + 10 * CAPACITY_MOUNTS / 2;
	accepted(f, &h);
	h.mounts--;
	refused(f, &h, "480 of mounts", "1239");
	h.mounts = UINT64_MAX; /* not known */
	accepted(f, &h);
}

static void reads_this_host(void **state)
{
	struct host_capacity h;
	int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	capacity_read(fd, &h);
	(void)close(fd);
	assert_in_range(h.memory, 64 << 20, UINT64_MAX - 1);
	assert_in_range(h.pids, 300, 1 << 22);
	assert_int_not_equal(h.files, UINT64_MAX);
	assert_int_not_equal(h.mounts, UINT64_MAX);
	capacity_read(-1, &h);
	assert_true(h.memory == UINT64_MAX && h.pids == UINT64_MAX);
}

static void a_tenant_has_no_more_than_the_most(void **state)
{
	const struct config_dir *f = *state;
	struct config *c;

	config_dir_put(f, "postern.yaml",
	    "limits: {tenant: {memory: 1G, cpu: 100}, tenant_max: {memory: 2G, io: {read: 1M}}}\n");
	config_dir_tenant(f, "demo", f->ca[0], "limits: {memory: 2G, io: {read: 1M}}\n");
	c = config_dir_accepted(f);
	assert_int_equal(c->tenant[0].limits.group.memory_bytes, 2 * GIB);
	assert_int_equal(c->tenant[0].limits.group.cpu_percent, 100);
	config_free(c);
	config_dir_tenant(f, "demo", f->ca[0], "limits: {memory: 3G, io: {read: 1M}}\n");
	config_dir_refused(f, "tenants/demo.yaml:4", "limits.tenant_max");
	config_dir_tenant(f, "demo", f->ca[0], "limits: {memory: 2G}\n");
	config_dir_refused(f, "tenants/demo.yaml", "limits.io.read");
	config_dir_tenant(f, "demo", f->ca[0], "limits: {memmory: 2G}\n");
	config_dir_refused(f, "tenants/demo.yaml:4", "did you mean \"memory\"");
}

int main(void)
{
#define RULE(f) cmocka_unit_test_setup_teardown(f, config_dir_setup, config_dir_teardown)
	const struct CMUnitTest tests[] = {
	    RULE(the_defaults_fit_a_small_host),
	    RULE(promises_fit_as_they_are),
	    RULE(sessions_fit_as_often_as_is_said),
	    RULE(sums_pids_files_and_mounts),
	    RULE(reads_this_host),
	    RULE(a_tenant_has_no_more_than_the_most),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
