/*
 * Where records come from: a running Postern (page by page), its files when none runs, or an
 * exported log. The reader gets the bytes as they were stored, in order.
 */
#ifndef POSTERN_CTL_AUDIT_SOURCE_H
#define POSTERN_CTL_AUDIT_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct audit_source;
struct ctl;
struct verify;

struct buf;

struct audit_record {
	const char *log; /* whose record this is */
	uint64_t seq;
	const void *data; /* as stored; valid during the call */
	size_t len;
	struct audit_source *source; /* for audit_reveal() */
};

/* 0 to go on; anything else ends the walk and is its result. */
typedef int (*audit_fn)(const struct audit_record *r, void *arg);

/* file: an exported log, or NULL; offline: never asks a daemon. EXIT_OK and *ret, or an exit status
 * with its reason said. */
int audit_open(const struct ctl *c, const char *file, bool offline, struct audit_source **ret);
void audit_close(struct audit_source *s);
const char *audit_where(const struct audit_source *s); /* for people */
/* Every record of every log that has come since the last walk (the first one: all). by_log: log
 * after log, the host's first; else all in the order of their times. EXIT_OK, what fn answered, or
 * an exit status with its reason said. */
int audit_walk(struct audit_source *s, bool by_log, audit_fn fn, void *arg);
/* During a walk: the personal value behind a commitment. 0; -ENOENT: erased; -ENODATA: this source
 * does not know. */
int audit_reveal(struct audit_source *s, const char *text, size_t len, struct buf *ret);
/* All chains, with their heads and trees where the source keeps them; v->seq counts all records,
 * the rest is of the last log. EXIT_OK, EXIT_BROKEN, EXIT_MISSING, EXIT_UNREADABLE; the reason is
 * said on stderr. */
int audit_prove(struct audit_source *s, struct verify *v);

static inline void audit_cleanup(struct audit_source **s)
{
	audit_close(*s);
}
#define cleanup_audit __attribute__((cleanup(audit_cleanup)))

#endif
