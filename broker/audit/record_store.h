/*
 * The record seam's back end in LMDB: a log for each tenant and the host's, written by one writer.
 *
 * Group commit: what waits is committed when the queue is empty (the end of the loop's turn), at
 * RECORD_GROUP records, or after 5 ms (loop_defer()). The writer takes from the logs in turn.
 * done() is called when the record is durable; if that takes longer than ack_ns the action is
 * refused (-ETIMEDOUT), which the log then says as well.
 *
 * Limits, for each tenant's log (config `log:`), and for what strangers provoke (record_class.h),
 * whosever log it is in:
 * - critical records beyond a rate, of records or of bytes: append answers -EBUSY, the action is
 *   refused;
 * - others beyond a rate, and refusals of that, are counted, and one record (log.coalesced) tells
 *   how many of which class;
 * - bytes beyond the quota, and a full map or disk: only denials and ends are written; critical
 * ones are refused
 *   (-EDQUOT, -ENOSPC), others counted. Ends and what the log says of itself are always taken.
 */
#ifndef POSTERN_AUDIT_RECORD_STORE_H
#define POSTERN_AUDIT_RECORD_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "broker/audit/record.h"

struct loop;
struct store;

#define RECORD_TOLERANCE_S    60   /* how far the clock may run behind the newest record */
#define RECORD_QUEUE_MAX      4096 /* records that wait */
#define RECORD_QUEUE_LOG      1024 /* of them, of one tenant */
#define RECORD_GROUP          128
#define RECORD_ACK_NS         (INT64_C(2) * 1000 * 1000 * 1000)
#define RECORD_RATE           500
#define RECORD_BURST          5000
#define RECORD_CRITICAL_RATE  200
#define RECORD_CRITICAL_BURST 2000
#define RECORD_BYTE_RATE      (128u * 1024) /* of one tenant, and of all strangers together */
#define RECORD_BYTE_BURST     (32u << 20)
#define RECORD_TENANT_BYTES   (UINT64_C(4) << 30)

struct record_options {
	int64_t tolerance_s, ack_ns;
	uint32_t rate, burst; /* a second, of one tenant; rate 0: no limit */
	uint32_t critical_rate, critical_burst;
	uint32_t byte_rate, byte_burst;
	uint64_t tenant_bytes; /* 0: no limit */
};
void record_options_default(struct record_options *o);

/* Both are borrowed and outlive the log. A store of an older schema is migrated first. Reads each
 * log's newest record and checks it against the head and the tree: -EUCLEAN if they differ. Changes
 * queued by store_later() are committed with the records. */
int record_store_open(struct store *s, struct loop *l, const struct record_options *o,
    struct record_log **ret, struct err *e);
/* With the defaults. */
int record_store_new(
    struct store *s, struct loop *l, int64_t tolerance_s, struct record_log **ret, struct err *e);
/* Erases the personal values that were recorded with this person (broker/audit/private.h), and
 * records how many. */
int record_erase(struct record_log *l, const char *person, size_t *ret_n, struct err *e);
/* After segments were pruned: the log has so many bytes less. Rides along with its next record. */
void record_pruned(struct record_log *l, uint32_t log, uint64_t bytes);

#endif
