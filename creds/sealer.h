/*
 * The signer's second purpose: sealing audit logs. Two keys sign each checkpoint: the log key, which
 * stays (witnesses pin it), and the key of the current epoch, which ratchets forward and whose predecessor is
 * erased, so that a thief of today's keys cannot re-sign yesterday.
 *
 * seed(e+1) = HKDF-SHA256(seed(e), "postern ratchet"); the epoch's Ed25519 seed is HKDF(seed(e), "postern
 * sign"). What signs epoch e+1 in is an *epoch note* by epoch e for each log, bound to that log's last
 * sealed size and root:
 *
 *   postern.log/epoch/v1 LF origin LF number of the new epoch LF verifier key of the new epoch LF size LF base64(root) LF
 *
 * State (`seal.state`) is one preallocated file of the key directory, overwritten in place and fdatasync'ed before any
 * signature leaves: two slots with a counter and a digest, written in turn; the older slot is overwritten again with the new
 * state, so that after a ratchet no slot holds the old seed. It holds the seeds and, for each log, the last sealed size and root.
 *
 * The sealer parses what it signs: it refuses a checkpoint that is smaller than its last or not proved
 * consistent with it, of an origin that does not fit the log's name.
 */
#ifndef POSTERN_CREDS_SEALER_H
#define POSTERN_CREDS_SEALER_H

#include <stddef.h>
#include <stdint.h>

#include "creds/note.h"
#include "lib/str.h"

struct buf;
struct err;
struct sealer;

#define SEALER_LOGS_MAX 256
#define SEALER_FILE     "seal.state"

/* Opens or makes the state below keys_fd (borrowed). -EUCLEAN: neither slot is whole: it will not sign. */
int sealer_open(int keys_fd, struct sealer **ret, struct err *e);
void sealer_free(struct sealer *s);

/* c->origin is ORIGIN for log "host" and ORIGIN "/t/" NAME for a tenant's; the first checkpoint ever fixes ORIGIN. proof:
 * consistency from the last sealed size (none for the first, or for the same size and root). Appends the whole
 * note with both signatures. -EPERM: smaller, inconsistent, or another origin. */
int sealer_seal(struct sealer *s, const char *log, const struct checkpoint *c,
    const uint8_t (*proof)[DIGEST_LEN], size_t nproof, struct buf *out, struct err *e);
/* What was sealed last: size 0 if never. */
int sealer_last(const struct sealer *s, const char *log, struct checkpoint *ret);
/* Ratchets. note() is called for each log with its epoch note before the old seed is erased; if it fails
 * nothing has changed. */
typedef int (*sealer_note_fn)(const char *log, const void *note, size_t len, void *arg);
int sealer_next_epoch(struct sealer *s, sealer_note_fn note, void *arg, struct err *e);
uint64_t sealer_epoch(const struct sealer *s);
/* Verifier keys: the log key, named ORIGIN of the log; the epoch's, named ORIGIN "/epoch/" number of the host. */
int sealer_log_key(const struct sealer *s, const char *origin, struct note_key *ret);
int sealer_epoch_key(const struct sealer *s, const char *origin, struct note_key *ret);

#endif
