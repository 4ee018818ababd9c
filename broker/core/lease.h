/*
 * Leases: credentials lent to a session. Asked for by the session's lease process (handle_lease.c),
 * decided, recorded, minted, and handed out only if the session is still there. At most
 * LEASE_TTL_S, and never past the session.
 */
#ifndef POSTERN_CORE_LEASE_H
#define POSTERN_CORE_LEASE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/core/core.h"
#include "broker/core/grant.h"

struct peer;
struct session;

#define LEASE_TTL_S       600
#define LEASE_KIND_MAX    16
#define LEASE_PENDING_MAX 8   /* questions of one session at once */
#define LEASE_LIVE_MAX    256 /* of one session */
#define LEASE_RATE        5   /* questions a second, after a burst */
#define LEASE_BURST       100

enum lease_state { LEASE_ASKED, LEASE_MINTING, LEASE_GRANTED };

struct lease_entry {
	struct lease_entry *next;
	struct core *core;
	struct session *session;
	char id[CORE_ID_MAX + 1];
	char kind[LEASE_KIND_MAX + 1], audience[GRANT_AUDIENCE_MAX + 1];
	enum lease_state state;
	int64_t issued_s, expires_s;
	uint64_t peer, question; /* who waits for it */
};

/* Asks for one; p gets lease.granted or lease.denied under this id, maybe much later. */
void lease_get(
    struct session *s, struct peer *p, uint64_t question, const char *kind, const char *audience);
/* False if this session has no such lease. */
bool lease_release(struct session *s, const char *id);
/* The session ends: every lease ends before. */
void lease_end_all(struct session *s, const char *reason);
void lease_free_all(struct session *s); /* memory only */
/* Ends those whose time is over; once a minute. */
void lease_expire(struct core *c);
/* For a core that came back. */
void lease_restore(struct core *c);
/* [{"id","kind","audience","issued","expires","state"}], new. */
json_t *lease_list(const struct session *s);

#endif
