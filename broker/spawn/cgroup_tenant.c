#include "broker/spawn/cgroup_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/spawn/cgroup_sweep.h"
#include "lib/err.h"

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

static void remove_dirs(struct cgroups *c, const char *name)
{
	for (size_t h = 0; h <= CGROUP_UNIFIED; h++)
		if (c->top[h] >= 0)
			(void)unlinkat(c->top[h], name, AT_REMOVEDIR);
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
	if (fresh)
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
		if (kept) {
			at = &t->next;
			continue;
		}
		remove_dirs(c, t->name);
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
