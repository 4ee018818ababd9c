/*
 * How much of the log one may fill who is not trusted: a tenant, or all strangers together. Records
 * and bytes, in a time. Records are durable, so without this one agent that starts commands in a
 * loop fills the disk, and then nobody gets a session.
 *
 * Bytes are counted after they were written, so that nobody has to guess how long a record gets:
 * who owes some has to wait.
 */
#ifndef POSTERN_AUDIT_RECORD_SHARE_H
#define POSTERN_AUDIT_RECORD_SHARE_H

#include <stdbool.h>
#include <stdint.h>

struct record_options;

/* Tokens that come back at a rate, up to a burst. */
struct bucket {
	double tokens;
	int64_t at_ns;
};

struct record_share {
	struct bucket plain, critical, bytes;
};

/* One record more: whether there is room for it. */
bool record_share_take(
    struct record_share *s, const struct record_options *o, bool critical, int64_t now_ns);
/* It was written, and is so long. */
void record_share_spend(struct record_share *s, const struct record_options *o, uint64_t bytes);

#endif
