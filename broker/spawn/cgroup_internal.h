/*
 * What the files of the cgroups share. Nobody else includes it.
 *
 *   cgroup.c         the hierarchies, and our own directory in each
 *   cgroup_make.c    a session's directories, and those that wait for one
 *   cgroup_limit.c   a session's limits, and what it used of them
 *   cgroup_tie.c     the mark of an sshd session
 */
#ifndef POSTERN_SPAWN_CGROUP_INTERNAL_H
#define POSTERN_SPAWN_CGROUP_INTERNAL_H

#include "broker/spawn/cgroup.h"

#define CGROUP_TIES    "ties"
#define CGROUP_UNIFIED CGROUP_CONTROLLERS
#define CGROUP_SPARES  8

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
	struct spare_dirs spares[CGROUP_SPARES];
	size_t nspares;
	unsigned serial;
	char tenant[NAME_MAX_LEN + 1],
	    spare_tenant[NAME_MAX_LEN + 1]; /* last served; the spares' */
};

/* cgroup.c: lets the cgroup `name` below dir limit this for its children. */
int cgroup_enable(int dir, const char *name, enum cgroup_controller k);
/* cgroup_make.c */
void cgroup_drop_spare(struct cgroups *c, struct spare_dirs *s);
/* cgroup_limit.c: all that the plan asks for. -ENOTSUP: one of them cannot be had here. */
int cgroup_limit(struct cgroups *c, const struct cgroup *g, const struct plan *p, struct err *e);

#endif
