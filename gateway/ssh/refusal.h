/*
 * Refused connections, told to the core in few words: the first of its reason at once, the others
 * counted and told together, at most one message a reason each LISTENER_REFUSED_S.
 */
#ifndef POSTERN_GATEWAY_REFUSAL_H
#define POSTERN_GATEWAY_REFUSAL_H

#include <stdint.h>

struct chan;

enum refusal_reason {
	REFUSAL_TOTAL,
	REFUSAL_SOURCE,
	REFUSAL_NO_WORKER,
	REFUSAL_MEMORY,
	REFUSAL_REASONS
};

struct refusals {
	struct {
		uint32_t count; /* not told yet */
		int64_t told_ns;
		char peer[64]; /* the last one */
	} of[REFUSAL_REASONS];
};

/* As conn.refused says it. */
const char *refusal_text(enum refusal_reason why);
/* Counts one; peer is copied. refusal_tell() sends it. */
void refusal_note(struct refusals *r, enum refusal_reason why, const char *peer);
/* Sends what is due. core may be NULL: then it waits. Returns when to call again, INT64_MAX: not
 * needed. */
int64_t refusal_tell(struct refusals *r, struct chan *core, int64_t now_ns);

#endif
