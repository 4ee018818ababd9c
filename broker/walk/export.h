/*
 * A workspace leaves as a tar, by the export gate (gate.h): what is flagged and not allowed keeps
 * all of it back. It is read twice. First every path is looked at, and the tar is only counted and
 * hashed; then, when nothing is kept back and the core has put its digest on record, it is written,
 * and its end only if it is still the one that was hashed.
 *
 * To the reader of out: a line of JSON (line.h) for each path that is kept back, then
 * {"done": true, "refused", "files", "bytes", "sha256"}, and if "refused" is 0, the tar's bytes.
 * {"done": true, "failed": TEXT} instead: it cannot be read as a whole.
 */
#ifndef POSTERN_WALK_EXPORT_H
#define POSTERN_WALK_EXPORT_H

#include <stddef.h>
#include <stdint.h>

struct chan;

struct export_walk {
	int out;           /* borrowed, like all descriptors */
	struct chan *core; /* is told, and says go; borrowed */
	const int *layer;  /* newest first; the last one is empty */
	size_t nlayers;
	uint32_t ids;   /* line.h */
	unsigned allow; /* gate.h */
	int (*opaque)(void *arg, int dirfd);
	void *arg;
};

/* 0, also when it was kept back; -errno. */
int export_run(const struct export_walk *w);

#endif
