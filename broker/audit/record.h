/*
 * The record seam: every decision and every start and end, durable before the action.
 *
 * Callers know neither LMDB nor hashes. A record is one line of JSON: the envelope {"v":1, "seq",
 * "time" (UTC, never running behind the newest record), "boot", "mono_ns", "class", "tenant",
 * "subject": {...}, "body": {...}, "prev": hex}. It is hashed as the bytes stored; "prev" is the
 * SHA-256 of the record before it.
 *
 * record_append() queues; the batch is committed once at the end of the event loop's turn, and the
 * callbacks run after the commit: a caller acts there. If the commit fails every callback gets the
 * error and nothing is done: a log that cannot be written stops the action, not the log.
 */
#ifndef POSTERN_AUDIT_RECORD_H
#define POSTERN_AUDIT_RECORD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct err;

/* Bytes of one record: 64 KiB less one, since the length in a bundle of c2sp.org/tlog-tiles has 16
 * bits. It fits MSG_ITEM_MAX, and one always fits a message. A longer body lies beside it: body.h.
 */
#define RECORD_MAX 65535u

struct record_log;

/* r: 0 and the sequence number, or -errno. */
typedef void (*record_fn)(int r, uint64_t seq, void *arg);

struct record_ops {
	/* Takes over body and subject (both may be NULL). done may be NULL. critical: the caller
	 * waits for it. 1: one too many to be written, so it was only counted (never with done).
	 * -EBUSY, -EDQUOT: its tenant, or strangers, have filled their share of the log. */
	int (*append)(struct record_log *l, const char *class_name, const char *tenant,
	    json_t *subject, json_t *body, bool critical, record_fn done, void *arg);
	int (*flush)(struct record_log *l); /* commits now */
	/* 0, or -ETIME when the clock has stepped back behind the newest record by more than is
	 * tolerated. */
	int (*clock_ok)(struct record_log *l, struct err *e);
	/* The operator says so; recorded. -ERANGE: it is before 1970. */
	int (*clock_accept)(struct record_log *l);
	/* Wall time that never runs behind the newest record:
	 * for every judgement about validity. */
	int64_t (*now_ns)(struct record_log *l);
	uint64_t (*size)(struct record_log *l);
	void (*free)(struct record_log *l);
};

struct record_log {
	const struct record_ops *ops;
};

#define record_append(l, ...) ((l)->ops->append((l), __VA_ARGS__))

#endif
