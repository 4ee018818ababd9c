/*
 * The changes of a workspace as lines of JSON for an operator: each as in line.h, and last
 * {"done": true, "added", "changed", "deleted", "metadata", "unreadable", "incomplete"}. Whoever
 * reads and does not find the last one has not got all.
 */
#ifndef POSTERN_WALK_DIFF_H
#define POSTERN_WALK_DIFF_H

#include <stddef.h>
#include <stdint.h>

struct diff {
	int out;          /* where lines go; borrowed, like all descriptors */
	const int *layer; /* newest first; at least one */
	size_t nlayers;
	size_t changed; /* how many of them, the first ones, are the changes; at least one */
	uint32_t ids;   /* line.h */
	int (*opaque)(void *arg, int dirfd); /* changes.h */
	void *arg;
};

/* 0; -errno when the reader has gone, or without memory. */
int diff_tell(const struct diff *d);

#endif
