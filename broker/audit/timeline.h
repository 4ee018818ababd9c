/*
 * What happened in one session, from its records: who, from where, what was granted, each command
 * with how it ended, credentials, refusals, and the end. The answer is one JSON object, for
 * programs as it is, for people by broker/ctl/audit_timeline.c.
 *
 *   {"session","conn","log","state": "open" | "ended" |
 * "lost","person","role","task","peer","route",
 *    "key","key_id","serial","ca","template","started","ended","lasted_ms","reason","records",
 *    "grant": {...}, "limits": {...}, "totals": {...},
 *    "events": [{"seq","time","at_ms","what", ...}], "more_events"}
 *
 * what: command {"channel","kind","command","forced","pty","ended","ms","exit","signal","bytes_in",
 * "bytes_out","bytes_err","reason"}; credential {"kind","audience","lease","expires","ended",
 * "reason"}; refusal {"class","reason", ...}; other {"class","body"}. A class that is not in the
 * table of timeline.c is such an other: nothing of a session is left out.
 *
 * Fed records in their order, parsed, with personal values revealed.
 */
#ifndef POSTERN_AUDIT_TIMELINE_H
#define POSTERN_AUDIT_TIMELINE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define TIMELINE_EVENTS_MAX 10000 /* what is over is counted */

struct timeline;

/* conn: the session's connection, NULL if that is not known: it is learned from the session's first
 * record, and what came before it is not seen. NULL without memory. */
struct timeline *timeline_new(const char *session, const char *conn);
void timeline_free(struct timeline *t);
/* -ENOMEM. A record of another session changes nothing. */
int timeline_add(struct timeline *t, const json_t *record);
const char *timeline_conn(const struct timeline *t); /* "" while it is not known */
const json_t *timeline_json(const struct timeline *t);
/* Whether its grant, its start and its end were seen. */
bool timeline_has(const struct timeline *t, const char *what); /* "grant", "started", "ended" */

/* Nanoseconds of a record's time; -1: not one. */
int64_t timeline_time(const char *text);

#endif
