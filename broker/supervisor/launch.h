/*
 * One program, started with exactly the descriptors it is given: 0 is /dev/null, 1 and 2 are our
 * stderr, fds[i] becomes 3 + i, and nothing else is open. It gets a session of its own, so that a
 * terminal's Ctrl-C reaches us alone, and an environment of the few names that a daemon may read.
 */
#ifndef POSTERN_SUPERVISOR_LAUNCH_H
#define POSTERN_SUPERVISOR_LAUNCH_H

#include <stddef.h>
#include <sys/types.h>

struct err;

#define LAUNCH_ARGS_MAX 96
#define LAUNCH_ARG_LEN  64
#define LAUNCH_FDS_MAX  80 /* a workspace has many layers */

/* Whom the OOM killer takes (proc(5), oom_score_adj): sandboxes first, then who serves one session,
 * then who serves one connection; those that all need keep their parent's score. */
#define LAUNCH_OOM_WORKER  100
#define LAUNCH_OOM_SESSION 300
#define LAUNCH_OOM_SANDBOX 900

struct launch {
	int dirfd;        /* of the programs; borrowed */
	const char *name; /* "postern-core" */
	char args[LAUNCH_ARGS_MAX][LAUNCH_ARG_LEN];
	size_t nargs;
	int fds[LAUNCH_FDS_MAX]; /* borrowed */
	size_t nfds;
	int oom; /* 0: as its parent's */
};

void launch_init(struct launch *l, int dirfd, const char *name);
/* An argument after the program's name. More or longer ones than there is room for are
 * our own bug. */
void launch_arg(struct launch *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The next descriptor; with a name also the argument NAME=FD. */
void launch_fd(struct launch *l, const char *name, int fd);
/* The child's pid, or -errno. A program that cannot be executed ends with status 127 and a line on
 * stderr. */
pid_t launch_run(const struct launch *l, struct err *e);

#endif
