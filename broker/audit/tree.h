/*
 * The Merkle tree of one log in the store: a compact range that grows with each record, and tiles
 * (c2sp.org/tlog-tiles, height 8) from which proofs are made.
 *
 * Level 0 of the tiles holds leaf hashes, level n the roots of the tiles of level n - 1; a tile is stored when it
 * is full (256 hashes), in the transaction of the record that filled it. What is not in a full tile yet is
 * hashed again from at most 255 records. So an ordinary append writes no page for the tree beyond the log's head.
 */
#ifndef POSTERN_AUDIT_TREE_H
#define POSTERN_AUDIT_TREE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/merkle.h"

struct err;
struct store;

#define TREE_TILE_WIDTH 256
#define TREE_TILE_LEN   (TREE_TILE_WIDTH * DIGEST_LEN)

/* Inside the caller's write transaction: the leaf becomes number m->size of `log`; full tiles are stored. */
struct tree_tail; /* the hashes of the tiles that are not full yet, one for each level, in memory */
int tree_tail_load(struct store *s, uint32_t log, const struct merkle *m, struct tree_tail **ret,
    struct err *e);
void tree_tail_free(struct tree_tail *t);
int tree_append(struct store *s, uint32_t log, struct merkle *m, struct tree_tail *t,
    const uint8_t leaf[DIGEST_LEN], struct err *e);

/* Committed state. The root of the first `size` leaves. */
int tree_root(struct store *s, uint32_t log, uint64_t size, uint8_t ret[DIGEST_LEN], struct err *e);
int tree_inclusion(struct store *s, uint32_t log, uint64_t index, uint64_t size,
    uint8_t (*ret)[DIGEST_LEN], size_t *ret_n, struct err *e);
int tree_consistency(struct store *s, uint32_t log, uint64_t old_size, uint64_t size,
    uint8_t (*ret)[DIGEST_LEN], size_t *ret_n, struct err *e);

#endif
