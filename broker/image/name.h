/*
 * Names in the tars of images.
 */
#ifndef POSTERN_IMAGE_NAME_H
#define POSTERN_IMAGE_NAME_H

#include <stddef.h>

/* Without "./", doubled and trailing slashes; "" is the tree itself. ret[TAR_NAME_MAX + 1];
 * *ret_base (may be NULL) points into ret at the last component, *ret_depth counts them. -EINVAL:
 * absolute, with a "..", or with a component that is longer than NAME_MAX. */
int name_clean(const char *name, char *ret, char **ret_base, unsigned *ret_depth);

#endif
