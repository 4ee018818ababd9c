/*
 * The verifier: fed with the raw records of one log in order, wherever they come from (ctl.page, a
 * store opened read only, a file), it says whether they are one unbroken chain, and if not, which
 * record is broken and how; and it grows their tree, whose root a checkpoint has.
 *
 * A change in a record shows in the one after it, which holds its leaf hash; in the newest one
 * against the head. What it cannot see: a log cut at its end together with its head, or written
 * anew from some record on. Checkpoints are for that.
 *
 * Of a record it reads the envelope (envelope.h); what is in subject and body is proved by the
 * hash, and is not looked at.
 */
#ifndef POSTERN_AUDIT_VERIFY_H
#define POSTERN_AUDIT_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/audit/envelope.h"
#include "lib/merkle.h"
#include "lib/str.h"

struct err;
struct store;

struct verify {
	char log[NAME_MAX_LEN + 1];   /* whose records these are; known from the first of v 2 */
	uint64_t seq;                 /* the newest good record; 0: none yet */
	uint8_t digest[DIGEST_LEN];   /* its leaf hash */
	uint8_t plain[DIGEST_LEN];    /* its SHA-256, if it is of v 1 */
	char time[ENVELOPE_TIME + 1]; /* its time */
	uint64_t broken;              /* the broken record, 0: none */
	unsigned version;             /* of the newest; 0: none yet */
	bool partial;                 /* it began in the middle: there is no tree */
	struct envelope_reader reader;
	struct merkle tree;
};

/* From the first record on. */
void verify_init(struct verify *v);
/* To begin in the middle: trusts that record `seq`, of v 2, has this leaf hash. */
void verify_init_at(struct verify *v, uint64_t seq, const uint8_t digest[DIGEST_LEN]);
/* The same, trusting the record itself, of either version. -EBADMSG. */
int verify_resume(struct verify *v, uint64_t seq, const void *data, size_t len, struct err *e);
/* The next record, which the source calls `seq`. 0, or -EBADMSG with "record 12 ..."; v->broken is
 * then set, and every later call fails alike. */
int verify_record(struct verify *v, uint64_t seq, const void *data, size_t len, struct err *e);
/* At the end: the head that the source claims. digest (the leaf hash) may be NULL when the source
 * tells none. */
int verify_head(struct verify *v, uint64_t seq, const uint8_t *digest, struct err *e);
/* The same for a chain of v 1 alone, whose head has the SHA-256. */
int verify_head_v1(struct verify *v, uint64_t seq, const uint8_t *digest, struct err *e);
/* One log of a store against its head and tree. 0 with v->seq records; -EBADMSG; or an error of the
 * store. */
int verify_log(struct store *s, uint32_t log, const char *name, struct verify *v, struct err *e);
/* All of a store, in one go. ret->seq: records in all; digest and time: those of the newest one of
 * the last log that has any. */
int verify_store(struct store *s, struct verify *ret, struct err *e);

#endif
