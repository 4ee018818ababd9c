/*
 * Erasing a person: every personal value that was recorded with them.
 */
#ifndef POSTERN_CORE_CTL_ERASE_H
#define POSTERN_CORE_CTL_ERASE_H

struct err;
struct msg;
struct peer;

int ctl_erase(struct peer *p, struct msg *m, struct err *e);

#endif
