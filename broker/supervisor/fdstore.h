/*
 * Descriptors that the core wants back after its death, each under a name.
 *
 * Bounded: at most FDSTORE_MAX. The store only keeps them, it never reads, writes or asks anything
 * of them. It knows no messages; links.c moves descriptors in and out.
 */
#ifndef POSTERN_SUPERVISOR_FDSTORE_H
#define POSTERN_SUPERVISOR_FDSTORE_H

#include <stdbool.h>
#include <stddef.h>

#define FDSTORE_MAX      8192
#define FDSTORE_NAME_MAX 64

struct fdstore;

struct fdstore *fdstore_new(void);    /* NULL without memory */
void fdstore_free(struct fdstore *s); /* closes all; NULL is fine */
/* Takes fd over, also on failure. A descriptor already there under this name is closed. -ENOSPC,
 * -ENOMEM, -EINVAL for a name that is empty or too long. */
int fdstore_put(struct fdstore *s, const char *name, int fd);
int fdstore_drop(struct fdstore *s, const char *name); /* -ENOENT */
size_t fdstore_count(const struct fdstore *s);
/* Closes everything; how many that were. */
size_t fdstore_clear(struct fdstore *s);

/* Handing out: after fdstore_rewind(), fdstore_next() gives each one that was there, once; false at
 * the end. What is put meanwhile is not handed out.
 * name and fd are borrowed until the next call. */
void fdstore_rewind(struct fdstore *s);
bool fdstore_next(struct fdstore *s, const char **ret_name, int *ret_fd);

#endif
