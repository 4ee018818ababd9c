/*
 * One name in one directory of a hostile tree: what it is, its bytes' hash, its link's target.
 */
#ifndef POSTERN_WALK_LOOK_H
#define POSTERN_WALK_LOOK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct change;
struct changes;

/* 0, -ENOENT, ... */
int look_stat(int dir, const char *name, struct stat *ret);
bool look_whiteout(const struct stat *st);
/* A directory to be read. -errno; -ELOOP for a link, -EXDEV for another mount. */
int look_dir(int dir, const char *name);
/* A regular file to be read. -errno; -EINVAL for anything else. */
int look_file(int dir, const char *name);
/* Digest, skipped, unstable and the gate's flags of the one that has been looked at. */
void look_into(
    struct changes *c, int dir, const char *name, const struct stat *st, struct change *ret);
/* The digest alone, of one that lies below. False: it was not made. */
bool look_digest(
    struct changes *c, int dir, const char *name, const struct stat *st, uint8_t ret[32]);

#endif
