/*
 * Limits and the handle to kill by: a session's cgroup, below postern-INSTANCE in the cgroup that
 * we run in ourselves, named TENANT/SESSION.
 *
 * Pure version 2: one directory; the child starts in it (CLONE_INTO_CGROUP). Hybrid hosts: memory,
 * pids and cpu are version 1 hierarchies, where the child writes 0 to its `tasks` (a write to
 * cgroup.procs would cost an RCU grace period each), and version 2, without controllers, is there
 * to freeze, kill and count by. Which one it is, is found out, controller by controller.
 *
 * The directory above, TENANT, holds all of a tenant's sessions to what the tenant may have
 * together. A session that runs out of memory ends as a whole: version 2 does it
 * (memory.oom.group), for version 1 cgroups_event() does.
 */
#ifndef POSTERN_SPAWN_CGROUP_H
#define POSTERN_SPAWN_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/str.h"

enum cgroup_controller { CGROUP_MEMORY, CGROUP_PIDS, CGROUP_CPU, CGROUP_IO, CGROUP_CONTROLLERS };

#define CGROUP_ID_MAX   36 /* a session's name */
#define CGROUP_PATH_MAX 512

struct cgroups;
struct cgroup_tenant;
struct err;
struct plan;
struct plan_limits;
struct backend_usage;

/* Stays where it is between cgroup_make() and cgroup_remove(). */
struct cgroup {
	char name[NAME_MAX_LEN + 1 + CGROUP_ID_MAX + 1]; /* TENANT/SESSION */
	int dir;                                         /* version 2; for CLONE_INTO_CGROUP */
	int tasks[CGROUP_CONTROLLERS];                   /* version 1, until the child has joined */
	unsigned made;                                   /* hierarchies that hold a directory */
	int oom;                      /* version 1: an eventfd that tells of memory run out */
	int64_t oom_until;            /* how long to look for who was killed */
	struct cgroup *next_suspect;  /* those that are looked at */
	struct cgroup_tenant *tenant; /* whose it is */
};

#define CGROUP_NONE                                                                                \
	{                                                                                          \
		.dir = -1, .tasks = {-1, -1, -1, -1}, .oom = -1                                    \
	}

/* Makes postern-INSTANCE, ends and removes what a former spawn left there. state_fd: a directory on
 * the file system that sandboxes use, whose devices io is limited on. */
int cgroups_open(struct cgroups **ret, const char *instance, int state_fd, struct err *e);
/* Removes our directories (empty ones), closes. NULL is fine. */
void cgroups_free(struct cgroups *c);
const char *cgroups_kind(const struct cgroups *c); /* "v2", "hybrid", "none" */
bool cgroups_has(const struct cgroups *c, enum cgroup_controller k);
const char *cgroup_controller_name(enum cgroup_controller k);

/* Also sets what the tenant may have, if that has changed. Nothing is left of a failure. -ENOTSUP:
 * the plan asks for a limit that cannot be enforced here; -EBUSY: the tenant's sessions use more
 * than it may have by now. */
int cgroup_make(struct cgroups *c, const char *session, const struct plan *p, struct cgroup *ret,
    struct err *e);
/* Makes version 1 directories beforehand, for the tenant that was served last (they are renamed
 * when they are taken, which version 2 cannot do, and does not need: it has one directory to make,
 * not four). 1 if it did something, 0 if there is nothing to do. */
int cgroups_refill(struct cgroups *c);
/* Charges a process of ours that serves this session (one thread, just started) to the session's
 * tenant, beside its sessions: it counts in what the tenant may have, and none of them can freeze
 * it. Memory that it has already stays where it is. 0 or -errno. */
int cgroup_charge(struct cgroups *c, struct cgroup *g, pid_t pid);
void cgroup_joined(struct cgroup *g); /* closes the tasks descriptors */
/* Readable when cgroups_event() has something to do; borrowed. */
int cgroups_event_fd(const struct cgroups *c);
void cgroups_event(struct cgroups *c);
int cgroup_freeze(struct cgroup *g, bool on);
int cgroup_kill(struct cgroup *g);
void cgroup_usage(struct cgroups *c, struct cgroup *g, struct backend_usage *ret);
/* 0, or -EAGAIN while processes are left. */
int cgroup_remove(struct cgroups *c, struct cgroup *g);

/* A cgroup without limits that marks the processes of one sshd session. Returns a descriptor of its
 * cgroup.procs for writing; path[size] is what /proc/PID/cgroup will say after "0::". */
int cgroup_tie(struct cgroups *c, const char *session, char *path, size_t size, struct err *e);
/* 0, also if there is none; -EAGAIN while processes are in it. */
int cgroup_untie(struct cgroups *c, const char *session);

#endif
