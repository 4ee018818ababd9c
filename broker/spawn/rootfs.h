/*
 * The mounts of one sandbox, as detached descriptors: made by spawn before clone3(2), moved to
 * their places by the child in its own mount namespace (broker/spawn/enter.h). Nothing here is ever
 * attached where another process could see it.
 */
#ifndef POSTERN_SPAWN_ROOTFS_H
#define POSTERN_SPAWN_ROOTFS_H

#include <stdint.h>

#include "broker/spawn/plan.h"

struct err;
struct skeleton;

struct rootfs {
	int low;  /* the skeleton, idmapped, read-only */
	int low2; /* the template's directory, idmapped, read-only; -1 with the host's /usr */
	int up;   /* a tmpfs of limited size: u and w for the overlay, shm for /dev/shm */
	int usr;  /* the host's, idmapped if its file system can, read-only; -1 with a directory */
	int dpkg; /* the host's database of packages, the same; -1 if nothing is installed */
	int pts;  /* a devpts of its own; spawn keeps it, to open terminals */
	bool usr_mapped;
	bool own_usr; /* usr is a lower layer: install.h */
};

#define ROOTFS_NONE                                                                                \
	{                                                                                          \
		-1, -1, -1, -1, -1, -1, false, false                                               \
	}

/* base: the id that 0 inside maps to. Nothing is left of a failure. */
int rootfs_make(const struct skeleton *s, const struct plan *p, int userns, uint32_t base,
    struct rootfs *ret, struct err *e);
void rootfs_moved(struct rootfs *f); /* closes all but pts */
void rootfs_done(struct rootfs *f);

#endif
