/*
 * RFC 6962 Merkle trees (section 2.1, SHA-256, domain-separated) as arithmetic: what a leaf and a
 * node hash to, how a root grows leaf by leaf, and whether a proof holds. Knows no store.
 *
 * A compact range (struct merkle) holds the roots of the full subtrees that a tree of `size` leaves
 * consists of, largest first: one hash for each bit of size. Appending is O(1) hashes on average.
 *
 * Depends on lib/digest alone. The store's side is broker/audit/tree.h.
 */
#ifndef POSTERN_LIB_MERKLE_H
#define POSTERN_LIB_MERKLE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/digest.h"

#define MERKLE_LEVELS    63 /* sizes below 2^63 */
#define MERKLE_PROOF_MAX 63 /* hashes of an inclusion or consistency proof (C2SP tlog-witness) */

struct merkle {
	uint64_t size;
	uint8_t node[MERKLE_LEVELS]
	            [DIGEST_LEN]; /* node[level] is valid if bit `level` of size is set */
};

/* SHA-256(0x00 || data). */
void merkle_leaf(const void *data, size_t len, uint8_t ret[DIGEST_LEN]);
/* SHA-256(0x01 || left || right). */
void merkle_node(
    const uint8_t left[DIGEST_LEN], const uint8_t right[DIGEST_LEN], uint8_t ret[DIGEST_LEN]);
void merkle_init(struct merkle *m); /* the empty tree */
/* -EOVERFLOW at 2^63 - 1 leaves. */
int merkle_append(struct merkle *m, const uint8_t leaf[DIGEST_LEN]);
/* Of the empty tree: SHA-256 of nothing. */
void merkle_root(const struct merkle *m, uint8_t ret[DIGEST_LEN]);
/* size, then the hashes that its bits stand for, largest subtree first: at most MERKLE_PACKED_MAX.
 */
#define MERKLE_PACKED_MAX (8 + MERKLE_LEVELS * DIGEST_LEN)
size_t merkle_pack(const struct merkle *m, uint8_t out[MERKLE_PACKED_MAX]);
/* -EBADMSG. */
int merkle_unpack(const void *data, size_t len, struct merkle *ret);

/* Verification as RFC 9162 sections 2.1.3.2 and 2.1.4.2 write it down. index counts from 0. 0, or
 * -EBADMSG: the proof does not hold (or n is not what index and size demand). */
int merkle_verify_inclusion(const uint8_t leaf[DIGEST_LEN], uint64_t index, uint64_t size,
    const uint8_t (*proof)[DIGEST_LEN], size_t n, const uint8_t root[DIGEST_LEN]);
int merkle_verify_consistency(uint64_t old_size, const uint8_t old_root[DIGEST_LEN], uint64_t size,
    const uint8_t root[DIGEST_LEN], const uint8_t (*proof)[DIGEST_LEN], size_t n);

#endif
