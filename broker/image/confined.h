/*
 * Unpacks an image in a child that is nobody: it reads one descriptor, writes one directory, and
 * can do nothing else (Landlock, seccomp, no capability but to set owners and modes of what it has
 * open, no process, bounded memory and time). Without Landlock it does not start.
 */
#ifndef POSTERN_IMAGE_CONFINED_H
#define POSTERN_IMAGE_CONFINED_H

#include <sys/types.h>

#include "broker/image/unpack.h"

#define CONFINED_ID 65534

/* fd: a regular file at any offset. dir: empty; it is given to the child's id. u->own is set by
 * whether we are root. Also -EPROTO: the child ended without a word. */
int confined_unpack(
    int fd, int dir, const struct image_unpack *u, struct image_counts *ret, struct err *e);

/* The child's part: out is what it tells by, parent whom it does not outlive. Irreversible. */
int confined_enter(int fd, int dir, int out, pid_t parent, bool own, uint64_t file_bytes);

#endif
