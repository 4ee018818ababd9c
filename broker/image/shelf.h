/*
 * STATE/images: HEX is the tree of the image whose file has that SHA-256. A tree is there as a
 * whole or not at all: it is made, and taken apart, as .tmp-*. Its user holds the lock of the
 * directory as long as it has it open.
 */
#ifndef POSTERN_IMAGE_SHELF_H
#define POSTERN_IMAGE_SHELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/image/unpack.h"
#include "lib/digest.h"

/* Made if it is missing. The descriptor; -EWOULDBLOCK: another one is at work. */
int shelf_open(const char *path, struct err *e);
/* The SHA-256 of a regular file; done(arg, bytes) now and then, may be NULL. */
int shelf_digest(int fd, char ret[DIGEST_HEX_LEN + 1], void (*done)(void *arg, uint64_t bytes),
    void *arg, struct err *e);
bool shelf_has(int shelf, const char *hex);
/* Unpacks the file, which must still be hex afterwards. */
int shelf_add(int shelf, int fd, const char *hex, const struct image_unpack *u,
    struct image_counts *ret, struct err *e);
/* Removes what a former one left, and each tree that keep(arg, hex) does not want; keep may be
 * NULL: all stay. *ret counts trees. */
int shelf_prune(
    int shelf, bool (*keep)(void *arg, const char *hex), void *arg, unsigned *ret, struct err *e);

#endif
