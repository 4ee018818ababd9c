/*
 * The chain: what a record's bytes are, and how each holds its predecessor's digest. Knows no
 * store.
 *
 *   {"v":1,"seq":7,"time":"2026-11-23T15:38:48.123456Z","boot":"...","mono_ns":1,"class":"grant","tenant":"demo",
 *    "subject":{...},"body":{...},"prev":"<64 hex>"}
 *
 * seq counts from 1. prev of the first record is 64 zeros. A record's digest is the SHA-256 of its
 * bytes as stored; nothing is ever written again to be verified. time never goes back, but at
 * clock.accepted, where an operator has said that it may.
 */
#ifndef POSTERN_AUDIT_CHAIN_H
#define POSTERN_AUDIT_CHAIN_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/digest.h"

struct buf;
struct err;

#define CHAIN_VERSION     1
#define CHAIN_CLASS_MAX   32
#define CHAIN_HEAD_LEN    (8 + 8 + DIGEST_LEN)
#define CHAIN_CLOCK_CLASS "clock.accepted" /* the one class before which time may go back */

/* The newest record: all zero for an empty chain. */
struct chain_head {
	uint64_t seq;
	int64_t time_ns;
	uint8_t digest[DIGEST_LEN];
};

/* Appends the bytes of the record that follows *head and makes it the head. wall_ns is the clock;
 * the record has the later of it and the head's time, unless class_name is CHAIN_CLOCK_CLASS.
 * subject and body are borrowed, may be NULL. What would be longer than RECORD_MAX is cut: long
 * strings first, and "cut" in the body names them. */
int chain_format(struct chain_head *head, int64_t wall_ns, const char *class_name,
    const char *tenant, const json_t *subject, const json_t *body, struct buf *out);

/* u64 seq, u64 time, digest; big endian. */
void chain_head_pack(const struct chain_head *head, uint8_t out[CHAIN_HEAD_LEN]);
int chain_head_parse(const void *data, size_t len, struct chain_head *ret);
void chain_key(uint64_t seq, uint8_t out[8]);

#endif
