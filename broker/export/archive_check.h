/*
 * Reads a segment that was written, and says what is in it: whether it is whole, the digest of the
 * file, and the root of the tree of all records up to its last, built from what was read.
 */
#ifndef POSTERN_EXPORT_ARCHIVE_CHECK_H
#define POSTERN_EXPORT_ARCHIVE_CHECK_H

#include <stdint.h>

#include "lib/digest.h"
#include "lib/merkle.h"

struct archive_check;
struct err;
struct segment;

#define ARCHIVE_SLICE (1u << 20) /* bytes that are read in one turn of the loop */

struct archive_checked {
	uint8_t digest[DIGEST_LEN], root[DIGEST_LEN];
	uint64_t bodies_lost; /* that records name: missing, or not theirs */
};

/* fd is borrowed and read from its beginning; s is copied; tree: of the records before it. */
int archive_check_new(
    int fd, const struct segment *s, const struct merkle *tree, struct archive_check **ret);
void archive_check_free(struct archive_check *c); /* NULL is fine */
/* 1: go on; 0: it is what it should be; -EBADMSG and why not, or -errno. */
int archive_check_slice(struct archive_check *c, struct err *e);
const struct archive_checked *archive_check_result(const struct archive_check *c);

#endif
