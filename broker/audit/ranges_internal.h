/*
 * What the files of the verifier share. Nobody else includes it.
 */
#ifndef POSTERN_AUDIT_RANGES_INTERNAL_H
#define POSTERN_AUDIT_RANGES_INTERNAL_H

#include "broker/audit/envelope.h"
#include "broker/audit/ranges.h"
#include "lib/merkle.h"

#define WAITING_MAX       8
#define RANGES_SAID_MAX   64
#define RANGES_SHRUNK_MAX 64

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

/* Where the log was set back. */
struct cut {
	uint64_t number, old_size, size, epoch;
	int64_t time_s;
	uint8_t root[DIGEST_LEN]; /* at size */
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

	/* epochs: key[i] is that of epoch i, zeros if nobody tells it */
	uint8_t (*key)[NOTE_KEY_LEN];
	size_t nkeys, keys_max;
	struct turn *turn;
	size_t nturns, turns_max, next_turn; /* the first that the tree has not reached */
	uint64_t first_epoch;                /* the least that signed a checkpoint */
	bool any_epoch;                      /* it is valid */
	bool epochs_broken;
	uint64_t next_note; /* the epoch that the host's next note should be of */

	/* breaks */
	struct cut *cut;
	size_t ncuts, cuts_max;
	size_t next_cut, next_cut_turn; /* not reached by the tree; not among the turns */
	uint64_t said[RANGES_SAID_MAX]; /* numbers of breaks of which records tell */
	size_t nsaid;
	bool told, accept_break;

	/* what another log tells */
	struct ranges_told *other; /* owned; by size once sorted */
	size_t nother, next_other;
	bool other_sorted;
	struct {
		uint64_t from, to;
	} shrunk[RANGES_SHRUNK_MAX];
	size_t nshrunk;

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

	/* bodies */
	uint64_t named, fed, fit; /* that records name; that came, and that fit */
	uint64_t bare, bare_last; /* the first and the last record whose body did not come */
	struct {
		uint64_t seq; /* of the record that names it; 0: none, or it has come */
		uint8_t digest[DIGEST_LEN];
		size_t len;
	} body;

	/* seals */
	uint64_t seen; /* checkpoints and turns, whatever they are worth */
	struct claim waiting[WAITING_MAX];
	size_t nwaiting;
	struct claim before;              /* the last sealed one, for forks */
	struct claim best;                /* the largest that held */
	uint64_t good, witnessed, denied; /* sizes: the largest that held, and that did not */
	uint64_t good_epoch, denied_epoch;
	uint64_t sound;                   /* good when the first was denied */
	uint64_t held;                    /* checkpoints */
	uint64_t most;                    /* the largest size that a seal speaks of */
	char stranger[NOTE_NAME_MAX + 1]; /* cosigned, and there is no key of any witness */
	struct claim anchor;
	bool has_anchor, anchor_denied, anchor_held;

	/* the answer */
	struct hole hole[RANGES_HOLES_MAX];
	size_t nholes;
	struct range *range;
	size_t nranges;
	struct finding finding[RANGES_FINDINGS_MAX];
	size_t nfindings, more;
	enum verdict verdict;
};

/* ranges_body.c: whether a new record names a body. */
void ranges_body_named(struct ranges *r, uint64_t seq, const void *data, size_t len);
void ranges_body_end(struct ranges *r);
void ranges_hole(struct ranges *r, uint64_t from, uint64_t to, bool missing);
/* ranges_seal.c: whether a note is a seal of this log (or may be one, when there is no key); if
 * not, that has been found. *ret has no note. */
bool seal_judge(struct ranges *r, uint64_t size, const void *note, size_t len, struct claim *ret);
int seal_anchor(struct ranges *r, const void *note, size_t len, struct err *e);
/* The epoch that signed the anchor, by the key that the log tells of it. false: it is not known, or
 * the log tells another key, which has been found. */
bool seal_anchor_epoch(struct ranges *r, uint64_t *ret);
void seal_end(struct ranges *r);
int seal_begin(struct ranges *r);
/* The host's epoch goes on with this key, whatever notes are lost. */
int seal_jump(struct ranges *r, uint64_t epoch, const uint8_t key[NOTE_KEY_LEN]);
bool seal_key_is(const struct ranges *r, uint64_t epoch, const uint8_t key[NOTE_KEY_LEN]);
int seal_add_turn(struct ranges *r, uint64_t epoch, uint64_t size, const uint8_t root[DIGEST_LEN]);
/* ranges_break.c: breaks into epochs below `before` that have no note become turns. */
int break_turns(struct ranges *r, uint64_t before);
void break_settle(struct ranges *r);
/* Whether what the log was at this size was lost in a break. */
bool break_covers(const struct ranges *r, uint64_t size);
void break_record(struct ranges *r, const void *data, size_t len);
void break_end(struct ranges *r);
/* ranges_told.c: what another log tells of the tree as it is now. */
void told_settle(struct ranges *r);
/* ranges.c */
void claim_settle(struct ranges *r, struct claim *c, const uint8_t root[DIGEST_LEN]);
void claim_deny(struct ranges *r, const struct claim *c);
/* ranges.c: what seals say of the tree as it is now. */
void ranges_settle(struct ranges *r);
/* ranges.c: nothing more is known of what is pending. */
int ranges_flush(struct ranges *r);

#endif
