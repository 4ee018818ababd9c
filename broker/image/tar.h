/*
 * Tars as streams: the one user of libarchive. A tar is read from a file, or from whatever hands
 * out bytes, so that one can lie in another one, compressed. Nothing is written, nothing is kept
 * beyond an entry.
 *
 * libarchive holds a long name, a link's target and PAX attributes to 1 MiB each; here a name that
 * is longer than TAR_NAME_MAX is refused.
 */
#ifndef POSTERN_IMAGE_TAR_H
#define POSTERN_IMAGE_TAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;
struct tar;

#define TAR_NAME_MAX 4095

enum tar_type { TAR_FILE, TAR_DIR, TAR_SYMLINK, TAR_HARDLINK, TAR_DEVICE, TAR_OTHER };

struct tar_entry {
	enum tar_type type;
	const char *name, *target; /* valid until the next one; target: of links */
	mode_t mode;               /* permissions, setuid, setgid, sticky */
	int64_t uid, gid, size, mtime;
	bool xattrs, capability; /* has attributes; has security.capability */
};

/* The next bytes; 0: the end; -errno with e. They stay until the next call. */
typedef ssize_t tar_read_fn(void *arg, const void **ret, struct err *e);

/* From the start of a regular file, which is not compressed. */
int tar_open_file(int fd, struct tar **ret, struct err *e);
int tar_open(tar_read_fn *read, void *arg, struct tar **ret, struct err *e);
/* No tar: bytes that may be compressed by gzip or zstd. tar_data() hands out what they come to. */
int tar_open_inflate(tar_read_fn *read, void *arg, struct tar **ret, struct err *e);
void tar_free(struct tar *t);
/* 1, 0 at the end, or -errno. */
int tar_next(struct tar *t, struct tar_entry *ret, struct err *e);
/* The next piece of the entry and where it belongs: what is between pieces is zeros. 1, 0, -errno.
 */
int tar_data(struct tar *t, const void **ret, size_t *ret_len, uint64_t *ret_at, struct err *e);

#endif
