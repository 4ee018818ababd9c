/*
 * The tree that an image is unpacked to. Names are those of name_clean(); every one is looked up
 * below the tree, without following links. What is removed is moved to a directory beside it and
 * taken apart there. Everything belongs to the unpacker until place_finish(): only then can a
 * directory be one that it may not write.
 */
#ifndef POSTERN_IMAGE_PLACE_H
#define POSTERN_IMAGE_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct err;
struct place;
struct tar_entry;

/* Borrows both. own: image_unpack.own. */
int place_new(int root, int trash, bool own, struct place **ret, struct err *e);
void place_free(struct place *p);

/* What is there: its type (S_IFMT), 0 for nothing, -errno. */
int place_look(struct place *p, const char *name);
/* -ENOENT is no error. */
int place_remove(struct place *p, const char *name, struct err *e);
/* All that is in a directory; no directory is no error. */
int place_empty(struct place *p, const char *name, struct err *e);
/* Nothing may be there, but for a directory that place_dir() is asked for. Missing directories
 * above are made. */
int place_dir(struct place *p, const char *name, const struct tar_entry *x, struct err *e);
/* *ret_fd is the caller's, who writes, and then asks for place_file_done(). */
int place_file(struct place *p, const char *name, int *ret_fd, struct err *e);
int place_file_done(struct place *p, int fd, const struct tar_entry *x, struct err *e);
int place_symlink(struct place *p, const char *name, const char *target, struct err *e);
/* target: a clean name of a file or symbolic link in the tree. */
int place_link(struct place *p, const char *name, const char *target, struct err *e);
/* Modes, owners and times of directories. */
int place_finish(struct place *p, struct err *e);

#endif
