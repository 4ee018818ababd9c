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

/* 0 to go on; anything else ends the walk and is its result. */
typedef int (*audit_fn)(uint64_t seq, const void *data, size_t len, void *arg);

/* file: an exported log, or NULL; offline: never asks a daemon. EXIT_OK and *ret, or an exit status
 * with its reason said. */
int audit_open(const struct ctl *c, const char *file, bool offline, struct audit_source **ret);
void audit_close(struct audit_source *s);
const char *audit_where(const struct audit_source *s); /* for people */
/* Every record from `from` on that there is now. EXIT_OK, what fn answered, or an exit status with
 * its reason said. */
int audit_walk(struct audit_source *s, uint64_t from, audit_fn fn, void *arg);
/* The whole chain, with its head where the source keeps one. EXIT_OK, EXIT_BROKEN, EXIT_MISSING,
 * EXIT_UNREADABLE; the reason is said on stderr. */
int audit_prove(struct audit_source *s, struct verify *v);

static inline void audit_cleanup(struct audit_source **s)
{
	audit_close(*s);
}
#define cleanup_audit __attribute__((cleanup(audit_cleanup)))

#endif
