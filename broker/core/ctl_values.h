/*
 * The personal values that records commit to, for an operator who may see them.
 */
#ifndef POSTERN_CORE_CTL_VALUES_H
#define POSTERN_CORE_CTL_VALUES_H

#include <jansson.h>
#include <stddef.h>

struct core;

#define CTL_VALUES_MAX   128
#define CTL_VALUES_BYTES (24u * 1024) /* of base64 in one answer */

/* Adds to the set (keys of an object) every commitment in these bytes, up to CTL_VALUES_MAX. */
void ctl_values_find(json_t *set, const char *data, size_t len);
/* Salt and value of each that is not erased: new. */
json_t *ctl_values(struct core *c, json_t *set);

#endif
