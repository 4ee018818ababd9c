/*
 * What a writable layer changes in the layers below it, by descriptors alone: every path added,
 * changed, deleted or given other owners or modes, in the order of their bytes within a directory,
 * a directory before what is in it.
 *
 * The tree is hostile and may be written to meanwhile. No symbolic link is followed, no FIFO or
 * device opened, no path put together for the kernel (each step is one name below an open
 * directory), nothing recursive; directories deeper than CHANGES_DEPTH are named and not entered.
 * What is left out for a limit is counted.
 *
 * A whiteout (a character device 0:0) is a deletion; of a deleted directory only the directory is
 * named. What a directory hides as a whole (opaque) is found by comparing names.
 */
#ifndef POSTERN_WALK_CHANGES_H
#define POSTERN_WALK_CHANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "lib/digest.h"

#define CHANGES_DEPTH  128
#define CHANGES_LAYERS 72
#define CHANGES_PATH   ((CHANGES_DEPTH + 1) * 256)

enum change_kind { CHANGE_ADDED, CHANGE_CHANGED, CHANGE_DELETED, CHANGE_METADATA };

struct change {
	const char *path; /* any bytes but NUL; from the tree's root, without one at its front */
	enum change_kind what;
	mode_t mode; /* of a deleted one as it was */
	uint32_t uid, gid;
	uint64_t size, links;
	bool hashed;
	uint8_t digest[DIGEST_LEN]; /* of a regular file's bytes, of a link's target */
	const char *skipped;        /* why there is none: "size", "time", "unreadable"; NULL */
	bool deep;                  /* a directory that was not entered */
	bool unstable;              /* it was written to while it was read */
	unsigned gate;              /* gate.h; 0 of a deleted one */
	/* where it is, to be read again while it is taken; -1: nowhere any more */
	int dir;
	const char *name;
	int64_t mtime_s;
};

struct changes {
	int top;          /* the layer; both can be read; borrowed */
	const int *lower; /* uppermost first; borrowed */
	size_t nlower;
	size_t nmore; /* how many of lower, the first ones, count to the changes as well */
	/* Whether a directory is opaque: 1, 0, -errno. NULL: none is. */
	int (*opaque)(void *arg, int dirfd);
	/* 0 to go on; anything else ends the walk and is its result. */
	int (*take)(void *arg, const struct change *c);
	void *arg;
	/* limits; 0: none */
	uint64_t max;                    /* changes that are taken */
	uint64_t file_bytes, hash_bytes; /* hashed of one file, of all */
	int64_t deadline_ns;             /* clock_mono_ns() */
	/* out */
	uint64_t count[4]; /* by change_kind, those that were left out as well */
	uint64_t left_out, deep, unreadable;
	bool incomplete; /* the deadline has passed, or a directory could not be read */
};

extern const char *const change_kinds[]; /* "added", ... */
const char *change_type(mode_t mode);    /* "file", "dir", "symlink", "fifo", "socket", "device" */
/* 0, also when it is incomplete; take's answer; -ENOMEM. */
int changes_walk(struct changes *c);

#endif
