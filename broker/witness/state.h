/*
 * What a witness remembers, one directory:
 *
 *   lock          held while it runs
 *   key           its key (broker/witness/key.h)
 *   logs/HEX      the newest checkpoint that it cosigned of one log, HEX being SHA-256 of the
 * origin: the note itself, with the log's signature and the witness's own forks/HEX.kept,
 * forks/HEX.other two checkpoints of one size that the log signed both: proof that it forked
 *
 * A file of logs/ is believed only if the witness's own cosignature on it holds, so a damaged or
 * planted one is an error (-EUCLEAN), never a log without history. A file is replaced by rename
 * after fsync, and the directory is synced: when witness_state_save() has answered 0, it is on
 * disk.
 *
 * A missing logs/ beside a key that is there is refused: a witness that forgot everything
 * would cosign anything once more.
 */
#ifndef POSTERN_WITNESS_STATE_H
#define POSTERN_WITNESS_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "creds/note.h"

struct buf;
struct err;

struct witness_state {
	int dir, logs, forks, lock; /* -1: not open */
};

/* What is known of one log. */
struct witness_log {
	char file[2 * DIGEST_LEN + 1];
	bool bad; /* cannot be read; nothing below is set but forked */
	struct checkpoint point;
	int64_t time_s; /* of the cosignature */
	bool forked;
};

/* Opens, and with create makes what is missing: mode 0700, owner uid and gid when we are root and
 * they are not (uid_t)-1. -ENOENT without create; -EUCLEAN: logs/ is gone;
 * -ENOTEMPTY: a directory of somebody else's. */
int witness_state_open(
    struct witness_state *s, const char *path, bool create, uid_t uid, gid_t gid, struct err *e);
/* -EBUSY: a witness runs. */
int witness_state_lock(struct witness_state *s, struct err *e);
void witness_state_close(struct witness_state *s);

/* own: the witness's key. 0 and *ret filled, or -ENOENT: never seen; -EUCLEAN: damaged; -errno. */
int witness_state_load(const struct witness_state *s, const struct note_key *own,
    const char *origin, struct witness_log *ret, struct err *e);
/* The whole note. Only when it answers 0 may the cosignature leave. */
int witness_state_save(
    const struct witness_state *s, const char *origin, const void *note, size_t len, struct err *e);
/* Keeps other beside what is in logs/, unless a fork of this log is kept already: 1 then. */
int witness_state_fork(const struct witness_state *s, const char *origin, const void *other,
    size_t len, struct err *e);
/* Every file of logs/, in the order of their names. fn answers 0 to go on. */
typedef int (*witness_log_fn)(const struct witness_log *l, void *arg);
int witness_state_each(const struct witness_state *s, const struct note_key *own, witness_log_fn fn,
    void *arg, struct err *e);
/* -ENOENT. */
int witness_state_forget(const struct witness_state *s, const char *origin, struct err *e);

#endif
