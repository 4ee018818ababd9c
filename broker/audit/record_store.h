/*
 * The record seam's back end in LMDB: the chain, committed once a turn of the event loop.
 */
#ifndef POSTERN_AUDIT_RECORD_STORE_H
#define POSTERN_AUDIT_RECORD_STORE_H

#include <stdint.h>

#include "broker/audit/record.h"

struct loop;
struct store;

#define RECORD_TOLERANCE_S 60   /* how far the clock may run behind the newest record */
#define RECORD_QUEUE_MAX   4096 /* records of one turn */

/* Both are borrowed and outlive the log. Reads the newest record and checks it against the head:
 * -EUCLEAN if they differ. Changes queued by store_later() are committed with the records. */
int record_store_new(
    struct store *s, struct loop *l, int64_t tolerance_s, struct record_log **ret, struct err *e);
/* For ctl.page: the digest of the newest record, DIGEST_LEN bytes; zeros when there is none. */
void record_store_digest(const struct record_log *l, uint8_t *ret);

#endif
