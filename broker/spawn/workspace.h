/*
 * A workspace as /workspace of a sandbox: an overlay of its own (broker/workspace/store.h has the
 * layers), nosuid and nodev.
 *
 * On the disk everything belongs to the tenant's own range of ids, which is allotted once, from the
 * upper end of ours, and remembered in the tenant's index; no session ever gets that block. One
 * idmapped mount of all the tenant's layers shows them in the session's ids, in the sandbox's own
 * mount namespace and only until its root is changed. The overlay is mounted there by a process
 * whose file system ids are those of the sandbox's root, as what overlayfs makes for itself
 * (whiteouts, its work directory) must have an id in that range as well. The agent can make neither
 * sockets nor FIFOs below it (Landlock: without that a writable workspace is refused).
 *
 * Layers are named by path and in one mount(2): by descriptor they exist since 6.13 only, and a
 * string of fsconfig(2) holds 255 bytes.
 */
#ifndef POSTERN_SPAWN_WORKSPACE_H
#define POSTERN_SPAWN_WORKSPACE_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct host;
struct idmap;
struct plan;
struct work_store;

#define WORKSPACE_DIR     "/workspace"
#define WORKSPACE_OPTIONS 4000 /* of mount(2): less than a page */

struct workspace {
	int tree; /* the layers, idmapped, detached; -1: no workspace */
	bool write, noexec;
	uint32_t base; /* who 0 inside is */
	char options[WORKSPACE_OPTIONS];
};

#define WORKSPACE_NONE                                                                             \
	{                                                                                          \
		-1, false, false, 0, ""                                                            \
	}

/* The store in `path`, a directory of the host (fd: the same), bound nosuid and nodev into spawn's
 * own mounts. ids (borrowed) gives tenants their ranges. */
int workspace_store(struct host *h, const char *path, int fd, struct idmap *ids,
    struct work_store **ret, struct err *e);
/* What the plan asks for: takes the lock in the session's name and prepares the mounts. up: the
 * sandbox's writable layer, which gets the mount point. landlock: the kernel's ABI. The lock is the
 * caller's to release (work_release()), after a failure as well. */
int workspace_make(struct work_store *s, const char *session, const struct plan *p, uint32_t base,
    int up, int landlock, struct workspace *ret, struct err *e);
void workspace_done(struct workspace *w);
/* In the child (broker/spawn/enter.h), on the root at /mnt: system calls only. 0 or -errno. */
int workspace_enter(const struct workspace *w);

#endif
