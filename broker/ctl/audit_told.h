/*
 * What the host's log tells of the tenants' logs: their checkpoints, as it has them on record.
 */
#ifndef POSTERN_CTL_AUDIT_TOLD_H
#define POSTERN_CTL_AUDIT_TOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/audit/ranges.h"
#include "lib/str.h"

/* Of one log. Of very many checkpoints every other is forgotten, again and again: a log that was
 * written anew differs at every later size. */
#define TOLD_MAX 16384

struct told {
	char log[NAME_MAX_LEN + 1];
	uint64_t size;
	char *note; /* the newest */
	bool met;
	struct ranges_told *list;
	size_t n, max, every, passed; /* one of `every` is kept, and so many came since */
	struct {
		uint64_t from, to;
	} shrunk[16]; /* times that it became smaller */
	size_t nshrunk;
};
struct audit_told {
	struct told *list;
	size_t n;
};

void audit_told_done(struct audit_told *t);
/* A record of the host's log. -ENOMEM. */
int audit_told_record(struct audit_told *t, const void *data, size_t len);
/* NULL: it tells nothing of this log. */
struct told *audit_told_of(struct audit_told *t, const char *log);
/* All but the newest, which is for an anchor. -ENOMEM. */
int audit_told_give(const struct told *t, struct ranges *r);

#endif
