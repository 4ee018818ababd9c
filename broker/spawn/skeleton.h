/*
 * Skeletons: the lowest layer of a sandbox's root, on disk below STATE/spawn, one for each
 * root, role and whether the agent is root. It holds the directories, the links /bin -> usr/bin as
 * the host has them, a synthetic /etc, an empty home, and our two programs below /run/postern. It
 * belongs to root and is mapped into each session's ids by an idmapped mount, so its file system
 * must support those (ext4, xfs, btrfs).
 *
 * A skeleton never changes once sandboxes use it. When the host's library cache, certificates or
 * alternatives have changed, a new one is made beside it. A new spawn removes what a former one
 * left.
 */
#ifndef POSTERN_SPAWN_SKELETON_H
#define POSTERN_SPAWN_SKELETON_H

#include <limits.h>
#include <sys/stat.h>

#include "broker/spawn/plan.h"

struct err;
struct host;
struct skeletons;

#define SKELETON_WRITABLE_MAX 24

#define SKELETON_INIT "/run/postern/postern-init"
#define SKELETON_BIN  "/run/postern/bin" /* postern-cred: belongs into PATH */

struct skeleton {
	char path[64];  /* in spawn's own mount namespace: /skel/N */
	char lower[64]; /* the template's directory, /roots/N; empty for the host's /usr */
	char
	    dpkg[64]; /* the host's database of packages, /roots/N, where root installs; or empty */
	/* directories of the root in which the agent may write, as far as modes allow:
	 * for Landlock */
	char writable[SKELETON_WRITABLE_MAX][64];
	unsigned writables;
};

/* Removes what a former spawn left. h is borrowed for its life. NULL with e. */
struct skeletons *skeletons_new(struct host *h, struct err *e);
void skeletons_free(struct skeletons *s); /* removes the trees */
/* Finds or builds; borrowed, valid until skeletons_free(). */
int skeleton_get(
    struct skeletons *s, const struct plan *p, const struct skeleton **ret, struct err *e);

#endif
