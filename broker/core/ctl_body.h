/*
 * A body that lies beside its record, for operators and for the exporter, in pieces that fit a
 * message.
 */
#ifndef POSTERN_CORE_CTL_BODY_H
#define POSTERN_CORE_CTL_BODY_H

#include <stdbool.h>

struct buf;
struct err;
struct msg;
struct peer;

/* Answers m, which says `at` (not more than there is), with a piece of b. values: the personal ones
 * of all of it come with the first. */
void body_piece(
    struct peer *p, const struct msg *m, const char *type, const struct buf *b, bool values);
int ctl_body(struct peer *p, struct msg *m, struct err *e);

#endif
