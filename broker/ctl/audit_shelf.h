/*
 * The records of the archive's segments, for whoever shows them before those that the log still
 * has.
 */
#ifndef POSTERN_CTL_AUDIT_SHELF_H
#define POSTERN_CTL_AUDIT_SHELF_H

#include <jansson.h>
#include <stdbool.h>

#include "broker/ctl/audit_source.h"

struct ctl;

/* Those of --archive DIR (without it: nothing), log after log; --log NAME: only of this one. Notes
 * in `seen` (an object) up to which record each log was handed on. EXIT_OK, what fn answered, or an
 * exit status with its reason said. */
int audit_shelf_walk(struct ctl *c, json_t *seen, audit_fn fn, void *arg);
/* Whether it was handed on already. */
bool audit_shelf_seen(const json_t *seen, const struct audit_record *r);

#endif
