#include "broker/spawn/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "broker/spawn/cgroup_find.h"
#include "broker/spawn/cgroup_internal.h"
#include "broker/spawn/cgroup_sweep.h"
#include "lib/err.h"
#include "lib/util.h"

#define SWEEP_MS 2000

static const char *const names[] = {"memory", "pids", "cpu", "io"};
static const char *const v1_names[] = {"memory", "pids", "cpu", "blkio"};

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

int cgroup_enable(int dir, const char *name, enum cgroup_controller k)
{
	char text[16];

	(void)snprintf(text, sizeof text, "+%s", names[k]);
	return cgroup_write(dir, name, "cgroup.subtree_control", text);
}

/* Version 2 lets a cgroup hold processes or controlled children, not both (cgroups(7), "no internal
 * processes"): whoever is in ours, all of it one service, moves to a leaf beside the sessions. */
static int enable_own(int parent, enum cgroup_controller k)
{
	int r = cgroup_enable(parent, ".", k);

	if (r != -EBUSY)
		return r;
	if (mkdirat(parent, CGROUP_LEAF, 0755) < 0 && errno != EEXIST)
		return -errno;
	cgroup_move(parent, ".", parent, CGROUP_LEAF);
	return cgroup_enable(parent, ".", k);
}

/* And back, when we are the last instance there: nothing of ours stays. */
static void leave_leaf(struct cgroups *c)
{
	int parent = c->parent[CGROUP_UNIFIED];
	char text[16];

	if (faccessat(parent, CGROUP_LEAF, F_OK, 0) < 0 || cgroup_has_others(parent))
		return;
	for (enum cgroup_controller k = 0; k < CGROUP_CONTROLLERS; k++) {
		(void)snprintf(text, sizeof(text), "-%s", names[k]);
		(void)cgroup_write(parent, ".", "cgroup.subtree_control", text);
	}
	cgroup_move(parent, CGROUP_LEAF, parent, ".");
	(void)unlinkat(parent, CGROUP_LEAF, AT_REMOVEDIR);
}

/* Workers outlive us, and are no sandbox's: they are charged to nobody before all is swept. */
static void sweep(struct cgroups *c, size_t h, int wait_ms)
{
	int parent = c->parent[h];
	bool leaf = h == CGROUP_UNIFIED && faccessat(parent, CGROUP_LEAF, F_OK, 0) == 0;

	cgroup_gather(c->top[h], CGROUP_DAEMONS, parent, leaf ? CGROUP_LEAF : ".");
	cgroup_sweep(c->top[h], h == CGROUP_UNIFIED ? CGROUP_TIES : NULL, wait_ms);
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
	if ((r = open_top(c, CGROUP_UNIFIED, dir)) < 0)
		return err_set(e, r, "%s/%s: %s", dir, c->top_name, strerror(-r));
	(void)snprintf(c->path, sizeof c->path, "%s/%s", own, c->top_name);
	if (cgroup_read(c->parent[CGROUP_UNIFIED], ".", "cgroup.controllers", list, sizeof list) <
	    0)
		return 0;
	for (enum cgroup_controller k = 0; k < CGROUP_CONTROLLERS; k++) {
		const char *at = strstr(list, names[k]);

		/* "cpu" also begins "cpuset" */
		while (at && strcspn(at, " \n") != strlen(names[k]))
			at = strstr(at + 1, names[k]);
		if (!at)
			continue;
		c->v2[k] = enable_own(c->parent[CGROUP_UNIFIED], k) == 0 &&
		           cgroup_enable(c->top[CGROUP_UNIFIED], ".", k) == 0;
	}
	return 0;
}

/* Before 5.11 a directory could count by itself alone. */
static bool counts_below(struct cgroups *c)
{
	char text[16];

	if (c->top[CGROUP_MEMORY] < 0)
		return c->v2[CGROUP_MEMORY];
	(void)cgroup_write(c->top[CGROUP_MEMORY], ".", "memory.use_hierarchy", "1");
	return cgroup_read(
	           c->top[CGROUP_MEMORY], ".", "memory.use_hierarchy", text, sizeof(text)) == 0 &&
	       *text == '1';
}

static int open_events(struct cgroups *c)
{
	struct epoll_event ev = {.events = EPOLLIN};

	c->events = epoll_create1(EPOLL_CLOEXEC);
	c->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (c->events < 0 || c->timer < 0 || epoll_ctl(c->events, EPOLL_CTL_ADD, c->timer, &ev) < 0)
		return -errno;
	return 0;
}

int cgroups_open(struct cgroups **ret, const char *instance, int state_fd, struct err *e)
{
	struct cgroups *c = calloc(1, sizeof *c);
	char dir[CGROUP_PATH_MAX];
	int r;

	if (!c)
		return err_set(e, -ENOMEM, "no memory");
	for (size_t h = 0; h <= CGROUP_UNIFIED; h++)
		c->parent[h] = c->top[h] = -1;
	c->events = c->timer = -1;
	(void)snprintf(c->top_name, sizeof c->top_name, "postern-%s", instance);
	if ((r = open_events(c)) < 0)
		(void)err_set(e, r, "epoll: %s", strerror(-r));
	if (r < 0 || (r = open_unified(c, e)) < 0) {
		cgroups_free(c);
		return r;
	}
	for (enum cgroup_controller k = 0; k < CGROUP_CONTROLLERS; k++) {
		if (c->v2[k] || cgroup_find(v1_names[k], dir, sizeof dir, NULL, 0) < 0)
			continue;
		if (open_top(c, k, dir) < 0)
			util_close(&c->top[k]);
	}
	sweep(c, CGROUP_UNIFIED, SWEEP_MS);
	for (size_t k = 0; k < CGROUP_CONTROLLERS; k++)
		if (c->top[k] >= 0)
			sweep(c, k, SWEEP_MS);
	c->tree = counts_below(c);
	cgroup_io_find(c, state_fd);
	*ret = c;
	return 0;
}

void cgroups_free(struct cgroups *c)
{
	if (!c)
		return;
	while (c->nspares > 0)
		cgroup_drop_spare(c, &c->spares[--c->nspares]);
	for (size_t h = 0; h <= CGROUP_UNIFIED; h++) {
		if (c->top[h] >= 0) {
			sweep(c, h, 0);
			(void)unlinkat(c->parent[h], c->top_name, AT_REMOVEDIR);
		}
		if (c->top[h] >= 0 && h == CGROUP_UNIFIED)
			leave_leaf(c);
		util_close(&c->top[h]);
		util_close(&c->parent[h]);
	}
	cgroup_tenants_forget(c);
	util_close(&c->timer);
	util_close(&c->events);
	free(c);
}
