/*
 * A tar of a hostile tree (POSIX.1-2017, pax), an entry for each file, directory and symbolic link
 * that broker/walk/changes.h finds. Nothing else of it leaves: no device, FIFO, socket, extended
 * attribute; hard links become files of their own.
 */
#ifndef POSTERN_WALK_TAROUT_H
#define POSTERN_WALK_TAROUT_H

#include <stdint.h>

struct change;
struct digest;

struct tarout {
	int fd;           /* -1: the bytes are only counted and hashed */
	struct digest *d; /* borrowed */
	uint32_t ids;     /* line.h */
	uint64_t bytes, entries;
};

/* -EIO: it is not any more what it was said to be. */
int tarout_entry(struct tarout *t, const struct change *x);
int tarout_end(struct tarout *t);

#endif
