/*
 * The signer's second purpose: sealing audit logs. Two keys sign each checkpoint: the log key,
 * which stays (witnesses pin it), and the key of the current epoch, which ratchets forward and
 * whose predecessor is erased, so that a thief of today's keys cannot re-sign yesterday.
 *
 * seed(e+1) = HKDF-SHA256(seed(e), "postern ratchet"); the epoch's Ed25519 seed is HKDF(seed(e),
 * "postern sign"). What signs epoch e+1 in is an *epoch note* by epoch e for each log, bound to
 * that log's last sealed size and root:
 *
 *   postern.log/epoch/v1 LF origin LF number of the new epoch LF verifier key of the new epoch LF
 * size LF base64(root) LF
 *
 * What carries a log over is made first (sealer_epoch_note(), as often as asked for) and kept by
 * the caller; the ratchet itself comes after and is refused while a log lacks the note for its last
 * sealed size. So a crash between the two loses nothing. How a verifier follows the epochs is told
 * at the end of this comment.
 *
 * State (`seal.state`) is one preallocated file of the key directory, overwritten in place and
 * fdatasync'ed before any signature leaves: two slots with a counter and a digest, written in turn.
 * A ratchet writes both, one after the other, so that no slot holds the old seed; one that was
 * interrupted is finished when the file is opened. It holds the seeds, the public key of epoch 0,
 * and for each log the last sealed size and root. (What the disk itself keeps of overwritten
 * blocks, or a file system that copies on write, is out of its hands: SECURITY.md.)
 *
 * The sealer parses what it signs: it refuses a checkpoint that is smaller than its last or not
 * proved consistent with it, of an origin that does not fit the log's name.
 *
 * A log that was set back (a store restored from a backup) is sealed again only after a *break*,
 * which an operator asks for: sealer_break() makes the log go on from a checkpoint that the sealer
 * itself signed before, and says so in a note, by the log key and the key of the current epoch:
 *
 *   postern.log/break/v1 LF origin LF number LF old size LF base64(old root) LF size LF
 * base64(root) LF epoch LF verifier key of the epoch LF time in seconds LF
 *
 * What the log held behind `size` up to `old size` is gone, or was replaced. The notes into epochs
 * that the store has lost are gone as well: so the break carries the epoch's key, and a verifier
 * who follows it names it. A log that the store has lost altogether goes on from size 0.
 *
 * A verifier has the log key and the key of epoch 0 (`postern audit keys`). The host's epoch notes
 * 1, 2, ... give the keys: note n must be signed by the key of epoch n - 1, name epoch n, and carry
 * the key of epoch n. In each log, note n says at which size and root epoch n - 1 ended there: no
 * checkpoint of an epoch before n is larger, none of n or later is smaller, and the log has that
 * root at that size. A log that came later has no notes before its first checkpoint's epoch.
 */
#ifndef POSTERN_CREDS_SEALER_H
#define POSTERN_CREDS_SEALER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "creds/note.h"
#include "lib/str.h"

struct buf;
struct err;
struct sealer;

#define SEALER_LOGS_MAX   256
#define SEALER_FILE       "seal.state"
#define SEALER_FILE_BYTES 40960  /* two slots */
#define SEALER_HOST       "host" /* the name of the host's log */
#define SEALER_ORIGIN_MAX                                                                          \
	190 /* of the host: "/t/" NAME and "/epoch/" N have to fit a key's name                    \
	     */
#define SEALER_EPOCH_TEXT "postern.log/epoch/v1"
#define SEALER_BREAK_TEXT "postern.log/break/v1"
#define SEALER_BREAKS_MAX 65535 /* of one log */

/* Opens or makes the state below keys_fd (borrowed). -EUCLEAN: neither slot is whole: it will not
 * sign. */
int sealer_open(int keys_fd, struct sealer **ret, struct err *e);
void sealer_free(struct sealer *s);

/* c->origin is ORIGIN for log "host" and ORIGIN "/t/" NAME for a tenant's; the first checkpoint
 * ever fixes ORIGIN. proof: consistency from the last sealed size (none for the first, or for the
 * same size and root). Appends the whole note with both signatures. -EPERM: smaller, inconsistent,
 * empty, or another origin. */
int sealer_seal(struct sealer *s, const char *log, const struct checkpoint *c,
    const uint8_t (*proof)[DIGEST_LEN], size_t nproof, struct buf *out, struct err *e);
/* What was sealed last: size 0 if never. */
void sealer_last(const struct sealer *s, const char *log, struct checkpoint *ret);
/* The i-th log that was ever sealed, NULL beyond the last. */
const char *sealer_log(const struct sealer *s, size_t i);
/* Appends the epoch note that carries the log over to sealer_epoch() + 1 from its last sealed size,
 * signed by the current epoch's key and the log key. -ENOENT: never sealed. */
int sealer_epoch_note(struct sealer *s, const char *log, struct buf *out, struct err *e);
/* Ratchets to `epoch`, which is sealer_epoch() + 1. -EAGAIN: a log lacks its epoch note, or nothing
 * was ever sealed; then nothing has changed. */
int sealer_next_epoch(struct sealer *s, uint64_t epoch, struct err *e);
/* The log goes on from the checkpoint in note, which this log key signed and which is smaller than
 * what was sealed last; len 0: from its beginning. Appends the break note; the state is on the disk
 * by then. What is asked for once more, before the log was sealed again, is answered with the same
 * break. -EPERM: not a checkpoint of ours, or none that was sealed before the last; -ENOENT: never
 * sealed. */
int sealer_break(struct sealer *s, const char *log, const void *note, size_t len, struct buf *out,
    struct err *e);
/* How often this log was set back. */
uint32_t sealer_breaks(const struct sealer *s, const char *log);
/* Ratchets to the epoch of this epoch note of the host's log, which the log key and the current
 * epoch's key have signed: what this sealer itself did before its state was restored from a backup.
 * -EPERM: it is another. */
int sealer_follow(struct sealer *s, const void *note, size_t len, struct err *e);
uint64_t sealer_epoch(const struct sealer *s);
const char *sealer_origin(const struct sealer *s); /* "" before the first checkpoint */
/* Public keys: of the log key, of the current epoch, of epoch 0. */
void sealer_keys(const struct sealer *s, uint8_t log[NOTE_KEY_LEN], uint8_t epoch[NOTE_KEY_LEN],
    uint8_t first[NOTE_KEY_LEN]);

/* ---- for verifiers; these need no sealer ---- */

/* The verifier key of the host's epoch: named ORIGIN "/epoch/" number, whichever log it signs for.
 */
int sealer_epoch_key(const char *origin, uint64_t epoch, const uint8_t key[NOTE_KEY_LEN],
    struct note_key *ret, struct err *e);
/* What the text of an epoch note says. Strict: what was written by us and nothing else. -EBADMSG.
 */
struct epoch_note {
	struct checkpoint last; /* of the log, in the epoch before */
	uint64_t epoch;         /* the new one */
	struct note_key key;    /* its key */
};
int epoch_note_parse(const char *text, size_t len, struct epoch_note *ret, struct err *e);
/* What the text of a break note says. As strict. */
struct break_note {
	char origin[NOTE_NAME_MAX + 1];
	uint64_t number; /* from 1 */
	uint64_t old_size, size;
	uint8_t old_root[DIGEST_LEN], root[DIGEST_LEN];
	uint64_t epoch; /* that signed it */
	struct note_key key;
	int64_t time_s;
};
int break_note_parse(const char *text, size_t len, struct break_note *ret, struct err *e);
/* The origin of a log; -EINVAL for a bad name or one that is too long. */
int sealer_origin_of(const char *host_origin, const char *log, char *dst, size_t size);

#endif
