/*
 * What the files of the cgroups share. Nobody else includes it.
 *
 *   cgroup.c         the hierarchies, and our own directory in each
 *   cgroup_make.c    a session's directories, and those that wait for one
 *   cgroup_tenant.c  the directories above, and what a tenant may have
 *   cgroup_limit.c   limits of either, and what a session used of them
 *   cgroup_io.c      which devices, and how much of them
 *   cgroup_oom.c     the end of a session that has run out of memory, on version 1
 *   cgroup_tie.c     the mark of an sshd session
 */
#ifndef POSTERN_SPAWN_CGROUP_INTERNAL_H
#define POSTERN_SPAWN_CGROUP_INTERNAL_H

#include "broker/spawn/cgroup.h"
#include "broker/spawn/plan.h"

#define CGROUP_TIES    "ties.sshd"   /* no tenant can be called so */
#define CGROUP_DAEMONS "daemons.own" /* below a tenant; no session can be called so */
#define CGROUP_UNIFIED CGROUP_CONTROLLERS
#define CGROUP_SPARES  8
#define CGROUP_DEVICES 4

struct spare_dirs {
	char name[NAME_MAX_LEN + 32];
	int tasks[CGROUP_CONTROLLERS];
	int oom;
	unsigned made;
};

struct cgroup_tenant {
	struct cgroup_tenant *next;
	char name[NAME_MAX_LEN + 1];
	struct plan_limits limits; /* that hold */
	bool unsure;               /* setting others, or removing it, has failed half-way */
	unsigned sessions;
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
	struct cgroup_tenant *tenants;
	char devices[CGROUP_DEVICES][24]; /* "MAJOR:MINOR", whole disks */
	size_t ndevices;
	bool tree;         /* a limit of memory holds for what is below, too */
	int events, timer; /* an epoll descriptor, and what is in it for suspects */
	struct cgroup *suspects;
	char tenant[NAME_MAX_LEN + 1],
	    spare_tenant[NAME_MAX_LEN + 1]; /* last served; the spares' */
};

/* cgroup.c: lets the cgroup `name` below dir limit this for its children. */
int cgroup_enable(int dir, const char *name, enum cgroup_controller k);
/* cgroup_make.c */
void cgroup_drop_spare(struct cgroups *c, struct spare_dirs *s);
/* Makes the tenant's directories if they are not there, and sets its limits if they are others. The
 * caller counts its session. */
int cgroup_tenant_use(
    struct cgroups *c, const struct plan *p, struct cgroup_tenant **ret, struct err *e);
/* Removes the directories of tenants without sessions, but not where spares wait. */
void cgroup_tenants_trim(struct cgroups *c);
void cgroup_tenants_forget(struct cgroups *c);

/* Sets what l asks for on the cgroup name (a session's, or a tenant's), where old holds. again:
 * write all of it. p: the session's plan, NULL for a tenant. -ENOTSUP: one of them cannot be had
 * here. */
int cgroup_limit(struct cgroups *c, const char *name, const struct plan_limits *l,
    const struct plan_limits *old, bool again, const struct plan *p, struct err *e);

/* cgroup_io.c: finds the disks below state_fd and /usr. */
void cgroup_io_find(struct cgroups *c, int state_fd);
bool cgroup_io_asked(const struct plan_limits *l);
int cgroup_io_limit(struct cgroups *c, const char *name, const struct plan_limits *l,
    const struct plan *p, struct err *e);

/* cgroup_oom.c: asks version 1 for news of the cgroup name: an eventfd. */
int cgroup_oom_arm(struct cgroups *c, const char *name);
int cgroup_oom_watch(struct cgroups *c, struct cgroup *g);
void cgroup_oom_forget(struct cgroups *c, struct cgroup *g);

#endif
