/*
 * c2sp.org/tlog-witness as text: the request that asks for a cosignature, and what a witness may
 * answer. Knows no network.
 *
 * Request: "old SIZE\n", the consistency proof's hashes in base64 a line each, an empty line, the
 * checkpoint's note. 200: note signature lines. 409: the size that the witness has, in decimal.
 */
#ifndef POSTERN_EXPORT_WITNESS_TEXT_H
#define POSTERN_EXPORT_WITNESS_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "creds/note.h"

struct buf;
struct err;

#define WITNESS_ANSWER_MAX NOTE_MAX
#define WITNESS_PROOF_MAX  63
#define WITNESS_LINE_MAX   1024

void witness_request(uint64_t old, const uint8_t (*proof)[DIGEST_LEN], size_t n, const void *note,
    size_t len, struct buf *out);
/* Finds the line by that key in a 200's body and verifies it over the checkpoint text (which ends
 * in a newline). The line, its newline included, is appended to ret. -ENOENT: there is none by this
 * key; -EBADMSG: it does not hold, or the body is no list of signatures. */
int witness_cosignature(const char *text, size_t text_len, const void *body, size_t len,
    const struct note_key *key, struct buf *ret, struct err *e);
/* The body of a 409. */
int witness_size(const void *body, size_t len, uint64_t *ret);

#endif
