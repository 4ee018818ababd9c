#include "broker/spawn/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/spawn/backend.h"
#include "broker/spawn/cgroup_find.h"
#include "broker/spawn/cgroup_sweep.h"
#include "broker/spawn/plan.h"
#include "lib/err.h"
#include "lib/util.h"

#define TIES      "ties"
#define SWEEP_MS  2000
#define MOVES_MAX 8
#define UNIFIED   CGROUP_CONTROLLERS
#define SPARES    8

struct spare_dirs {
	char name[NAME_MAX_LEN + 32];
	int tasks[CGROUP_CONTROLLERS];
	unsigned made;
};

/* Hierarchies: one for each version 1 controller, and version 2 last. */
struct cgroups {
	int parent[CGROUP_CONTROLLERS + 1]; /* our own cgroup there */
	int top[CGROUP_CONTROLLERS + 1];    /* postern-INSTANCE, -1: not this way */
	bool v2[CGROUP_CONTROLLERS];        /* enforced through version 2 */
	char top_name[64];
	char path[CGROUP_PATH_MAX]; /* of top in version 2, as /proc/PID/cgroup says it */
	struct spare_dirs spares[SPARES];
	size_t nspares;
	unsigned serial;
	char tenant[NAME_MAX_LEN + 1],
	    spare_tenant[NAME_MAX_LEN + 1]; /* last served; the spares' */
};

static const char *const names[] = {"memory", "pids", "cpu"};

const char *cgroup_controller_name(enum cgroup_controller k)
{
	return names[k];
}

bool cgroups_has(const struct cgroups *c, enum cgroup_controller k)
{
	return c->v2[k] || c->top[k] >= 0;
}

const char *cgroups_kind(const struct cgroups *c)
{
	bool v1 = false, v2 = false;

	for (size_t k = 0; k < CGROUP_CONTROLLERS; k++) {
		v1 |= c->top[k] >= 0;
		v2 |= c->v2[k];
	}
	return v1 ? "hybrid" : v2 ? "v2" : "none";
}

static int enable(int dir, const char *name, enum cgroup_controller k)
{
	char text[16];

	(void)snprintf(text, sizeof text, "+%s", names[k]);
	return cgroup_write(dir, name, "cgroup.subtree_control", text);
}

/* Everybody in one cgroup to another; some may fork meanwhile. */
static void move_all(int dir, const char *from, const char *to)
{
	static char pids[65536];

	for (int i = 0; i < MOVES_MAX; i++) {
		if (cgroup_read(dir, from, "cgroup.procs", pids, sizeof(pids)) < 0 || !*pids)
			return;
		for (char *p = pids, *end; *p; p = end) {
			end = p + strcspn(p, "\n");
			if (*end)
				*end++ = '\0';
			(void)cgroup_write(dir, to, "cgroup.procs", p);
		}
	}
}

/* Version 2 lets a cgroup hold processes or controlled children, not both (cgroups(7), "no internal
 * processes"): whoever is in ours, all of it one service, moves to a leaf beside the sessions. */
static int enable_own(int parent, enum cgroup_controller k)
{
	int r = enable(parent, ".", k);

	if (r != -EBUSY)
		return r;
	if (mkdirat(parent, CGROUP_LEAF, 0755) < 0 && errno != EEXIST)
		return -errno;
	move_all(parent, ".", CGROUP_LEAF);
	return enable(parent, ".", k);
}

/* And back, when we are the last instance there: nothing of ours stays. */
static void leave_leaf(struct cgroups *c)
{
	int parent = c->parent[UNIFIED];
	char text[16];

	if (faccessat(parent, CGROUP_LEAF, F_OK, 0) < 0 || cgroup_has_others(parent))
		return;
	for (enum cgroup_controller k = 0; k < CGROUP_CONTROLLERS; k++) {
		(void)snprintf(text, sizeof(text), "-%s", names[k]);
		(void)cgroup_write(parent, ".", "cgroup.subtree_control", text);
	}
	move_all(parent, CGROUP_LEAF, ".");
	(void)unlinkat(parent, CGROUP_LEAF, AT_REMOVEDIR);
}

static int open_top(struct cgroups *c, size_t h, const char *path)
{
	c->parent[h] = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->parent[h] < 0)
		return -errno;
	if (mkdirat(c->parent[h], c->top_name, 0755) < 0 && errno != EEXIST)
		return -errno;
	c->top[h] = openat(c->parent[h], c->top_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return c->top[h] < 0 ? -errno : 0;
}

static int open_unified(struct cgroups *c, struct err *e)
{
	char dir[CGROUP_PATH_MAX], own[CGROUP_PATH_MAX - 80], list[256];
	int r;

	if ((r = cgroup_find(NULL, dir, sizeof(dir), own, sizeof(own))) < 0)
		return err_set(e, r, "there is no cgroup version 2 tree");
	if ((r = open_top(c, UNIFIED, dir)) < 0)
		return err_set(e, r, "%s/%s: %s", dir, c->top_name, strerror(-r));
	(void)snprintf(c->path, sizeof c->path, "%s/%s", own, c->top_name);
	if (cgroup_read(c->parent[UNIFIED], ".", "cgroup.controllers", list, sizeof list) < 0)
		return 0;
	for (enum cgroup_controller k = 0; k < CGROUP_CONTROLLERS; k++) {
		const char *at = strstr(list, names[k]);

		/* "cpu" also begins "cpuset" */
		while (at && strcspn(at, " \n") != strlen(names[k]))
			at = strstr(at + 1, names[k]);
		if (!at)
			continue;
		c->v2[k] =
		    enable_own(c->parent[UNIFIED], k) == 0 && enable(c->top[UNIFIED], ".", k) == 0;
	}
	return 0;
}

int cgroups_open(struct cgroups **ret, const char *instance, struct err *e)
{
	struct cgroups *c = calloc(1, sizeof *c);
	char dir[CGROUP_PATH_MAX];
	int r;

	if (!c)
		return err_set(e, -ENOMEM, "no memory");
	for (size_t h = 0; h <= UNIFIED; h++)
		c->parent[h] = c->top[h] = -1;
	(void)snprintf(c->top_name, sizeof c->top_name, "postern-%s", instance);
	if ((r = open_unified(c, e)) < 0) {
		cgroups_free(c);
		return r;
	}
	for (enum cgroup_controller k = 0; k < CGROUP_CONTROLLERS; k++) {
		if (c->v2[k] || cgroup_find(names[k], dir, sizeof dir, NULL, 0) < 0)
			continue;
		if (open_top(c, k, dir) < 0)
			util_close(&c->top[k]);
	}
	cgroup_sweep(c->top[UNIFIED], TIES, SWEEP_MS);
	for (size_t k = 0; k < CGROUP_CONTROLLERS; k++)
		if (c->top[k] >= 0)
			cgroup_sweep(c->top[k], NULL, SWEEP_MS);
	*ret = c;
	return 0;
}

static void drop_spare(struct cgroups *c, struct spare_dirs *s);

void cgroups_free(struct cgroups *c)
{
	if (!c)
		return;
	while (c->nspares > 0)
		drop_spare(c, &c->spares[--c->nspares]);
	for (size_t h = 0; h <= UNIFIED; h++) {
		if (c->top[h] >= 0) {
			cgroup_sweep(c->top[h], h == UNIFIED ? TIES : NULL, 0);
			(void)unlinkat(c->parent[h], c->top_name, AT_REMOVEDIR);
		}
		if (c->top[h] >= 0 && h == UNIFIED)
			leave_leaf(c);
		util_close(&c->top[h]);
		util_close(&c->parent[h]);
	}
	free(c);
}

/* ---- a session's ---- */

static int make_dir(struct cgroups *c, size_t h, const char *tenant, const char *name)
{
	if (mkdirat(c->top[h], name, 0755) == 0)
		return 0;
	if (errno != ENOENT)
		return -errno;
	if (mkdirat(c->top[h], tenant, 0755) < 0 && errno != EEXIST)
		return -errno;
	for (enum cgroup_controller k = 0; h == UNIFIED && k < CGROUP_CONTROLLERS; k++)
		if (c->v2[k])
			(void)enable(c->top[h], tenant, k);
	return mkdirat(c->top[h], name, 0755) < 0 ? -errno : 0;
}

static int limit(struct cgroups *c, const struct cgroup *g, enum cgroup_controller k,
    const char *v1_file, const char *v2_file, const char *text)
{
	return c->v2[k] ? cgroup_write(c->top[UNIFIED], g->name, v2_file, text)
	                : cgroup_write(c->top[k], g->name, v1_file, text);
}

static int set_memory(struct cgroups *c, const struct cgroup *g, uint64_t bytes)
{
	char text[32];
	int r;

	(void)snprintf(text, sizeof text, "%llu", (unsigned long long)bytes);
	r = limit(c, g, CGROUP_MEMORY, "memory.limit_in_bytes", "memory.max", text);
	if (r < 0)
		return r;
	/* no swap beyond it; where the kernel does not account swap there is no such file */
	r = limit(c, g, CGROUP_MEMORY, "memory.memsw.limit_in_bytes", "memory.swap.max",
	    c->v2[CGROUP_MEMORY] ? "0" : text);
	return r == -ENOENT ? 0 : r;
}

static int set_cpu(struct cgroups *c, const struct cgroup *g, uint64_t percent)
{
	char text[48];

	if (c->v2[CGROUP_CPU]) {
		(void)snprintf(
		    text, sizeof text, "%llu 100000", (unsigned long long)percent * 1000);
		return cgroup_write(c->top[UNIFIED], g->name, "cpu.max", text);
	}
	/* the period is 100 ms by default (CFS bandwidth control) */
	(void)snprintf(text, sizeof text, "%llu", (unsigned long long)percent * 1000);
	return cgroup_write(c->top[CGROUP_CPU], g->name, "cpu.cfs_quota_us", text);
}

static int set_pids(struct cgroups *c, const struct cgroup *g, uint64_t pids)
{
	char text[32];

	(void)snprintf(text, sizeof text, "%llu", (unsigned long long)pids);
	return limit(c, g, CGROUP_PIDS, "pids.max", "pids.max", text);
}

static int set_limits(
    struct cgroups *c, const struct cgroup *g, const struct plan *p, struct err *e)
{
	static int (*const set[])(struct cgroups *, const struct cgroup *, uint64_t) = {
	    [CGROUP_MEMORY] = set_memory, [CGROUP_PIDS] = set_pids, [CGROUP_CPU] = set_cpu};
	const uint64_t wanted[] = {[CGROUP_MEMORY] = p->memory_bytes,
	    [CGROUP_PIDS] = p->pids,
	    [CGROUP_CPU] = p->cpu_percent};
	int r;

	for (enum cgroup_controller k = 0; k < CGROUP_CONTROLLERS; k++) {
		if (wanted[k] == 0)
			continue;
		if (!cgroups_has(c, k))
			return err_set(e, -ENOTSUP,
			    "this host cannot limit %s: no such controller below our cgroup",
			    names[k]);
		if ((r = set[k](c, g, wanted[k])) < 0)
			return err_set(e, r, "%s limit %llu: %s", names[k],
			    (unsigned long long)wanted[k], strerror(-r));
	}
	return 0;
}

/* The directories of version 1 below name, and their tasks files. */
static int make_v1(
    struct cgroups *c, const char *tenant, const char *name, int *tasks, unsigned *made)
{
	char path[sizeof(((struct cgroup *)0)->name) + 16];
	int r;

	(void)snprintf(path, sizeof(path), "%s/tasks", name);
	for (size_t h = 0; h < UNIFIED; h++) {
		if (c->top[h] < 0)
			continue;
		if ((r = make_dir(c, h, tenant, name)) < 0)
			return r;
		*made |= 1u << h;
		if ((tasks[h] = openat(c->top[h], path, O_WRONLY | O_CLOEXEC)) < 0)
			return -errno;
	}
	return 0;
}

static void drop_spare(struct cgroups *c, struct spare_dirs *s)
{
	for (size_t h = 0; h < UNIFIED; h++) {
		util_close(&s->tasks[h]);
		if (s->made & 1u << h)
			(void)unlinkat(c->top[h], s->name, AT_REMOVEDIR);
	}
}

int cgroups_refill(struct cgroups *c)
{
	struct spare_dirs s = {.tasks = {-1, -1, -1}};

	if (!c->tenant[0] || strcmp(cgroups_kind(c), "hybrid") != 0)
		return 0;
	if (strcmp(c->tenant, c->spare_tenant) != 0) {
		while (c->nspares > 0)
			drop_spare(c, &c->spares[--c->nspares]);
		memcpy(c->spare_tenant, c->tenant, sizeof(c->tenant));
	}
	if (c->nspares == SPARES)
		return 0;
	(void)snprintf(s.name, sizeof(s.name), "%s/spare-%u", c->tenant, c->serial++);
	if (make_v1(c, c->tenant, s.name, s.tasks, &s.made) < 0) {
		drop_spare(c, &s);
		return 0;
	}
	c->spares[c->nspares++] = s;
	return 1;
}

/* True if a spare has become g's. */
static bool take_spare(struct cgroups *c, struct cgroup *g, const char *tenant)
{
	struct spare_dirs *s;
	bool good = true;

	(void)str_copy(c->tenant, sizeof(c->tenant), tenant);
	if (c->nspares == 0 || strcmp(c->spare_tenant, tenant) != 0)
		return false;
	s = &c->spares[--c->nspares];
	for (size_t h = 0; h < UNIFIED; h++) {
		if (!(s->made & 1u << h))
			continue;
		if (renameat(c->top[h], s->name, c->top[h], g->name) < 0) {
			good = false;
			continue;
		}
		s->made &= ~(1u << h);
		g->made |= 1u << h;
		g->tasks[h] = steal_fd(&s->tasks[h]);
	}
	if (!good) /* what was renamed is g's, and goes with it */
		drop_spare(c, s);
	return good;
}

static int make_all(struct cgroups *c, struct cgroup *g, const struct plan *p, struct err *e)
{
	int r;

	if (!take_spare(c, g, p->tenant) &&
	    (r = make_v1(c, p->tenant, g->name, g->tasks, &g->made)) < 0)
		return err_set(e, r, "%s: %s", g->name, strerror(-r));
	if ((r = make_dir(c, UNIFIED, p->tenant, g->name)) < 0)
		return err_set(e, r, "%s: %s", g->name, strerror(-r));
	g->made |= 1u << UNIFIED;
	g->dir = openat(c->top[UNIFIED], g->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (g->dir < 0)
		return err_set(e, -errno, "%s: %m", g->name);
	return set_limits(c, g, p, e);
}

int cgroup_make(
    struct cgroups *c, const char *session, const struct plan *p, struct cgroup *ret, struct err *e)
{
	struct cgroup g = {.dir = -1, .tasks = {-1, -1, -1}};
	int r;

	if ((size_t)snprintf(g.name, sizeof g.name, "%s/%s", p->tenant, session) >= sizeof g.name)
		return err_set(e, -ENAMETOOLONG, "session name");
	if ((r = make_all(c, &g, p, e)) < 0) {
		cgroup_joined(&g);
		(void)cgroup_remove(c, &g);
		return r;
	}
	*ret = g;
	return 0;
}

void cgroup_joined(struct cgroup *g)
{
	for (size_t k = 0; k < CGROUP_CONTROLLERS; k++)
		util_close(&g->tasks[k]);
}

int cgroup_freeze(struct cgroup *g, bool on)
{
	return cgroup_write(g->dir, ".", "cgroup.freeze", on ? "1" : "0");
}

int cgroup_kill(struct cgroup *g)
{
	return cgroup_write(g->dir, ".", "cgroup.kill", "1");
}

void cgroup_usage(struct cgroups *c, struct cgroup *g, struct backend_usage *ret)
{
	int unified = c->top[UNIFIED], v1 = c->top[CGROUP_MEMORY];
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

int cgroup_remove(struct cgroups *c, struct cgroup *g)
{
	util_close(&g->dir);
	for (size_t h = 0; h <= UNIFIED; h++) {
		if (!(g->made & 1u << h))
			continue;
		if (unlinkat(c->top[h], g->name, AT_REMOVEDIR) < 0 && errno != ENOENT)
			return -EAGAIN;
		g->made &= ~(1u << h);
	}
	return 0;
}

/* ---- ties ---- */

int cgroup_tie(struct cgroups *c, const char *session, char *path, size_t size, struct err *e)
{
	char name[sizeof TIES + 1 + CGROUP_ID_MAX], procs[sizeof name + 16];
	int fd;

	if ((size_t)snprintf(name, sizeof name, "%s/%s", TIES, session) >= sizeof name ||
	    (size_t)snprintf(path, size, "%s/%s", c->path, name) >= size)
		return err_set(e, -ENAMETOOLONG, "session name");
	if ((mkdirat(c->top[UNIFIED], TIES, 0755) < 0 && errno != EEXIST) ||
	    mkdirat(c->top[UNIFIED], name, 0755) < 0)
		return err_set(e, -errno, "%s: %m", name);
	(void)snprintf(procs, sizeof procs, "%s/cgroup.procs", name);
	fd = openat(c->top[UNIFIED], procs, O_WRONLY | O_CLOEXEC);
	return fd < 0 ? err_set(e, -errno, "%s: %m", procs) : fd;
}

int cgroup_untie(struct cgroups *c, const char *session)
{
	char name[sizeof TIES + 1 + CGROUP_ID_MAX];

	if ((size_t)snprintf(name, sizeof name, "%s/%s", TIES, session) >= sizeof name)
		return 0;
	/* what sshd still has there: its privileged process leaves before it closes a session in
	 * order */
	(void)cgroup_write(c->top[UNIFIED], name, "cgroup.kill", "1");
	return unlinkat(c->top[UNIFIED], name, AT_REMOVEDIR) < 0 && errno == EBUSY ? -EAGAIN : 0;
}
