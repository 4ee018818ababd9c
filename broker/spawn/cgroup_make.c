#include "broker/spawn/cgroup_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/spawn/cgroup_sweep.h"
#include "broker/spawn/plan.h"
#include "lib/err.h"
#include "lib/util.h"

/* ---- directories ---- */

static int make_dir(struct cgroups *c, size_t h, const char *tenant, const char *name)
{
	if (mkdirat(c->top[h], name, 0755) == 0)
		return 0;
	if (errno != ENOENT)
		return -errno;
	if (mkdirat(c->top[h], tenant, 0755) < 0 && errno != EEXIST)
		return -errno;
	for (enum cgroup_controller k = 0; h == CGROUP_UNIFIED && k < CGROUP_CONTROLLERS; k++)
		if (c->v2[k])
			(void)cgroup_enable(c->top[h], tenant, k);
	return mkdirat(c->top[h], name, 0755) < 0 ? -errno : 0;
}

/* The directories of version 1 below name, and their tasks files. */
static int make_v1(
    struct cgroups *c, const char *tenant, const char *name, int *tasks, unsigned *made)
{
	char path[sizeof(((struct cgroup *)0)->name) + 16];
	int r;

	(void)snprintf(path, sizeof(path), "%s/tasks", name);
	for (size_t h = 0; h < CGROUP_UNIFIED; h++) {
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

/* ---- spares ---- */

void cgroup_drop_spare(struct cgroups *c, struct spare_dirs *s)
{
	for (size_t h = 0; h < CGROUP_UNIFIED; h++) {
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
			cgroup_drop_spare(c, &c->spares[--c->nspares]);
		memcpy(c->spare_tenant, c->tenant, sizeof(c->tenant));
	}
	if (c->nspares == CGROUP_SPARES)
		return 0;
	(void)snprintf(s.name, sizeof(s.name), "%s/spare-%u", c->tenant, c->serial++);
	if (make_v1(c, c->tenant, s.name, s.tasks, &s.made) < 0) {
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
	if (!good) /* what was renamed is g's, and goes with it */
		cgroup_drop_spare(c, s);
	return good;
}

/* ---- a session's ---- */

static int make_all(struct cgroups *c, struct cgroup *g, const struct plan *p, struct err *e)
{
	int r;

	if (!take_spare(c, g, p->tenant) &&
	    (r = make_v1(c, p->tenant, g->name, g->tasks, &g->made)) < 0)
		return err_set(e, r, "%s: %s", g->name, strerror(-r));
	if ((r = make_dir(c, CGROUP_UNIFIED, p->tenant, g->name)) < 0)
		return err_set(e, r, "%s: %s", g->name, strerror(-r));
	g->made |= 1u << CGROUP_UNIFIED;
	g->dir = openat(c->top[CGROUP_UNIFIED], g->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (g->dir < 0)
		return err_set(e, -errno, "%s: %m", g->name);
	return cgroup_limit(c, g, p, e);
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

int cgroup_remove(struct cgroups *c, struct cgroup *g)
{
	util_close(&g->dir);
	for (size_t h = 0; h <= CGROUP_UNIFIED; h++) {
		if (!(g->made & 1u << h))
			continue;
		if (unlinkat(c->top[h], g->name, AT_REMOVEDIR) < 0 && errno != ENOENT)
			return -EAGAIN;
		g->made &= ~(1u << h);
	}
	return 0;
}
