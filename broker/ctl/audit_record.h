/*
 * A record of a source as people see it: parsed, its body in its place, personal values revealed.
 */
#ifndef POSTERN_CTL_AUDIT_RECORD_H
#define POSTERN_CTL_AUDIT_RECORD_H

#include <jansson.h>
#include <stdbool.h>

struct audit_record;

/* EXIT_OK and *ret (new); else said on stderr. with_body: what lies beside it, too; the member
 * "body_missing" or "body_broken" says that it could not be had. */
int audit_record_json(const struct audit_record *r, bool with_body, json_t **ret);

#endif
