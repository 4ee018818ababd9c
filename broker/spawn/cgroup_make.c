#include "broker/spawn/cgroup_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/spawn/cgroup_sweep.h"
#include "lib/err.h"
#include "lib/util.h"

/* ---- directories ---- */

/* The directories of version 1 below name, and their tasks files. io's are made when they are asked
 * for: each hierarchy costs a start. */
static int make_v1_at(struct cgroups *c, size_t h, const char *name, int *tasks, unsigned *made)
{
	char path[sizeof(((struct cgroup *)0)->name) + 16];

	(void)snprintf(path, sizeof(path), "%s/tasks", name);
	if (mkdirat(c->top[h], name, 0755) < 0)
		return -errno;
	*made |= 1u << h;
	tasks[h] = openat(c->top[h], path, O_WRONLY | O_CLOEXEC);
	return tasks[h] < 0 ? -errno : 0;
}

static int make_v1(struct cgroups *c, const char *name, int *tasks, int *oom, unsigned *made)
{
	int r;

	for (size_t h = 0; h < CGROUP_UNIFIED; h++)
		if (c->top[h] >= 0 && h != CGROUP_IO &&
		    (r = make_v1_at(c, h, name, tasks, made)) < 0)
			return r;
	if (c->top[CGROUP_MEMORY] < 0)
		return 0;
	*oom = cgroup_oom_arm(c, name);
	return *oom < 0 ? *oom : 0;
}

static int make_v1_io(struct cgroups *c, const char *tenant, struct cgroup *g)
{
	if (mkdirat(c->top[CGROUP_IO], tenant, 0755) < 0 && errno != EEXIST)
		return -errno;
	return make_v1_at(c, CGROUP_IO, g->name, g->tasks, &g->made);
}

/* ---- spares ---- */

void cgroup_drop_spare(struct cgroups *c, struct spare_dirs *s)
{
	util_close(&s->oom);
	for (size_t h = 0; h < CGROUP_UNIFIED; h++) {
		util_close(&s->tasks[h]);
		if (s->made & 1u << h)
			(void)unlinkat(c->top[h], s->name, AT_REMOVEDIR);
	}
}

int cgroups_refill(struct cgroups *c)
{
	struct spare_dirs s = {.tasks = {-1, -1, -1, -1}, .oom = -1};

	if (!c->tenant[0] || strcmp(cgroups_kind(c), "hybrid") != 0)
		return 0;
	if (strcmp(c->tenant, c->spare_tenant) != 0) {
		while (c->nspares > 0)
			cgroup_drop_spare(c, &c->spares[--c->nspares]);
		memcpy(c->spare_tenant, c->tenant, sizeof(c->tenant));
		cgroup_tenants_trim(c);
	}
	if (c->nspares == CGROUP_SPARES)
		return 0;
	(void)snprintf(s.name, sizeof(s.name), "%s/spare-%u", c->tenant, c->serial++);
	/* fails where the tenant has gone meanwhile */
	if (make_v1(c, s.name, s.tasks, &s.oom, &s.made) < 0) {
		cgroup_drop_spare(c, &s);
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
	for (size_t h = 0; h < CGROUP_UNIFIED; h++) {
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
	g->oom = steal_fd(&s->oom);
	if (!good) /* what was renamed is g's, and goes with it */
		cgroup_drop_spare(c, s);
	return good;
}

/* ---- a session's ---- */

static int make_all(struct cgroups *c, struct cgroup *g, const struct plan *p, struct err *e)
{
	static const struct plan_limits none = {0};
	int r;

	if ((r = cgroup_tenant_use(c, p, &g->tenant, e)) < 0)
		return r;
	g->tenant->sessions++;
	if (!take_spare(c, g, p->tenant) &&
	    (r = make_v1(c, g->name, g->tasks, &g->oom, &g->made)) < 0)
		return err_set(e, r, "%s: %s", g->name, strerror(-r));
	if (c->top[CGROUP_IO] >= 0 && cgroup_io_asked(&p->limits) &&
	    (r = make_v1_io(c, p->tenant, g)) < 0)
		return err_set(e, r, "%s: %s", g->name, strerror(-r));
	if (mkdirat(c->top[CGROUP_UNIFIED], g->name, 0755) < 0)
		return err_set(e, -errno, "%s: %m", g->name);
	g->made |= 1u << CGROUP_UNIFIED;
	g->dir = openat(c->top[CGROUP_UNIFIED], g->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (g->dir < 0)
		return err_set(e, -errno, "%s: %m", g->name);
	if (c->v2[CGROUP_MEMORY] && (r = cgroup_write(g->dir, ".", "memory.oom.group", "1")) < 0)
		return err_set(e, r, "memory.oom.group: %s", strerror(-r));
	return cgroup_limit(c, g->name, &p->limits, &none, false, p, e);
}

int cgroup_make(
    struct cgroups *c, const char *session, const struct plan *p, struct cgroup *ret, struct err *e)
{
	struct cgroup g = CGROUP_NONE;
	int r;

	if ((size_t)snprintf(g.name, sizeof g.name, "%s/%s", p->tenant, session) >= sizeof g.name)
		return err_set(e, -ENAMETOOLONG, "session name");
	r = make_all(c, &g, p, e);
	if (r == 0) {
		*ret = g;
		if ((r = cgroup_oom_watch(c, ret)) == 0)
			return 0;
		(void)err_set(e, r, "epoll: %s", strerror(-r));
		*ret = (struct cgroup)CGROUP_NONE;
	}
	cgroup_joined(&g);
	(void)cgroup_remove(c, &g);
	return r;
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

int cgroup_remove(struct cgroups *c, struct cgroup *g)
{
	util_close(&g->dir);
	cgroup_oom_forget(c, g);
	for (size_t h = 0; h <= CGROUP_UNIFIED; h++) {
		if (!(g->made & 1u << h))
			continue;
		if (unlinkat(c->top[h], g->name, AT_REMOVEDIR) < 0 && errno != ENOENT)
			return -EAGAIN;
		g->made &= ~(1u << h);
	}
	if (g->tenant && --g->tenant->sessions == 0)
		cgroup_tenants_trim(c);
	g->tenant = NULL;
	return 0;
}
