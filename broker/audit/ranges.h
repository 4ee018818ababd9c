/*
 * The verifier of one log: what is proved of which records.
 *
 * It is fed with everything there is of a log, in order, wherever it comes from, and says for each
 * range of records whether it is witnessed, signed, chained only, broken or missing; and what is
 * wrong. Nothing is believed but the keys: every record is hashed again, the tree is built again.
 * A record that was changed is told by the digest that its successor holds, and with that digest
 * the rest is proved all the same.
 *
 *   records          each holds its predecessor's leaf hash; numbers have no gap; time goes back at
 *                    CHAIN_CLOCK_CLASS only
 *   checkpoints      signed by the log key and by the epoch's key, and the tree has that root
 *   epochs           note n is signed by epoch n - 1 (creds/sealer.h); each log is carried over
 * into each epoch; no checkpoint is signed by an epoch that was not there yet, or was over an
 * anchor        a checkpoint that the verifier's user kept: the log still has that root there
 *
 *   breaks           a log that was set back goes on only behind a note of the log key and the
 * epoch's key: what was lost is named, whatever else is smaller than what was signed is an attack
 *
 * Without keys nothing counts as signed. Depends on no store and no file.
 */
#ifndef POSTERN_AUDIT_RANGES_H
#define POSTERN_AUDIT_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "creds/note.h"
#include "lib/merkle.h"
#include "lib/str.h"

struct err;
struct ranges;

#define RANGES_WITNESSES_MAX 16
#define RANGES_EPOCHS_MAX    65536
#define RANGES_BREAKS_MAX    4096
#define RANGES_FINDINGS_MAX  64 /* that are told; more are counted */
#define RANGES_HOLES_MAX     256
#define RANGES_TEXT_MAX      240

enum range_state {
	RANGE_CHAINED,
	RANGE_SIGNED,
	RANGE_WITNESSED,
	RANGE_ARCHIVED,
	RANGE_BROKEN,
	RANGE_MISSING
};

/* What is wrong, the worst last. The result of all is the worst that was found. */
enum verdict {
	VERDICT_GOOD,        /* every record is signed, or witnessed */
	VERDICT_EMPTY,       /* there is nothing */
	VERDICT_TAIL,        /* the newest records are chained only */
	VERDICT_ARCHIVED,    /* the first records are in the archive, and were not looked at */
	VERDICT_NO_KEY,      /* seals are there, and no key to check them with */
	VERDICT_UNSEALED,    /* no seal at all */
	VERDICT_RESTORED,    /* it was set back, and that is signed */
	VERDICT_MISSING,     /* records are missing, or bodies beside them */
	VERDICT_EPOCH,       /* an epoch, or a log's way into it, is missing or not proved */
	VERDICT_SIGNATURE,   /* a seal that the keys did not make */
	VERDICT_ROLLED_BACK, /* whole, and smaller than the anchor */
	VERDICT_BROKEN,      /* records are not those that were written */
	VERDICT_RESIGNED,    /* signed by a key out of its epoch: a stolen one */
	VERDICT_FORK,        /* two histories were signed */
	VERDICTS
};
const char *verdict_word(enum verdict v); /* "good", "rolled-back" */
const char *range_word(enum range_state s);

/* Keys for one log. All zero: none. */
struct ranges_keys {
	bool has_log, has_epoch;
	struct note_key log;          /* named by the log's origin */
	struct note_key epoch;        /* of epoch 0, named ORIGIN/epoch/0 */
	char host[NOTE_NAME_MAX + 1]; /* ORIGIN; valid with either */
	struct note_key witness[RANGES_WITNESSES_MAX];
	size_t nwitnesses; /* different keys */
	size_t quorum;     /* so many of them must have signed; 0: more than half */
};
/* From verifier keys in any order: a witness's (type 4), that of epoch 0, the log's. A key named by
 * the host's origin is the log key of each tenant's log too, under that log's name. Keys of other
 * logs are passed over. -EINVAL: two that contradict each other. */
int ranges_keys(
    const struct note_key *keys, size_t n, const char *log, struct ranges_keys *ret, struct err *e);

/* keys is copied. anchor: a checkpoint note that the user kept, NULL: none; -EBADMSG if it is not
 * one of this log, signed. */
int ranges_new(const char *log, const struct ranges_keys *keys, const void *anchor,
    size_t anchor_len, struct ranges **ret, struct err *e);
void ranges_free(struct ranges *r);

/* Fed in this order: the host's break notes, its epoch notes, the log's own break notes and epoch
 * notes (not for the host's log), by number; then records and checkpoints, each checkpoint behind
 * the record that has its size as number, or behind what comes before that. -ENOMEM, -EOVERFLOW
 * (too many epochs); what is wrong with the log is no error. */
int ranges_host_break(struct ranges *r, const void *note, size_t len);
int ranges_break(struct ranges *r, const void *note, size_t len);
int ranges_host_epoch(struct ranges *r, const void *note, size_t len);
int ranges_epoch(struct ranges *r, const void *note, size_t len);
int ranges_record(struct ranges *r, uint64_t seq, const void *data, size_t len);
/* The body beside the record that was fed last. One that does not fit is a record that was changed;
 * one that does not come before the next record is missing, and the record proves which it was. */
int ranges_body(struct ranges *r, uint64_t seq, const void *data, size_t len);
int ranges_checkpoint(struct ranges *r, uint64_t size, const void *note, size_t len);
/* head: the number of records that the source says there are; 0: it does not say. complete: false
 * if the source broke off. */
void ranges_end(struct ranges *r, uint64_t head, bool complete);
/* Before the records behind it: those up to seq are in an archive. leaf is the leaf hash of record
 * seq, tree that of all of them. They count as archived: that they were what this tree says is
 * proved by the next seal that holds, and what they say is not known. Where the records of an edge
 * were fed it has to agree with them. */
int ranges_edge(
    struct ranges *r, uint64_t seq, const uint8_t leaf[DIGEST_LEN], const struct merkle *tree);
/* The archive is here as well: records that an edge stands for and that were not fed are missing.
 */
void ranges_whole(struct ranges *r);
/* The anchor is not the user's, but what another log tells: it says nothing of breaks. Before
 * ranges_end(). */
void ranges_told(struct ranges *r);
/* Another log tells that it became smaller: there has to be a break that says so. */
void ranges_shrunk(struct ranges *r, uint64_t from, uint64_t to);
/* What another log tells was sealed of this one, before the first record: unless a break names it
 * as lost, the log still has these roots. In any order; epoch: that signed it, as it says. -ENOMEM.
 */
struct ranges_told {
	uint64_t size, epoch;
	uint8_t root[DIGEST_LEN];
};
int ranges_tell(struct ranges *r, const struct ranges_told *told, size_t n);
/* The user knows that what he kept a checkpoint of may be lost in a break. */
void ranges_accept_break(struct ranges *r);
/* For what only the caller can see, as a log that the host's log names and that is gone. */
void ranges_find(struct ranges *r, enum verdict v, uint64_t from, uint64_t to, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* ---- the answer, after ranges_end() ---- */

struct range {
	uint64_t from, to;
	enum range_state state;
};
struct finding {
	enum verdict verdict;
	uint64_t from, to; /* 0: no record in particular */
	char text[RANGES_TEXT_MAX];
};
struct ranges_result {
	enum verdict verdict;
	uint64_t records;                /* the number of the newest */
	uint64_t archived;               /* up to it they were not looked at */
	uint64_t sealed, witnessed;      /* sizes */
	uint64_t checkpoints;            /* that held */
	uint64_t bodies, bodies_missing; /* that records name: that fit, and that are not there */
	uint64_t epochs;                 /* the newest that is proved */
	char newest[32];                 /* the newest record's time */
	uint8_t root[DIGEST_LEN];        /* of the newest checkpoint that held */
	const char *stranger;            /* cosigned, as its notes say; no witness's key is known */
	const char *note;                /* it, for the user to keep; NULL */
	size_t note_len;
	const struct range *ranges;
	size_t nranges;
	const struct finding *findings;
	size_t nfindings, more_findings;
};
void ranges_result(const struct ranges *r, struct ranges_result *ret);

static inline void ranges_cleanup(struct ranges **r)
{
	ranges_free(*r);
}
#define cleanup_ranges __attribute__((cleanup(ranges_cleanup)))

#endif
