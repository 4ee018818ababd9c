/*
 * The Merkle tree of one log in the store: a compact range that grows with each record, and tiles
 * (c2sp.org/tlog-tiles, height 8) from which proofs are made.
 *
 * Level 0 of the tiles holds leaf hashes, level n the roots of the tiles of level n - 1; key: u32
 * log, u8 level, u64 index. A tile of level 0 is stored when it is full (256 hashes), in the
 * transaction of the record that filled it, and with it the tile above, which grew by its root and
 * may not be full. What is not in a tile yet is hashed again from at most 255 records. So of 256
 * appends 255 write no page for the tree beyond the log's head.
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

#define TREE_LEVELS  8 /* of tiles */
#define TREE_KEY_LEN 13

struct tree_tail; /* the hashes of the tiles that are not full yet, one for each level, in memory */

void tree_key(uint32_t log, unsigned level, uint64_t index, uint8_t out[TREE_KEY_LEN]);
/* From committed state; -EUCLEAN if it does not add up to m. */
int tree_tail_load(
    struct store *s, uint32_t log, const struct merkle *m, struct tree_tail **ret, struct err *e);
void tree_tail_free(struct tree_tail *t);
/* Inside the caller's write transaction: the leaf becomes number m->size of `log`; tiles are
 * stored. If the transaction is aborted m and t are to be loaded anew. */
int tree_append(struct store *s, uint32_t log, struct merkle *m, struct tree_tail *t,
    const uint8_t leaf[DIGEST_LEN], struct err *e);

/* Committed state. The root of the first `size` leaves. ret holds MERKLE_PROOF_MAX hashes. -EINVAL:
 * no such leaf or size; -ENOENT: a leaf that this needs is in the archive (broker/audit/prune.h);
 * -EUCLEAN: a tile or record is missing. A wrong hash in a tile makes a proof that does not hold.
 */
int tree_root(struct store *s, uint32_t log, uint64_t size, uint8_t ret[DIGEST_LEN], struct err *e);
/* The same as a compact range, and the hash of the last of those leaves. */
int tree_range(struct store *s, uint32_t log, uint64_t size, struct merkle *ret,
    uint8_t ret_leaf[DIGEST_LEN], struct err *e);
int tree_inclusion(struct store *s, uint32_t log, uint64_t index, uint64_t size,
    uint8_t (*ret)[DIGEST_LEN], size_t *ret_n, struct err *e);
int tree_consistency(struct store *s, uint32_t log, uint64_t old_size, uint64_t size,
    uint8_t (*ret)[DIGEST_LEN], size_t *ret_n, struct err *e);

#endif
