/*
 * What is left of the records that are in the archive: for each log one row, the edge, and how
 * records behind it leave the store.
 *
 * A log that was pruned begins with record edge.seq + 1, a multiple of TREE_TILE_WIDTH and one. Of
 * what was before there are the leaf hash that the first record holds as `prev`, the tree of all of
 * it as a compact range, and all tiles but those of leaf hashes. So the tree goes on growing, its
 * root and proofs of what is left hold as before; what needs a pruned leaf is -ENOENT.
 *
 * Bodies that lie beside records (broker/audit/body.h) go with them.
 *
 * Whoever prunes has seen to it that the records are somewhere else and that a checkpoint covers
 * them. Each step is one transaction: whatever dies in between, the row says what is there.
 */
#ifndef POSTERN_AUDIT_PRUNE_H
#define POSTERN_AUDIT_PRUNE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/merkle.h"

struct err;
struct record_log;
struct store;

#define PRUNE_STEP 1024 /* records of one transaction; a multiple of TREE_TILE_WIDTH */

/* STORE_EDGES: u64 seq, u64 to, u64 bytes, leaf, packed tree. */
struct log_edge {
	uint64_t seq;             /* up to it the records are gone; 0: none are */
	uint64_t to;              /* up to it they are in the archive */
	uint64_t bytes;           /* of those that are in both, and of their bodies */
	uint8_t leaf[DIGEST_LEN]; /* of record seq; zeros when there is none */
	struct merkle tree;       /* of the first seq records */
};

#define LOG_EDGE_MAX (24 + DIGEST_LEN + MERKLE_PACKED_MAX)
size_t log_edge_pack(const struct log_edge *g, uint8_t out[LOG_EDGE_MAX]);
int log_edge_parse(const void *data, size_t len, struct log_edge *ret); /* -EBADMSG */
/* Committed state; all zero when nothing of the log was ever archived. -EUCLEAN: damaged. */
int log_edge_get(struct store *s, uint32_t log, struct log_edge *ret, struct err *e);
/* `bytes` more, of the records up to `to`, are in the archive. With the next commit. */
int log_edge_archived(struct store *s, uint32_t log, uint64_t to, uint64_t bytes, struct err *e);

/* One transaction: of the records up to `most`, which are in the archive, the oldest PRUNE_STEP, as
 * far as they fill tiles. The newest record always stays. *ret_edge: the new edge; the same as
 * before when there is nothing to do. -EAGAIN: changes wait that belong to records not written yet:
 * later. l may be NULL (nobody writes). */
int log_prune_step(struct store *s, struct record_log *l, uint32_t log, uint64_t most,
    uint64_t *ret_edge, struct err *e);

#endif
