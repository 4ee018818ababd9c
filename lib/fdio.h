/*
 * Descriptors and files. Everything is CLOEXEC at birth. Depends on libc, lib/buf, lib/err.
 */
#ifndef POSTERN_LIB_FDIO_H
#define POSTERN_LIB_FDIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct buf;
struct err;

/* 0 or -errno. */
int fd_set_nonblock(int fd, bool on);
int fd_set_cloexec(int fd, bool on);
/* All of it, or -errno; EINTR retried, EAGAIN polled for (no deadline:
 * for files and blocking fds). */
int fd_write_full(int fd, const void *data, size_t len);
/* Exactly len bytes; -ENODATA at an early end. */
int fd_read_full(int fd, void *data, size_t len);
/* The whole file into b, -EFBIG beyond max. dirfd may be AT_FDCWD. The file must be regular. */
int fd_read_file(int dirfd, const char *path, size_t max, struct buf *b, struct err *e);
/* Writes NAME.tmp, fsync, rename over NAME, fsync of the directory. */
int fd_write_file(
    int dirfd, const char *name, const void *data, size_t len, mode_t mode, struct err *e);
/* openat2 with RESOLVE_BENEATH|RESOLVE_NO_MAGICLINKS|RESOLVE_NO_SYMLINKS (openat2(2)). */
int fd_open_beneath(int dirfd, const char *path, int flags, mode_t mode);
/* As openat(O_DIRECTORY), created with mode if missing. Returns the descriptor or -errno. */
int fd_open_dir(int dirfd, const char *path, mode_t create_mode);
/* An AF_UNIX SOCK_SEQPACKET pair, CLOEXEC, non-blocking. */
int fd_seqpacket_pair(int ret[2]);
/* pidfd_open(2). */
int fd_pidfd_open(pid_t pid);
/* getrandom(2), all of it. */
void fd_random(void *data, size_t len);

#endif
