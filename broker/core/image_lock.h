/*
 * CONFIGDIR/images.lock: which images were unpacked, one a line in sha256sum's form:
 *
 *   64 lower-case hexadecimal digits, two spaces, the absolute path of the image, a newline
 *
 * The digits name the tree below STATE/images. Of two lines for one file the last counts. Who
 * builds an image writes the whole file anew and renames it.
 */
#ifndef POSTERN_CORE_IMAGE_LOCK_H
#define POSTERN_CORE_IMAGE_LOCK_H

#include <stdbool.h>
#include <stddef.h>

#include "broker/spawn/plan.h"

struct err;

#define IMAGE_LOCK_FILE     "images.lock"
#define IMAGE_LOCK_SIZE_MAX (512u * 1024)

/* Every line is one. -EINVAL with file and line. */
int image_lock_check(const char *text, size_t len, struct err *e);
/* The digits for this file. False, and *ret is empty: there are none. */
bool image_lock_find(
    const char *text, size_t len, const char *file, char ret[PLAN_IMAGE_HEX_LEN + 1]);

#endif
