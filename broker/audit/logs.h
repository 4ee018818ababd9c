/*
 * Reading and annotating logs in the store: which there are, how far each has come, their records,
 * checkpoints and epoch notes. The writer is record_store.
 *
 * There is one log for each tenant, named like the tenant, and the host's, which is named LOG_HOST
 * (a reserved word) and has number 0. A record belongs to its tenant's log if it has a tenant, else
 * to the host's. Each log counts from 1, and record seq is leaf seq - 1 of its tree.
 *
 * Everything here sees committed state. Numbers in keys are big endian, so that a walk is in order.
 */
#ifndef POSTERN_AUDIT_LOGS_H
#define POSTERN_AUDIT_LOGS_H

#include <stddef.h>
#include <stdint.h>

#include "lib/merkle.h"
#include "lib/str.h"

struct buf;
struct err;
struct store;

#define LOG_HOST        "host"
#define LOG_HOST_NUMBER 0
#define LOGS_MAX        1024 /* tenants come and go, their logs stay */
#define LOG_KEY_LEN     12

/* Where a log has come to: STORE_HEADS. */
struct log_head {
	uint64_t seq;    /* of the newest record; 0: none */
	int64_t time_ns; /* its time */
	uint64_t bytes;  /* of all its records that are in the store, and of their bodies */
	uint8_t leaf[DIGEST_LEN]; /* leaf hash of the newest record; zeros when there is none */
	struct merkle tree;       /* tree.size == seq */
};

struct log_info {
	uint32_t number;
	char name[NAME_MAX_LEN + 1];
	char created[32]; /* UTC */
};

/* In order of their numbers. fn answers 0 to go on; its other answers end the walk and are
 * returned. */
typedef int (*logs_fn)(const struct log_info *l, void *arg);
int logs_list(struct store *s, logs_fn fn, void *arg);
int logs_find(struct store *s, const char *name, struct log_info *ret); /* -ENOENT */
/* An empty head when nothing was written yet. -EUCLEAN: damaged. */
int logs_head(struct store *s, uint32_t log, struct log_head *ret, struct err *e);

/* Records from number `from` on in order, at most max (and STORE_WALK_MAX); data is valid during
 * the call only. */
typedef int (*logs_record_fn)(uint64_t seq, const void *data, size_t len, void *arg);
int logs_walk(
    struct store *s, uint32_t log, uint64_t from, size_t max, logs_record_fn fn, void *arg);
/* Appends the bytes; -ENOENT. */
int logs_get(struct store *s, uint32_t log, uint64_t seq, struct buf *ret);
/* Likewise the body that lies beside it (body.h), unchecked. */
int logs_body_get(struct store *s, uint32_t log, uint64_t seq, struct buf *ret);

/* Notes ride along with the next commit (store_later()). A checkpoint's size is what orders it. */
int logs_checkpoint_put(struct store *s, uint32_t log, uint64_t size, const void *note, size_t len);
int logs_checkpoint_get(struct store *s, uint32_t log, uint64_t size, struct buf *ret);
/* The one of the greatest size that is at most `most`; -ENOENT. */
int logs_checkpoint_latest(
    struct store *s, uint32_t log, uint64_t most, uint64_t *ret_size, struct buf *ret);
/* Those of size `from` and more. */
typedef int (*logs_note_fn)(uint64_t size_or_epoch, const void *note, size_t len, void *arg);
int logs_checkpoint_walk(
    struct store *s, uint32_t log, uint64_t from, size_t max, logs_note_fn fn, void *arg);
/* The note that epoch - 1 signed, which names the key of `epoch`. */
int logs_epoch_put(struct store *s, uint32_t log, uint64_t epoch, const void *note, size_t len);
int logs_epoch_get(struct store *s, uint32_t log, uint64_t epoch, struct buf *ret);
int logs_epoch_walk(
    struct store *s, uint32_t log, uint64_t from, size_t max, logs_note_fn fn, void *arg);

/* Break notes (creds/sealer.h) by their numbers, from 1, with gaps. */
int logs_break_put(struct store *s, uint32_t log, uint64_t number, const void *note, size_t len);
int logs_break_walk(
    struct store *s, uint32_t log, uint64_t from, size_t max, logs_note_fn fn, void *arg);
/* The number of the newest; 0: none. */
int logs_break_last(struct store *s, uint32_t log, uint64_t *ret);

/* u32 log, u64 n. */
void log_key(uint32_t log, uint64_t n, uint8_t out[LOG_KEY_LEN]);
void log_number_key(uint32_t log, uint8_t out[4]);
/* u64 seq, u64 time, u64 bytes, leaf, packed tree. */
#define LOG_HEAD_MAX (24 + DIGEST_LEN + MERKLE_PACKED_MAX)
size_t log_head_pack(const struct log_head *h, uint8_t out[LOG_HEAD_MAX]);
int log_head_parse(const void *data, size_t len, struct log_head *ret); /* -EBADMSG */

#endif
