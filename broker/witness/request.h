/*
 * The body of an add-checkpoint request of c2sp.org/tlog-witness: a stranger's bytes.
 *
 *   old N
 *   base64 of a hash, up to 63 such lines
 *   (an empty line)
 *   a checkpoint: a signed note whose text is origin, size, base64 of the root, and perhaps
 *   extension lines, which are signed along but say nothing here
 *
 * Depends on creds/note and lib alone.
 */
#ifndef POSTERN_WITNESS_REQUEST_H
#define POSTERN_WITNESS_REQUEST_H

#include <stddef.h>
#include <stdint.h>

#include "creds/note.h"
#include "lib/merkle.h"

struct err;

#define REQUEST_OLD_LINE_MAX  24   /* "old 9223372036854775807\n" */
#define REQUEST_HASH_LINE_LEN 45   /* 44 characters of base64, LF */
#define REQUEST_TEXT_MAX      4096 /* of a checkpoint, extension lines included */
#define REQUEST_MAX           (REQUEST_OLD_LINE_MAX + MERKLE_PROOF_MAX * REQUEST_HASH_LINE_LEN + 1 + NOTE_MAX)

struct witness_request {
	uint64_t old;
	size_t nproof;
	uint8_t proof[MERKLE_PROOF_MAX][DIGEST_LEN];
	struct note note;
	struct checkpoint point; /* what the note's text says */
};

/* On success *ret is the caller's (witness_request_done). -EBADMSG, -ENOMEM. */
int witness_request_parse(const void *data, size_t len, struct witness_request *ret, struct err *e);
void witness_request_done(struct witness_request *q);
/* A checkpoint's text that may have extension lines. -EBADMSG. */
int witness_point_parse(const char *text, size_t len, struct checkpoint *ret, struct err *e);

#endif
