/*
 * A body that lies beside its record, for operators, in pieces that fit a message.
 */
#ifndef POSTERN_CORE_CTL_BODY_H
#define POSTERN_CORE_CTL_BODY_H

struct err;
struct msg;
struct peer;

int ctl_body(struct peer *p, struct msg *m, struct err *e);

#endif
