/*
 * Spares: what every sandbox needs and takes long to make, made when nobody waits. One spare is a
 * set of namespaces with the credential listener inside, a block of ids, and the user namespace
 * that maps it. Used once.
 */
#ifndef POSTERN_SPAWN_SPARE_H
#define POSTERN_SPAWN_SPARE_H

#include <stddef.h>

#include "broker/spawn/netns.h"

struct err;
struct host;
struct idmap;

#define SPARES_KEPT 8

struct spare {
	struct netns ns;
	int userns, block;
};

struct spares {
	struct spare list[SPARES_KEPT];
	size_t n;
};

#define SPARE_NONE                                                                                 \
	{                                                                                          \
		NETNS_NONE, -1, 0                                                                  \
	}

/* From the shelf, or made now. -EAGAIN: no free block of ids. */
int spare_take(struct spares *s, struct host *h, struct idmap *m, struct spare *ret, struct err *e);
/* Adds one; 1 if it did, 0 if the shelf is full. */
int spare_refill(struct spares *s, struct host *h, struct idmap *m, struct err *e);
/* Closes and, where block is set, returns the block. */
void spare_done(struct spare *s, struct idmap *m);
void spares_done(struct spares *s, struct idmap *m);

#endif
