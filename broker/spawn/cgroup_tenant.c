#include "broker/spawn/cgroup_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/spawn/cgroup_sweep.h"
#include "lib/err.h"

#define DAEMONS_MAX (NAME_MAX_LEN + 1 + sizeof(CGROUP_DAEMONS))

/* Version 1 has no tenants' directory for io: what would be set there holds for nothing below it.
 */
static bool has_dir(const struct cgroups *c, size_t h)
{
	return c->top[h] >= 0 && h != CGROUP_IO;
}

static int make_dirs(struct cgroups *c, const char *name, struct err *e)
{
	for (size_t h = 0; h <= CGROUP_UNIFIED; h++)
		if (has_dir(c, h) && mkdirat(c->top[h], name, 0755) < 0 && errno != EEXIST)
			return err_set(e, -errno, "%s: %m", name);
	for (enum cgroup_controller k = 0; k < CGROUP_CONTROLLERS; k++)
		if (c->v2[k])
			(void)cgroup_enable(c->top[CGROUP_UNIFIED], name, k);
	return 0;
}

static void daemons_of(const char *tenant, char dst[static DAEMONS_MAX])
{
	(void)snprintf(dst, DAEMONS_MAX, "%s/%s", tenant, CGROUP_DAEMONS);
}

/* 0, or -EBUSY while a process of ours is charged there. */
static int remove_dirs(struct cgroups *c, const char *name)
{
	char daemons[DAEMONS_MAX];
	int r = 0;

	daemons_of(name, daemons);
	for (size_t h = 0; h <= CGROUP_UNIFIED; h++) {
		if (c->top[h] < 0)
			continue;
		if (unlinkat(c->top[h], daemons, AT_REMOVEDIR) < 0 && errno == EBUSY)
			r = -EBUSY;
		(void)unlinkat(c->top[h], name, AT_REMOVEDIR);
	}
	return r;
}

/* Version 2 joins by cgroup.procs, version 1 by tasks, which is quicker (see cgroup.h). */
static int charge_in(int top, const char *daemons, const char *file, const char *pid)
{
	if (mkdirat(top, daemons, 0755) < 0 && errno != EEXIST)
		return -errno;
	return cgroup_write(top, daemons, file, pid);
}

int cgroup_charge(struct cgroups *c, struct cgroup *g, pid_t pid)
{
	char daemons[DAEMONS_MAX], text[16];
	bool unified = false;
	int r = 0;

	daemons_of(g->tenant->name, daemons);
	(void)snprintf(text, sizeof(text), "%d", (int)pid);
	for (size_t k = 0; k < CGROUP_CONTROLLERS && r == 0; k++) {
		unified |= c->v2[k];
		if (has_dir(c, k))
			r = charge_in(c->top[k], daemons, "tasks", text);
	}
	return r == 0 && unified ? charge_in(c->top[CGROUP_UNIFIED], daemons, "cgroup.procs", text)
	                         : r;
}

static struct cgroup_tenant *find(struct cgroups *c, const char *name)
{
	struct cgroup_tenant *t = c->tenants;

	while (t && strcmp(t->name, name) != 0)
		t = t->next;
	return t;
}

static struct cgroup_tenant *add(struct cgroups *c, const char *name, struct err *e)
{
	struct cgroup_tenant *t = calloc(1, sizeof(*t));

	if (!t) {
		(void)err_set(e, -ENOMEM, "no memory");
		return NULL;
	}
	(void)str_copy(t->name, sizeof(t->name), name);
	t->next = c->tenants;
	c->tenants = t;
	return t;
}

int cgroup_tenant_use(
    struct cgroups *c, const struct plan *p, struct cgroup_tenant **ret, struct err *e)
{
	struct cgroup_tenant *t = find(c, p->tenant);
	bool fresh = !t;
	int r = 0;

	if (!t && !(t = add(c, p->tenant, e)))
		return -ENOMEM;
	if (fresh || t->unsure)
		r = make_dirs(c, t->name, e);
	if (r == 0 &&
	    (t->unsure || memcmp(&t->limits, &p->tenant_limits, sizeof(t->limits)) != 0)) {
		r = cgroup_limit(c, t->name, &p->tenant_limits, &t->limits, t->unsure, NULL, e);
		t->unsure = r < 0;
		if (r == 0)
			t->limits = p->tenant_limits;
	}
	if (r < 0) {
		cgroup_tenants_trim(c);
		return r;
	}
	*ret = t;
	return 0;
}

void cgroup_tenants_trim(struct cgroups *c)
{
	for (struct cgroup_tenant **at = &c->tenants, *t; (t = *at);) {
		bool kept = t->sessions > 0;

		for (size_t i = 0; i < c->nspares; i++)
			kept |= strncmp(c->spares[i].name, t->name, strlen(t->name)) == 0 &&
			        c->spares[i].name[strlen(t->name)] == '/';
		if (!kept && remove_dirs(c, t->name) < 0) { /* in some hierarchies */
			t->unsure = true;
			kept = true;
		}
		if (kept) {
			at = &t->next;
			continue;
		}
		*at = t->next;
		free(t);
	}
}

void cgroup_tenants_forget(struct cgroups *c)
{
	for (struct cgroup_tenant *t; (t = c->tenants);) {
		c->tenants = t->next;
		free(t);
	}
}
