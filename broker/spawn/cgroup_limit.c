#include "broker/spawn/cgroup_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/spawn/backend.h"
#include "broker/spawn/cgroup_sweep.h"
#include "lib/err.h"
#include "lib/util.h"

#define WRITE_MS      100 /* a tenant that goes on filling memory must not hold us up */
#define SHARES_MAX    262144
#define CPU_PERIOD_US 1000 /* of a percent of the period, which is 100 ms by default */

struct task {
	struct cgroups *c;
	const char *name;
	const struct plan_limits *l, *old;
	const struct plan *p; /* NULL for a tenant */
};

static int top_of(const struct task *t, enum cgroup_controller k)
{
	return t->c->v2[k] ? t->c->top[CGROUP_UNIFIED] : t->c->top[k];
}

static int put(const struct task *t, enum cgroup_controller k, const char *file, uint64_t value,
    const char *unlimited)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	return cgroup_write_within(top_of(t, k), t->name, file, value ? text : unlimited, WRITE_MS);
}

/* ---- memory ---- */

/* What reclaim cannot give back: on version 2 the kernel would end processes until a new limit
 * holds. */
static int used_for_good(const struct task *t, uint64_t *ret)
{
	static char text[8192];
	int r = cgroup_read(top_of(t, CGROUP_MEMORY), t->name, "memory.stat", text, sizeof(text));

	*ret = cgroup_value(text, "anon") + cgroup_value(text, "shmem");
	return r;
}

static bool host_swaps(void)
{
	char text[512];
	const char *line;

	/* a line of titles, and one for each area */
	return cgroup_read(AT_FDCWD, "/proc", "swaps", text, sizeof(text)) == 0 &&
	       (line = strchr(text, '\n')) && line[1] != '\0';
}

static int swap_missing(const struct task *t)
{
	return t->l->swap_bytes || (t->l->memory_bytes && host_swaps()) ? -ENOTSUP : 0;
}

static int set_memory_v2(const struct task *t)
{
	uint64_t used = 0, swap = t->l->swap_bytes;
	char text[32];
	int r;

	if (t->l->memory_bytes && !t->p && (r = used_for_good(t, &used)) < 0)
		return r;
	if (t->l->memory_bytes && used > t->l->memory_bytes)
		return -EBUSY;
	if ((r = put(t, CGROUP_MEMORY, "memory.max", t->l->memory_bytes, "max")) < 0)
		return r;
	(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)swap);
	r = cgroup_write(top_of(t, CGROUP_MEMORY), t->name, "memory.swap.max",
	    swap || t->l->memory_bytes ? text : "max");
	return r == -ENOENT ? swap_missing(t) : r;
}

/* memsw is both together, and never below memory: so one of them goes first. */
static int set_memory_v1(const struct task *t)
{
	uint64_t memory = t->l->memory_bytes, both = memory ? memory + t->l->swap_bytes : 0;
	int r, s;

	if (!memory && t->l->swap_bytes)
		return -ENOTSUP;
	r = put(t, CGROUP_MEMORY, "memory.limit_in_bytes", memory, "-1");
	s = put(t, CGROUP_MEMORY, "memory.memsw.limit_in_bytes", both, "-1");
	if (r == -EINVAL)
		r = put(t, CGROUP_MEMORY, "memory.limit_in_bytes", memory, "-1");
	if (r == 0 && s == -ENOENT)
		s = swap_missing(t);
	return r ? r : s;
}

static int set_memory(const struct task *t, struct err *e)
{
	bool v2 = t->c->v2[CGROUP_MEMORY];
	int r = v2 ? set_memory_v2(t) : set_memory_v1(t);

	if (r == -ENOTSUP)
		return err_set(e, r, "this host cannot limit swap: it is not accounted");
	if (r == -EBUSY || r == -EINTR)
		return err_set(e, -EBUSY,
		    "memory limit %llu: more than that is in use in %s, and cannot be given back",
		    (unsigned long long)t->l->memory_bytes, t->name);
	if (r < 0)
		return err_set(e, r, "memory limit %llu: %s",
		    (unsigned long long)t->l->memory_bytes, strerror(-r));
	if (!t->p && !t->c->tree)
		return err_set(e, -ENOTSUP,
		    "this host cannot limit memory of a tenant: memory.use_hierarchy is off");
	return 0;
}

static bool memory_asked(const struct plan_limits *l)
{
	return l->memory_bytes || l->swap_bytes;
}

/* ---- processor ---- */

/* On version 1 nobody below may be given more: who was, gets as much. */
static void cut_sessions(const struct task *t, uint64_t quota)
{
	int top = t->c->top[CGROUP_CPU];
	int fd = openat(top, t->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	char text[32], now[32];

	(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)quota);
	for (struct dirent *s; d && (s = readdir(d));)
		if (s->d_type == DT_DIR && s->d_name[0] != '.' &&
		    cgroup_read(fd, s->d_name, "cpu.cfs_quota_us", now, sizeof(now)) == 0 &&
		    *now != '-' && strtoull(now, NULL, 10) > quota)
			(void)cgroup_write(fd, s->d_name, "cpu.cfs_quota_us", text);
	if (d)
		(void)closedir(d);
	else if (fd >= 0)
		(void)close(fd);
}

static int set_quota(const struct task *t)
{
	uint64_t percent = t->l->cpu_percent;
	char text[48];
	int r;

	if (percent > UINT64_MAX / CPU_PERIOD_US)
		return -ERANGE;
	if (t->c->v2[CGROUP_CPU]) {
		(void)snprintf(text, sizeof(text), percent ? "%llu 100000" : "max 100000",
		    (unsigned long long)(percent * CPU_PERIOD_US));
		return cgroup_write(t->c->top[CGROUP_UNIFIED], t->name, "cpu.max", text);
	}
	if (t->p && t->p->tenant_limits.cpu_percent && percent > t->p->tenant_limits.cpu_percent)
		percent = t->p->tenant_limits.cpu_percent;
	r = put(t, CGROUP_CPU, "cpu.cfs_quota_us", percent * CPU_PERIOD_US, "-1");
	if (r == -EINVAL && !t->p) {
		cut_sessions(t, percent * CPU_PERIOD_US);
		r = put(t, CGROUP_CPU, "cpu.cfs_quota_us", percent * CPU_PERIOD_US, "-1");
	}
	return r;
}

static int set_cpu(const struct task *t, struct err *e)
{
	uint64_t weight = t->l->cpu_weight ? t->l->cpu_weight : 100, shares = weight * 1024 / 100;
	int r = 0;

	if (t->l->cpu_percent || t->old->cpu_percent)
		r = set_quota(t);
	if (r < 0)
		return err_set(e, r, "cpu limit %llu: %s", (unsigned long long)t->l->cpu_percent,
		    strerror(-r));
	if (!t->l->cpu_weight && !t->old->cpu_weight)
		return 0;
	if (t->c->v2[CGROUP_CPU])
		r = put(t, CGROUP_CPU, "cpu.weight", weight, "100");
	else
		r = put(t, CGROUP_CPU, "cpu.shares",
		    shares < 2            ? 2
		    : shares > SHARES_MAX ? SHARES_MAX
		                          : shares,
		    "1024");
	return r < 0
	           ? err_set(e, r, "cpu weight %llu: %s", (unsigned long long)weight, strerror(-r))
	           : 0;
}

static bool cpu_asked(const struct plan_limits *l)
{
	return l->cpu_percent || l->cpu_weight;
}

/* ---- processes, io ---- */

static int set_pids(const struct task *t, struct err *e)
{
	int r = put(t, CGROUP_PIDS, "pids.max", t->l->pids, "max");

	return r < 0 ? err_set(e, r, "pids limit %llu: %s", (unsigned long long)t->l->pids,
	                   strerror(-r))
	             : 0;
}

static bool pids_asked(const struct plan_limits *l)
{
	return l->pids != 0;
}

static int set_io(const struct task *t, struct err *e)
{
	return cgroup_io_limit(t->c, t->name, t->l, t->p, e);
}

/* ---- all of them ---- */

int cgroup_limit(struct cgroups *c, const char *name, const struct plan_limits *l,
    const struct plan_limits *old, bool again, const struct plan *p, struct err *e)
{
	static const struct {
		bool (*asked)(const struct plan_limits *l);
		int (*set)(const struct task *t, struct err *e);
	} rows[] = {[CGROUP_MEMORY] = {memory_asked, set_memory},
	    [CGROUP_PIDS] = {pids_asked, set_pids},
	    [CGROUP_CPU] = {cpu_asked, set_cpu},
	    [CGROUP_IO] = {cgroup_io_asked, set_io}};
	/* what has been set may be anything */
	static const struct plan_limits any = {1, 1, 1, 1, 1, 1, 1, 1, 1};
	const struct task t = {c, name, l, again ? &any : old, p};
	int r;

	for (enum cgroup_controller k = 0; k < CGROUP_CONTROLLERS; k++) {
		bool wanted = rows[k].asked(l);

		if (wanted && !cgroups_has(c, k))
			return err_set(e, -ENOTSUP,
			    "this host cannot limit %s: no such controller below our cgroup",
			    cgroup_controller_name(k));
		/* nothing was set where nothing could be */
		if (!wanted &&
		    (!rows[k].asked(t.old) || !cgroups_has(c, k) || (k == CGROUP_IO && !c->v2[k])))
			continue;
		if ((r = rows[k].set(&t, e)) < 0)
			return r;
	}
	return 0;
}

/* ---- what was used ---- */

void cgroup_usage(struct cgroups *c, struct cgroup *g, struct backend_usage *ret)
{
	int unified = c->top[CGROUP_UNIFIED], v1 = c->top[CGROUP_MEMORY];
	char text[4096];

	*ret = (struct backend_usage){0};
	if (cgroup_read(unified, g->name, "cpu.stat", text, sizeof text) == 0)
		ret->cpu_us = cgroup_value(text, "usage_usec");
	if (c->v2[CGROUP_MEMORY]) {
		if (cgroup_read(unified, g->name, "memory.peak", text, sizeof text) == 0)
			ret->memory_peak = strtoull(text, NULL, 10);
		if (cgroup_read(unified, g->name, "memory.events", text, sizeof text) == 0)
			ret->oom_kills = cgroup_value(text, "oom_kill");
	} else if (v1 >= 0) {
		if (cgroup_read(v1, g->name, "memory.max_usage_in_bytes", text, sizeof text) == 0)
			ret->memory_peak = strtoull(text, NULL, 10);
		if (cgroup_read(v1, g->name, "memory.oom_control", text, sizeof text) == 0)
			ret->oom_kills = cgroup_value(text, "oom_kill");
	}
}
