/*
 * A state directory that no Postern runs on, as long as its lock is held; and places in it that
 * change hands in one step.
 */
#ifndef POSTERN_CTL_STATE_DIR_H
#define POSTERN_CTL_STATE_DIR_H

#include <limits.h>
#include <sys/types.h>

struct ctl;

struct state_dir {
	int fd, lock;
	char path[PATH_MAX];
};
#define STATE_DIR_INIT                                                                             \
	{                                                                                          \
		-1, -1, ""                                                                         \
	}

/* make: a directory that is not there is made. EXIT_OK, or EXIT_FAILED with its reason said: a
 * Postern runs. */
int state_dir_open(const struct ctl *c, int make, struct state_dir *ret);
void state_dir_done(struct state_dir *s);
/* Who owns NAME in it; `other` if it is not there. */
uid_t state_dir_owner(const struct state_dir *s, const char *name, uid_t other);
/* Copies len bytes of `from` at `at` to `to`; -errno. */
int copy_bytes(int from, off_t at, int to, off_t len);

#endif
