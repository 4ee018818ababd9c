/*
 * One file of an image's tar as a stream: as it lies there, its digest watched, or what it is
 * decompressed to, bounded. What was read counts only once blob_finish() has agreed.
 */
#ifndef POSTERN_IMAGE_BLOB_H
#define POSTERN_IMAGE_BLOB_H

#include <sys/types.h>

#include "broker/image/unpack.h"
#include "lib/digest.h"

struct blob;
struct buf;

/* 64 lower-case hexadecimal digits. */
bool blob_digest_valid(const char *hex);

/* name: of the file in the tar, as layout.h finds it. hex: its digest, NULL: not known. -ENOENT. */
int blob_open(int fd, const char *name, const char *hex, bool inflate,
    const struct image_limits *limits, struct blob **ret, struct err *e);
void blob_free(struct blob *b);
/* A tar_read_fn. */
ssize_t blob_read(void *blob, const void **ret, struct err *e);
/* Reads what is left. -EBADMSG: not the digest it should have. plain[DIGEST_LEN]: of what
 * blob_read() gave; may be NULL. */
int blob_finish(struct blob *b, uint8_t *plain, struct err *e);
/* The whole file, at most b->max bytes. */
int blob_load(int fd, const char *name, const char *hex, struct buf *b, struct err *e);

#endif
