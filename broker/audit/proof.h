/*
 * Proofs about a log for people who do not have it, in the forms of c2sp.org:
 *
 *   inclusion     a .tlog-proof: "c2sp.org/tlog-proof@v1", "index N" (from 0), the hashes from the
 *                 leaf up in base64, an empty line, the checkpoint
 *   consistency   what a witness is sent (c2sp.org/tlog-witness): "old N", the hashes, an empty
 *                 line, the checkpoint
 *
 * A checkpoint is a whole signed note. Knows no store; the hashes come from broker/audit/tree.h.
 */
#ifndef POSTERN_AUDIT_PROOF_H
#define POSTERN_AUDIT_PROOF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "creds/note.h"
#include "lib/merkle.h"

struct buf;
struct err;

#define PROOF_MAX (NOTE_MAX + 16u * 1024)

enum proof_kind { PROOF_INCLUSION, PROOF_CONSISTENCY };

struct proof {
	enum proof_kind kind;
	uint64_t number; /* the index, or the old size */
	uint8_t hash[MERKLE_PROOF_MAX][DIGEST_LEN];
	size_t nhashes;
	const char *checkpoint; /* the note, into the text that was parsed */
	size_t checkpoint_len;
};

void proof_format(const struct proof *p, struct buf *out);
/* Strict; what follows the empty line is not looked at. An "extra" line is passed over. -EBADMSG.
 */
int proof_parse(const char *text, size_t len, struct proof *ret, struct err *e);

struct proof_answer {
	struct checkpoint checkpoint;
	bool signed_, witnessed; /* by a key that was given; by more than half of the witnesses' */
	char signer[NOTE_NAME_MAX + 1];
};
/* Whether the note is signed by one of the keys that bears its origin's name, and by which
 * witnesses. -EBADMSG, -EACCES: no signature by such a key. */
int proof_note(const void *note, size_t len, const struct note_key *keys, size_t nkeys,
    struct proof_answer *ret, struct err *e);
/* The record is leaf p->number of the log that the checkpoint stands for. -EBADMSG: it is not. */
int proof_check_inclusion(const struct proof *p, const struct checkpoint *c, const void *record,
    size_t len, struct err *e);
/* What stood at the old checkpoint stands at the new one still. */
int proof_check_consistency(
    const struct proof *p, const struct checkpoint *c, const struct checkpoint *old, struct err *e);

#endif
