/*
 * The file of a backup: a tar (POSIX ustar) of regular files, so that any tar can list and unpack
 * it. The reader takes what the writer writes and nothing else: any other byte of a head, or of the
 * room between files, is refused, as are names that lead elsewhere.
 */
#ifndef POSTERN_CTL_TARFILE_H
#define POSTERN_CTL_TARFILE_H

#include <stddef.h>
#include <stdint.h>

struct err;

#define TAR_BLOCK     512
#define TAR_NAME_MAX  99
#define TAR_FILES_MAX 1024

struct tar_entry {
	char name[TAR_NAME_MAX + 1];
	uint64_t at, size; /* of its content in the file */
};
struct tar_index {
	struct tar_entry entry[TAR_FILES_MAX];
	size_t n;
};

/* Leaves room for a head at *at, which is a multiple of TAR_BLOCK, and puts fd's position behind
 * it. */
int tar_begin(int fd, uint64_t at, struct err *e);
/* The content is written, up to fd's position: its head, and zeros up to the next block, *ret_next.
 */
int tar_finish(int fd, uint64_t at, const char *name, uint64_t *ret_next, struct err *e);
int tar_add(int fd, uint64_t *at, const char *name, const void *data, size_t len, struct err *e);
int tar_end(int fd, uint64_t at, struct err *e);

/* -EBADMSG. */
int tar_read(int fd, struct tar_index *ret, struct err *e);
const struct tar_entry *tar_find(const struct tar_index *t, const char *name);

#endif
