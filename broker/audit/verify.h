/*
 * The verifier: fed with raw records in order, wherever they come from (ctl.page, a store opened
 * read only, a file), it says whether they are one unbroken chain, and if not, which record is
 * broken and how.
 *
 * A change in a record shows in the one after it, which holds its digest; in the newest one against
 * the head. What it cannot see: a log cut at its end together with its head, or written anew from
 * some record on. Anchors outside the host are for that.
 */
#ifndef POSTERN_AUDIT_VERIFY_H
#define POSTERN_AUDIT_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/digest.h"

struct err;
struct store;

struct verify {
	uint64_t seq;               /* the newest good record; 0: none yet */
	uint8_t digest[DIGEST_LEN]; /* its digest */
	char time[32];              /* its time */
	uint64_t broken;            /* the broken record, 0: none */
	bool started;
};

/* From the first record on. */
void verify_init(struct verify *v);
/* To begin in the middle: trusts that record `seq` has this digest. */
void verify_init_at(struct verify *v, uint64_t seq, const uint8_t digest[DIGEST_LEN]);
/* The next record, which the source calls `seq`. 0, or -EBADMSG with "record 12 ..."; v->broken is
 * then set, and every later call fails alike. */
int verify_record(struct verify *v, uint64_t seq, const void *data, size_t len, struct err *e);
/* At the end: the head that the source claims. digest may be NULL when the source tells none. */
int verify_head(struct verify *v, uint64_t seq, const uint8_t *digest, struct err *e);
/* All of a store. 0 with v->seq records; -EBADMSG; or an error of the store. */
int verify_store(struct store *s, struct verify *v, struct err *e);

#endif
