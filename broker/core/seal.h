/*
 * When logs are sealed: the core's side of checkpoints. It asks the signer, one question at a time,
 * and keeps what the signer answers: a checkpoint in the store, and each tenant's checkpoint as a
 * record of class log.checkpoint in the host's log, which is sealed last. So one note of the host
 * stands for everybody.
 *
 *   every checkpoint_s   what has grown
 *   soon                 at a session's end, within a second
 *   every ten minutes    even when idle: a record log.alive first, so that silence is seen
 *   every epoch_s        a new epoch: what has grown, then each log's note into the next epoch,
 *                        stored and recorded (log.epoch) and durable, and only then the ratchet
 *   at the end           once more
 *
 * When the signer is (back) there, what it has sealed is looked for in the store. If it is not
 * there, the store is not the one that was sealed: a record log.rollback, and nothing new starts
 * until an operator accepts it. Then the signer is asked for a break (creds/sealer.h) of each such
 * log to the newest checkpoint that it still holds; the note is kept, recorded (log.break, in the
 * host's log and in its own), and the log is sealed again from there. A signer whose state was
 * restored, and is epochs behind its own notes, is led through them before it seals anything. A
 * break that was signed and not kept is asked for again.
 *
 * Knows neither the store nor the signer: both are reached by struct seal_env.
 */
#ifndef POSTERN_CORE_SEAL_H
#define POSTERN_CORE_SEAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/audit/record.h"
#include "lib/digest.h"

struct buf;
struct loop;
struct msg;
struct seal;

#define SEAL_CHECKPOINT_S 10
#define SEAL_EPOCH_S      86400
#define SEAL_IDLE_S       600
#define SEAL_REASON_MAX   256

typedef int (*seal_log_fn)(uint32_t number, const char *name, void *arg);

/* The logs as committed. 0 or -errno. */
struct seal_logs {
	int (*list)(void *arg, seal_log_fn fn, void *fn_arg);
	int (*size)(void *arg, uint32_t log, uint64_t *ret);
	int (*root)(void *arg, uint32_t log, uint64_t size, uint8_t ret[DIGEST_LEN]);
	/* ret holds MERKLE_PROOF_MAX */
	int (*consistency)(void *arg, uint32_t log, uint64_t old_size, uint64_t size,
	    uint8_t (*ret)[DIGEST_LEN], size_t *ret_n);
	/* With the next commit. */
	int (*put_checkpoint)(void *arg, uint32_t log, uint64_t size, const void *note, size_t len);
	int (*put_epoch)(void *arg, uint32_t log, uint64_t epoch, const void *note, size_t len);
	/* The size of the newest checkpoint; the newest epoch note of the host's log. 0: none. */
	int (*last_checkpoint)(void *arg, uint32_t log, uint64_t *ret);
	int (*last_epoch)(void *arg, uint32_t log, uint64_t *ret);
	/* Appends the note into this epoch; -ENOENT. */
	int (*epoch_note)(void *arg, uint32_t log, uint64_t epoch, struct buf *ret);
	/* A break note; the number of the newest (0: none); the newest checkpoint of size at most
	 * `most` (appended; -ENOENT). */
	int (*put_break)(void *arg, uint32_t log, uint64_t number, const void *note, size_t len);
	int (*last_break)(void *arg, uint32_t log, uint64_t *ret);
	int (*checkpoint)(
	    void *arg, uint32_t log, uint64_t most, uint64_t *ret_size, struct buf *ret);
	/* Small texts that belong to the store. -ENOENT. */
	int (*remember)(void *arg, const char *key, const char *text);
	int (*recall)(void *arg, const char *key, struct buf *ret);
};

struct seal_env {
	struct loop *loop;
	const struct seal_logs *logs;
	void *logs_arg;
	/* Takes body over. -EPIPE: there is no signer. */
	int (*ask)(void *arg, const char *type, json_t *body, uint64_t *ret_id);
	int (*record)(void *arg, const char *class_name, const char *tenant, json_t *body,
	    record_fn done, void *done_arg);
	/* Whether idleness of this tenant's log is worth a record: it is configured. */
	bool (*active)(void *arg, const char *tenant);
	void *arg;
	const char *origin; /* of the host; copied */
	int64_t checkpoint_s, epoch_s;
};

struct seal *seal_new(const struct seal_env *env); /* NULL without memory */
void seal_free(struct seal *s);

/* The signer is there; it is gone. */
void seal_linked(struct seal *s);
void seal_lost(struct seal *s);
/* An answer of the signer: whether it was to us. */
bool seal_answer(struct seal *s, const struct msg *m);

void seal_soon(struct seal *s);
/* Both hold from their next time on. */
void seal_times(struct seal *s, int64_t checkpoint_s, int64_t epoch_s);
/* A new epoch now; done gets 0 and its number, or -errno and why. -EBUSY: one is under way; -EPIPE.
 */
typedef void (*seal_turn_fn)(int r, uint64_t epoch, const char *why, void *arg);
int seal_turn(struct seal *s, seal_turn_fn done, void *arg);
/* Seals what has grown, then done(), at the latest after SEAL_FINISH_MS; done() may come at once.
 */
#define SEAL_FINISH_MS 1000
void seal_finish(struct seal *s, void (*done)(void *arg), void *arg);

/* False: the store was rolled back and nobody has accepted that. */
bool seal_ok(const struct seal *s, char *why, size_t size);
/* The operator does; recorded. */
int seal_accept(struct seal *s);
/* {"origin","epoch","state","logs":[{"log","size","sealed","epoch","sealed_s","state"}],"more"} */
json_t *seal_status(struct seal *s);
/* {"origin","epoch","first": verifier key,"current": verifier key,"logs":[{"log","key"}]}, of logs
 * that are not sealed yet, too; NULL: the signer has not said yet. */
json_t *seal_keys(struct seal *s);

#endif
