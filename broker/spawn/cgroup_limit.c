#include "broker/spawn/cgroup_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/spawn/backend.h"
#include "broker/spawn/cgroup_sweep.h"
#include "broker/spawn/plan.h"
#include "lib/err.h"

static int set(struct cgroups *c, const struct cgroup *g, enum cgroup_controller k,
    const char *v1_file, const char *v2_file, const char *text)
{
	return c->v2[k] ? cgroup_write(c->top[CGROUP_UNIFIED], g->name, v2_file, text)
	                : cgroup_write(c->top[k], g->name, v1_file, text);
}

static int set_memory(struct cgroups *c, const struct cgroup *g, uint64_t bytes)
{
	char text[32];
	int r;

	(void)snprintf(text, sizeof text, "%llu", (unsigned long long)bytes);
	r = set(c, g, CGROUP_MEMORY, "memory.limit_in_bytes", "memory.max", text);
	if (r < 0)
		return r;
	/* no swap beyond it; where the kernel does not account swap there is no such file */
	r = set(c, g, CGROUP_MEMORY, "memory.memsw.limit_in_bytes", "memory.swap.max",
	    c->v2[CGROUP_MEMORY] ? "0" : text);
	return r == -ENOENT ? 0 : r;
}

static int set_cpu(struct cgroups *c, const struct cgroup *g, uint64_t percent)
{
	char text[48];

	if (c->v2[CGROUP_CPU]) {
		(void)snprintf(
		    text, sizeof text, "%llu 100000", (unsigned long long)percent * 1000);
		return cgroup_write(c->top[CGROUP_UNIFIED], g->name, "cpu.max", text);
	}
	/* the period is 100 ms by default (CFS bandwidth control) */
	(void)snprintf(text, sizeof text, "%llu", (unsigned long long)percent * 1000);
	return cgroup_write(c->top[CGROUP_CPU], g->name, "cpu.cfs_quota_us", text);
}

static int set_pids(struct cgroups *c, const struct cgroup *g, uint64_t pids)
{
	char text[32];

	(void)snprintf(text, sizeof text, "%llu", (unsigned long long)pids);
	return set(c, g, CGROUP_PIDS, "pids.max", "pids.max", text);
}

int cgroup_limit(struct cgroups *c, const struct cgroup *g, const struct plan *p, struct err *e)
{
	static int (*const sets[])(struct cgroups *, const struct cgroup *, uint64_t) = {
	    [CGROUP_MEMORY] = set_memory, [CGROUP_PIDS] = set_pids, [CGROUP_CPU] = set_cpu};
	const uint64_t wanted[] = {[CGROUP_MEMORY] = p->limits.memory_bytes,
	    [CGROUP_PIDS] = p->limits.pids,
	    [CGROUP_CPU] = p->limits.cpu_percent};
	int r;

	for (enum cgroup_controller k = 0; k < CGROUP_CONTROLLERS; k++) {
		if (wanted[k] == 0)
			continue;
		if (!cgroups_has(c, k))
			return err_set(e, -ENOTSUP,
			    "this host cannot limit %s: no such controller below our cgroup",
			    cgroup_controller_name(k));
		if ((r = sets[k](c, g, wanted[k])) < 0)
			return err_set(e, r, "%s limit %llu: %s", cgroup_controller_name(k),
			    (unsigned long long)wanted[k], strerror(-r));
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
