/*
 * A session's watch process, as spawn sees it (broker/watch/main.c): started before the sandbox, so
 * that it runs nothing foreign when the first notification comes, and given the seccomp listener by
 * the child that becomes init.
 *
 * Spawn sleeps in vfork(2) while that child executes init, which the watch has to answer. If the
 * watch dies meanwhile the listener is closed, the execve fails with ENOSYS, and so does the start.
 * Nothing of the sandbox runs yet, so nothing can make the watch hang.
 */
#ifndef POSTERN_SPAWN_WATCHED_H
#define POSTERN_SPAWN_WATCHED_H

#include <sys/types.h>

struct err;
struct host;

struct watched {
	pid_t pid;
	int pidfd;
	int link;    /* the core's end */
	int control; /* says that it is ready, carries the listener; shut down: the end */
};

#define WATCHED_NONE                                                                               \
	{                                                                                          \
		-1, -1, -1, -1                                                                     \
	}

/* Returns when it is confined and waits. 0 or -errno, then nothing is left. */
int watched_start(struct host *h, int userns, struct watched *ret, struct err *e);
/* In the child, system calls only: from here on its programs are notified. */
int watched_enter(int control);
/* Kills it and waits for it; WATCHED_NONE is fine. */
void watched_end(struct watched *w);

#endif
