/*
 * Spawn's loop: what the core asks, what sandboxes do by themselves, and what nobody waits for.
 *
 * The core may go away and come back (core.link): sandboxes go on, and the new core asks
 * sandbox.list. Nothing here waits for anything but the one start it is at.
 *
 * Works with any back end; what is beside that seam comes as functions, which a test may leave out.
 */
#ifndef POSTERN_SPAWN_SERVE_H
#define POSTERN_SPAWN_SERVE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct backend;
struct backend_layers;
struct err;
struct work_store;

struct serve_config {
	struct backend *b;       /* borrowed */
	int supervisor;          /* link; taken over */
	struct work_store *work; /* borrowed; NULL: no workspaces */
	/* The lease process for one sandbox: a pidfd, or -errno. Both descriptors are borrowed. */
	int (*lease_start)(void *arg, int link, int listener, pid_t *ret_pid, struct err *e);
	/* Who reads its private layer: a pidfd, or -errno. The link is borrowed. NULL: nobody. */
	int (*walk_start)(void *arg, int link, const struct backend_layers *l, struct err *e);
	uint32_t workers, nworkers; /* the ids of the gateway's */
	/* Who tells an operator what the first `changed` of a workspace's layers (newest first)
	 * change: a pidfd, or -errno. out is the pipe for it; all are borrowed. NULL: nobody. */
	int (*diff_start)(void *arg, int out, const int *layers, size_t n, size_t changed,
	    uint32_t ids, struct err *e);
	/* Likewise who hands him all of them as a tar (broker/walk/export.h); link: to the core. */
	int (*export_start)(void *arg, int out, int link, const int *layers, size_t n,
	    unsigned allow, uint32_t ids, struct err *e);
	/* cgroup_tie() and cgroup_untie() (broker/spawn/cgroup.h) */
	int (*tie)(void *arg, const char *session, char *path, size_t size, struct err *e);
	int (*untie)(void *arg, const char *session);
	void *arg;
};

/* Returns 0 after `shutdown` or when the supervisor has gone, else -errno. By then sandboxes are
 * being killed; those that could not be awaited end with this process. */
int serve_run(const struct serve_config *c);

#endif
