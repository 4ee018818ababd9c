/*
 * A body that lies beside its record, from a running Postern.
 */
#ifndef POSTERN_CTL_AUDIT_BODY_H
#define POSTERN_CTL_AUDIT_BODY_H

#include <jansson.h>
#include <stdint.h>

struct buf;
struct chan;

/* Appends it, unchecked, and if asked for adds to *ret_private (a new array; else NULL) the entries
 * of its personal values. -ENOENT: it is not there. */
int audit_ask_body(
    struct chan *link, const char *log, uint64_t seq, json_t **ret_private, struct buf *ret);

#endif
