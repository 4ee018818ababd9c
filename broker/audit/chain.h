/*
 * The chain: what a record's bytes are, and how each holds its predecessor's leaf hash. Knows no
 * store.
 *
 *   {"v":2,"log":"demo","seq":7,"time":"2026-11-23T15:38:48.123456Z","boot":"...","mono_ns":1,"class":"grant",
 *    "class_uid":3003,"activity_id":1,"type_uid":300301,"tenant":"demo","subject":{...},"body":{...},"prev":"<64
 * hex>"}
 *
 * seq counts from 1 in each log. prev of the first record is 64 zeros, of the others the RFC 6962
 * leaf hash of the record before, so that chain and tree share one hash. It is taken of the bytes
 * as stored; nothing is ever written again to be verified. time never goes back, but at
 * clock.accepted, where an operator has said that it may. class_uid, activity_id and type_uid are
 * OCSF's.
 *
 * Version 1, of which a log may have its first records:
 * {"v":1,"seq","time","boot","mono_ns","class","tenant", "subject","body","prev"}, prev being the
 * plain SHA-256 of the record before.
 */
#ifndef POSTERN_AUDIT_CHAIN_H
#define POSTERN_AUDIT_CHAIN_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/audit/record_json.h"
#include "lib/digest.h"

struct buf;
struct log_head;

#define CHAIN_VERSION     2
#define CHAIN_CLASS_MAX   32
#define CHAIN_CLOCK_CLASS "clock.accepted" /* the one class before which time may go back */

/* What is to be recorded; all borrowed. */
struct chain_what {
	const char *log, *class_name;
	const char *tenant;           /* NULL: "" */
	const json_t *subject, *body; /* may be NULL */
	int64_t wall_ns; /* the record has the later of it and the head's time, unless the class is
	                    CHAIN_CLOCK_CLASS */
	record_json_fn personal; /* for members of subject and body; may be NULL */
	void *personal_arg;
	struct buf *spill; /* takes the body if it is too long; NULL: it is cut */
};

/* The record that was formatted. */
struct chain_next {
	uint64_t seq;
	int64_t time_ns;
	size_t len;
	size_t body_len; /* in the spill; 0: the body is within */
	uint8_t leaf[DIGEST_LEN];
};

/* Appends the bytes of the record that follows *head. If it would be longer than RECORD_MAX its
 * body goes into the spill (body.h), or is cut: long strings first, and "cut" in the body names
 * them. */
int chain_format(const struct log_head *head, const struct chain_what *w, struct buf *out,
    struct chain_next *ret);
/* prev of a record of v 2, which is the leaf hash of the one before it. -EBADMSG: not of that form.
 */
int chain_prev(const void *data, size_t len, uint8_t ret[DIGEST_LEN]);
/* Makes it the head, but for the tree. */
void chain_advance(struct log_head *head, const struct chain_next *n);

#endif
