/* Between pull.c and pull_walk.c alone: a walk that is forgotten ends with its next page. */
#ifndef POSTERN_EXPORT_PULL_INTERNAL_H
#define POSTERN_EXPORT_PULL_INTERNAL_H

#include <stdbool.h>

#include "broker/export/pull.h"

bool pull_is_walk(pull_fn fn); /* the question's arg is then a walk */
void pull_walk_free(void *walk);
/* Whether the walk is of this arg; it is then forgotten. */
bool pull_walk_of(void *walk, const void *arg);

#endif
