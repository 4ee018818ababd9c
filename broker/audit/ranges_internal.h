/*
 * What the files of the verifier share. Nobody else includes it.
 */
#ifndef POSTERN_AUDIT_RANGES_INTERNAL_H
#define POSTERN_AUDIT_RANGES_INTERNAL_H

#include "broker/audit/envelope.h"
#include "broker/audit/ranges.h"
#include "lib/merkle.h"

#define WAITING_MAX 8

/* A root that somebody put a name to. */
struct claim {
	uint64_t size;
	uint8_t root[DIGEST_LEN];
	uint64_t epoch; /* that signed it */
	bool witnessed, anchor;
	char *note; /* owned; NULL for an epoch's */
	size_t note_len;
};

/* Where the log went over into an epoch. */
struct turn {
	uint64_t epoch, size;
	uint8_t root[DIGEST_LEN];
};

/* A record whose leaf is not settled before its successor has been seen. */
struct pending {
	uint64_t seq;
	uint8_t leaf[DIGEST_LEN];
	uint8_t claim[DIGEST_LEN]; /* what its successor says its leaf is; valid when denied */
	bool denied;
	bool told; /* a finding says that it is broken or missing */
};

struct hole {
	uint64_t from, to;
	bool missing;
};

struct ranges {
	struct envelope_reader envelope;
	struct ranges_keys keys;
	bool host;

	/* epochs: key[i] is that of epoch i */
	uint8_t (*key)[NOTE_KEY_LEN];
	size_t nkeys, keys_max;
	struct turn *turn;
	size_t nturns, turns_max, next_turn; /* the first that the tree has not reached */
	uint64_t first_epoch;                /* the least that signed a checkpoint */
	bool any_epoch;                      /* it is valid */
	bool epochs_broken;

	/* records */
	uint64_t last;      /* the newest seen */
	uint64_t archived;  /* up to it they were not fed, but an edge was */
	uint64_t edge_last; /* the newest edge that the tree was taken from */
	bool whole;         /* what an edge stands for is missing */
	struct merkle tree;
	bool lost; /* records are missing, and with them the tree */
	struct pending pending[2];
	size_t npending;
	uint8_t leaf[DIGEST_LEN], plain[DIGEST_LEN]; /* of the newest */
	unsigned version;                            /* of the newest; 0: not to be read */
	char time[ENVELOPE_TIME + 1];

	/* seals */
	uint64_t seen; /* checkpoints and turns, whatever they are worth */
	struct claim waiting[WAITING_MAX];
	size_t nwaiting;
	struct claim before;              /* the last sealed one, for forks */
	struct claim best;                /* the largest that held */
	uint64_t good, witnessed, denied; /* sizes: the largest that held, and that did not */
	uint64_t good_epoch, denied_epoch;
	uint64_t sound; /* good when the first was denied */
	uint64_t held;  /* checkpoints */
	uint64_t most;  /* the largest size that a seal speaks of */
	struct claim anchor;
	bool has_anchor, anchor_denied;

	/* the answer */
	struct hole hole[RANGES_HOLES_MAX];
	size_t nholes;
	struct range *range;
	size_t nranges;
	struct finding finding[RANGES_FINDINGS_MAX];
	size_t nfindings, more;
	enum verdict verdict;
};

void ranges_hole(struct ranges *r, uint64_t from, uint64_t to, bool missing);
/* ranges_seal.c: whether a note is a seal of this log (or may be one, when there is no key); if
 * not, that has been found. *ret has no note. */
bool seal_judge(struct ranges *r, uint64_t size, const void *note, size_t len, struct claim *ret);
int seal_anchor(struct ranges *r, const void *note, size_t len, struct err *e);
void seal_end(struct ranges *r);
int seal_begin(struct ranges *r);
/* ranges.c: what seals say of the tree as it is now. */
void ranges_settle(struct ranges *r);
/* ranges.c: nothing more is known of what is pending. */
int ranges_flush(struct ranges *r);

#endif
