/*
 * What the files of the tree share. Nobody else includes it.
 *
 *   tree.c         what grows: the tiles that are not full, and how they are stored
 *   tree_proof.c   what is read of it: roots and proofs
 */
#ifndef POSTERN_AUDIT_TREE_INTERNAL_H
#define POSTERN_AUDIT_TREE_INTERNAL_H

#include "broker/audit/tree.h"

#define TREE_HEIGHT 8 /* of a tile: 2^8 == TREE_TILE_WIDTH */

typedef uint8_t tree_hash[DIGEST_LEN];

/* How many hashes of `level` a tree of `size` leaves has. */
uint64_t tree_width(uint64_t size, unsigned level);
/* The root of n = 2^k hashes, which are overwritten. */
void tree_fold(tree_hash *h, size_t n);
/* The leaf hashes of the records behind leaf number `from`. */
int tree_hash_records(
    struct store *s, uint32_t log, uint64_t from, size_t n, tree_hash *ret, struct err *e);

#endif
