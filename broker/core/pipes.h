/*
 * The descriptors of one channel: three pipes and a status pipe, or a terminal and a status pipe.
 * Each end is closed here unless it was handed out.
 */
#ifndef POSTERN_CORE_PIPES_H
#define POSTERN_CORE_PIPES_H

#include <stdbool.h>
#include <stddef.h>

#define PIPES_MAX 4

struct pipes {
	size_t n;
	int inner[PIPES_MAX]; /* to init: stdin, stdout, stderr, status; or slave, status */
	int outer[PIPES_MAX]; /* to the worker, in the same order */
};

/* roomy: ask for larger pipes. 0 or -errno, nothing is open then. */
int pipes_make(struct pipes *p, bool roomy);
/* Takes master and slave over, also on failure. */
int pipes_make_pty(struct pipes *p, int master, int slave);
void pipes_close(struct pipes *p);

#endif
