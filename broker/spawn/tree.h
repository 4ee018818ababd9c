/*
 * Small file work for skeletons, by directory descriptors. All return 0 or -errno; what exists
 * already is an error, as trees are made in fresh directories. Directories above a name must exist.
 */
#ifndef POSTERN_SPAWN_TREE_H
#define POSTERN_SPAWN_TREE_H

#include <stddef.h>
#include <sys/types.h>

#define TREE_FILE_MAX  (16u * 1024 * 1024)
#define TREE_NAMES_MAX 8192 /* entries copied of one directory */

int tree_dir(int at, const char *name, mode_t mode, uid_t owner);
int tree_write(int at, const char *name, const char *text);
/* A regular file; -ENOENT if it does not exist, -EACCES unless everybody may read it. */
int tree_copy_file(int from, const char *name, int at, const char *to, mode_t mode);
int tree_copy_link(int from, const char *name, int at, const char *to);
/* Files that everybody may read, and links, of one directory (not its subdirectories). -ENOENT if
 * it does not exist. */
int tree_copy_dir(int from, const char *name, int at, const char *to);

#endif
