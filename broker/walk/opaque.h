/*
 * Whether a directory of an overlay's layer hides what is below it. The mark is an attribute that
 * only CAP_SYS_ADMIN can see (trusted.overlay.opaque), and who walks a hostile tree shall not have
 * that: so a process beside it does, which is handed one directory at a time, looks for this one
 * attribute and says yes or no. It reads no name and no byte of the tree.
 */
#ifndef POSTERN_WALK_OPAQUE_H
#define POSTERN_WALK_OPAQUE_H

#include <stdbool.h>

/* 1, 0 or -errno; by somebody who may see it. */
int opaque_look(int dirfd);
/* The process beside: answers until the link closes. Confine it first. */
void opaque_serve(int link);
/* Asks it. 1, 0 or -errno. */
int opaque_ask(int link, int dirfd);

#endif
