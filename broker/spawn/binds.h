/*
 * What a template shows of the host: directories and files, read-only, nosuid, nodev, as detached
 * mounts until the child moves them to their places.
 *
 * Ids are not mapped: with the host's owners nobody inside owns anything of it, so root inside and
 * the agent alike see what anybody may see. What is mounted below a source is not taken along.
 */
#ifndef POSTERN_SPAWN_BINDS_H
#define POSTERN_SPAWN_BINDS_H

#include <stdint.h>

#include "broker/spawn/plan.h"

struct err;
struct host;
struct skeleton;

struct binds {
	unsigned n;
	int tree[PLAN_MOUNTS_MAX];
	char at[PLAN_MOUNTS_MAX][PLAN_INSIDE_MAX]; /* without its first slash */
};

#define BINDS_NONE                                                                                 \
	{                                                                                          \
		.n = 0                                                                             \
	}

/* Makes the places in the writable layer (up, which nothing uses yet), too. base: what 0 inside
 * maps to. Nothing is left open of a failure; e names the mount. */
int binds_make(struct host *h, const struct skeleton *s, const struct plan *p, int up,
    uint32_t base, struct binds *ret, struct err *e);
void binds_done(struct binds *b);

/* Between clone3 and execve (system calls only), with the new root below /mnt: 0 or -errno. No link
 * is followed. */
int binds_enter(const struct binds *b);

#endif
