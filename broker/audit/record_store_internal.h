/*
 * What the files of record_store share. Nobody else includes it.
 *
 *   record_store.c   what is taken, and the log as its users see it
 *   record_commit.c  the writer
 *   record_log.c     one log
 */
#ifndef POSTERN_AUDIT_RECORD_STORE_INTERNAL_H
#define POSTERN_AUDIT_RECORD_STORE_INTERNAL_H

#include "broker/audit/record_log.h"
#include "broker/audit/record_store.h"
#include "lib/buf.h"

struct loop_source;

struct record_store {
	struct record_log base;
	struct store *store;
	struct record_options o;
	struct private_values *values;
	struct loop_source *commit, *retry, *ack, *tell;
	struct record_share strangers;
	struct record_log_state *logs, *turn; /* by number; whose record was taken last */
	uint32_t next_number;
	struct waiting *finished, **finished_end; /* to be told */
	struct buf scratch;
	struct buf spill; /* a body beside its record */
	int64_t time_ns;  /* the newest record's of all logs */
	size_t nwaiting;
	bool ack_armed, tell_armed, delivering;
};

static inline struct record_store *record_self(struct record_log *l)
{
	return (struct record_store *)l;
}

/* Takes at most max of what waits and writes it, with what store_later() has queued, in one
 * transaction. What was written or not is to be told by record_deliver(). */
int record_commit(struct record_store *s, size_t max);
void record_deliver(struct record_store *s);
/* How many go into one transaction now. */
size_t record_group(const struct record_store *s);
struct waiting *record_take(struct record_store *s, size_t max);
void record_finish(struct record_store *s, struct waiting *w, int r);
/* Refuses what has waited too long without having been written; the timer is armed again if
 * something waits still. */
void record_expire(struct record_store *s);
/* Whose share of the log the record is of; NULL: nobody's. */
struct record_share *record_share_of(struct record_store *s, const struct waiting *w);
uint64_t record_quota(const struct record_store *s, const struct waiting *w); /* 0: none */
void record_newest_time(struct record_store *s);

#endif
