/*
 * What operators may read of the seals: a log's checkpoints and epoch notes.
 */
#ifndef POSTERN_CORE_CTL_NOTES_H
#define POSTERN_CORE_CTL_NOTES_H

struct err;
struct msg;
struct peer;

int ctl_notes(struct peer *p, struct msg *m, struct err *e);

#endif
