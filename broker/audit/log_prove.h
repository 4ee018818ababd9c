/*
 * Proofs about a log that is there: from a store's tiles, or from all its leaves.
 */
#ifndef POSTERN_AUDIT_LOG_PROVE_H
#define POSTERN_AUDIT_LOG_PROVE_H

#include <stddef.h>
#include <stdint.h>

#include "broker/audit/proof.h"

struct buf;
struct err;
struct store;

/* Against the newest checkpoint, which is appended to note and which ret points into. number: of a
 * record, from 1, or the old size. -ENOENT: no such log; -ERANGE: no checkpoint so large. */
int log_prove(struct store *s, const char *log, enum proof_kind kind, uint64_t number,
    struct proof *ret, struct buf *note, struct err *e);
/* The same from the leaf hashes of the first `size` records. -ERANGE. */
int log_prove_leaves(const uint8_t (*leaf)[DIGEST_LEN], uint64_t size, enum proof_kind kind,
    uint64_t number, struct proof *ret, struct err *e);

#endif
