/*
 * What `postern audit` reads: a file, a running Postern, or its store when none runs; and how it
 * writes what it found.
 *
 * LMDB maps the core's file as it finds it, and is not made for a hostile one. So whoever opens the
 * store as root becomes its owner first, for good: a core that was taken over gains nothing by a
 * look at its log. What is to be written has to be opened before.
 */
#ifndef POSTERN_CTL_AUDIT_ORIGIN_H
#define POSTERN_CTL_AUDIT_ORIGIN_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct chan;
struct ctl;
struct err;
struct store;

/* One of three is set. */
struct audit_origin {
	struct chan *link;
	struct store *store;
	FILE *file;                /* a segment of the archive reads as the bundle in it */
	int fd;                    /* below it then, else -1 */
	char where[PATH_MAX + 32]; /* for people */
};

/* file: a path, or NULL; offline: never asks a daemon. EXIT_OK, or an exit status with its reason
 * said. */
int audit_origin_open(
    const struct ctl *c, const char *file, bool offline, struct audit_origin *ret);
void audit_origin_done(struct audit_origin *o);

/* Never waits for whoever would write into a pipe. A descriptor; -1 with errno; -EMEDIUMTYPE: there
 * is something else than a file. */
int audit_open_regular(const char *path);

/* For good: root becomes whoever owns the directory, unless that is root. */
int audit_become_owner(int dir, struct err *e);
/* A file to be written later; path NULL: *ret_fd is -1. What it held stays until audit_put(). */
int audit_create(const char *path, int *ret_fd);
/* Into fd, or to standard output when fd < 0. EXIT_OK, or EXIT_FAILED with its reason said. */
int audit_put(int fd, const char *path, const void *data, size_t len);
/* Runs fn in a child of a moment, which may become somebody else. Its answer as an exit status. */
int audit_in_child(int (*fn)(void *arg), void *arg);

#endif
