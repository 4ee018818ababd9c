/*
 * Where records come from: a running Postern (page by page), its files when none runs, a bundle, or
 * an exported log of a record a line. The reader gets the bytes as they were stored, in order, and
 * a page at a time is all that is held.
 */
#ifndef POSTERN_CTL_AUDIT_SOURCE_H
#define POSTERN_CTL_AUDIT_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/str.h"

struct audit_source;
struct buf;
struct ctl;
struct verify;

struct audit_record {
	const char *log; /* whose record this is */
	uint64_t seq;
	const void *data; /* as stored; valid during the call */
	size_t len;
	const void *body; /* beside it, if the source has told it already; else NULL */
	size_t body_len;
	struct audit_source *source; /* for audit_reveal(), audit_body() */
};

/* 0 to go on; anything else ends the walk and is its result. */
typedef int (*audit_fn)(const struct audit_record *r, void *arg);

/* file: an exported log, or NULL; offline: never asks a daemon. EXIT_OK and *ret, or an exit status
 * with its reason said. */
int audit_open(const struct ctl *c, const char *file, bool offline, struct audit_source **ret);
void audit_close(struct audit_source *s);
const char *audit_where(const struct audit_source *s); /* for people */
/* Only this log's records (borrowed); NULL: all. */
void audit_only(struct audit_source *s, const char *log);
/* After a walk: false if there is none of those it was to have. A file is not asked. */
bool audit_has_logs(const struct audit_source *s);
/* Personal values are wanted: a running Postern records that they were read. */
void audit_want_values(struct audit_source *s);

/* Every record of every log that has come since the last walk (the first one: all). by_log: log
 * after log, the host's first; else all in the order of their times. EXIT_OK, what fn answered, or
 * an exit status with its reason said. */
int audit_walk(struct audit_source *s, bool by_log, audit_fn fn, void *arg);
/* The next walk begins with the first record that is not before this time (the text of a record's
 * time, or its beginning); NULL: with the first of all. A file is always read from its beginning.
 */
int audit_seek(struct audit_source *s, const char *time);
/* The running Postern again, after it went away: the next walk goes on where the last one was.
 * EXIT_OK; else an exit status, not said. EXIT_USAGE: this source is none. */
int audit_again(const struct ctl *c, struct audit_source *s);

/* During a walk: the personal value behind a commitment. 0; -ENOENT: erased; -ENODATA: this source
 * does not know. */
int audit_reveal(struct audit_source *s, const char *text, size_t len, struct buf *ret);
/* During a walk: the body that lies beside a record, checked. 0; -ENOENT: it is not there;
 * -EBADMSG: it is not what the record names. */
int audit_body(const struct audit_record *r, struct buf *ret);

/* Where to look for a session. All empty: nobody knows, look everywhere. */
struct audit_hint {
	char log[NAME_MAX_LEN + 1], conn[40];
	char since[32]; /* when it began */
};
void audit_find_session(struct audit_source *s, const char *id, struct audit_hint *ret);

/* audit_chain.c: all chains, with their heads and trees where the source keeps them; v->seq counts
 * all records, the rest is of the last log. EXIT_OK, EXIT_BROKEN, EXIT_MISSING, EXIT_UNREADABLE;
 * the reason is said on stderr. */
int audit_prove(struct audit_source *s, struct verify *v);

static inline void audit_cleanup(struct audit_source **s)
{
	audit_close(*s);
}
#define cleanup_audit __attribute__((cleanup(audit_cleanup)))

#endif
