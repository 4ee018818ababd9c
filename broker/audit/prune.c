#include "broker/audit/prune.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "broker/audit/body.h"
#include "broker/audit/logs.h"
#include "broker/audit/record_store.h"
#include "broker/audit/tree.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/reader.h"

#define LLU(x) ((unsigned long long)(x))
_Static_assert(PRUNE_STEP % TREE_TILE_WIDTH == 0, "whole tiles are pruned");

static void put_u64(uint8_t *out, uint64_t v)
{
	for (size_t i = 0; i < 8; i++)
		out[i] = (uint8_t)(v >> (56 - 8 * i));
}

size_t log_edge_pack(const struct log_edge *g, uint8_t out[LOG_EDGE_MAX])
{
	put_u64(out, g->seq);
	put_u64(out + 8, g->to);
	put_u64(out + 16, g->bytes);
	memcpy(out + 24, g->leaf, DIGEST_LEN);
	return 24 + DIGEST_LEN + merkle_pack(&g->tree, out + 24 + DIGEST_LEN);
}

int log_edge_parse(const void *data, size_t len, struct log_edge *ret)
{
	const uint8_t *leaf;
	struct log_edge g;
	struct reader r;

	reader_init(&r, data, len);
	if (reader_u64(&r, &g.seq) < 0 || reader_u64(&r, &g.to) < 0 ||
	    reader_u64(&r, &g.bytes) < 0 || reader_bytes(&r, DIGEST_LEN, &leaf) < 0 ||
	    merkle_unpack(r.p, r.left, &g.tree) < 0 || g.tree.size != g.seq || g.to < g.seq ||
	    g.to > INT64_MAX)
		return -EBADMSG;
	memcpy(g.leaf, leaf, DIGEST_LEN);
	*ret = g;
	return 0;
}

int log_edge_get(struct store *s, uint32_t log, struct log_edge *ret, struct err *e)
{
	cleanup_buf struct buf b;
	uint8_t key[4];
	int r;

	buf_init(&b, LOG_EDGE_MAX);
	log_number_key(log, key);
	r = store_get(s, STORE_EDGES, key, sizeof key, &b);
	if (r == -ENOENT) {
		memset(ret, 0, sizeof *ret);
		return 0;
	}
	if (r < 0)
		return err_set(e, r, "log %u: its edge cannot be read", log);
	if (log_edge_parse(b.data, b.len, ret) < 0)
		return err_set(e, -EUCLEAN, "log %u: its edge is damaged", log);
	return 0;
}

int log_edge_archived(struct store *s, uint32_t log, uint64_t to, uint64_t bytes, struct err *e)
{
	uint8_t packed[LOG_EDGE_MAX], key[4];
	struct log_edge g;
	int r = log_edge_get(s, log, &g, e);

	if (r < 0)
		return r;
	if (to <= g.to)
		return err_set(
		    e, -EINVAL, "log %u: %llu records are in the archive already", log, LLU(g.to));
	g.to = to;
	g.bytes += bytes;
	log_number_key(log, key);
	r = store_later_key(s, STORE_EDGES, key, sizeof key, packed, log_edge_pack(&g, packed));
	return r < 0 ? err_set(e, r, "log %u: its edge cannot be kept", log) : 0;
}

/* ---- one step ---- */

struct step {
	uint64_t from, next, to; /* the first and last record that go; the one that has to come */
	uint64_t bytes;
	struct log_edge *edge; /* grows with each */
	size_t n;
	uint64_t checkpoint[TREE_TILE_WIDTH]; /* sizes of notes that go as well */
};

static int on_record(uint64_t seq, const void *data, size_t len, void *arg)
{
	struct step *p = arg;
	uint8_t digest[DIGEST_LEN];
	size_t n;

	if (seq > p->to)
		return 1;
	if (seq != p->next)
		return -EUCLEAN;
	p->next++;
	p->bytes += len;
	/* as it was counted when it was written */
	if (body_named(data, len, digest, &n) == 0)
		p->bytes += n;
	return 0;
}

static int on_checkpoint(uint64_t size, const void *note, size_t len, void *arg)
{
	struct step *p = arg;

	(void)note;
	(void)len;
	if (size >= p->to || p->n == TREE_TILE_WIDTH)
		return 1;
	p->checkpoint[p->n++] = size;
	return 0;
}

/* The leaf hashes as the tree has them, which is what the next record's `prev` says. */
static int add_tile(struct store *s, uint32_t log, uint64_t index, struct log_edge *g)
{
	uint8_t key[TREE_KEY_LEN];
	cleanup_buf struct buf b;

	buf_init(&b, TREE_TILE_LEN);
	tree_key(log, 0, index, key);
	if (store_get(s, STORE_TILES, key, sizeof key, &b) < 0 || b.len != TREE_TILE_LEN)
		return -EUCLEAN;
	for (size_t i = 0; i < TREE_TILE_WIDTH; i++)
		if (merkle_append(&g->tree, b.data + i * DIGEST_LEN) < 0)
			return -EUCLEAN;
	memcpy(g->leaf, b.data + TREE_TILE_LEN - DIGEST_LEN, DIGEST_LEN);
	g->seq = g->tree.size;
	return 0;
}

/* Everything that is read is read before the transaction. */
static int gather(struct store *s, uint32_t log, struct step *p, struct err *e)
{
	int r = logs_walk(s, log, p->from, PRUNE_STEP, on_record, p);

	if (r < 0 || p->next != p->to + 1)
		return err_set(e, -EUCLEAN, "log %u: record %llu is missing, so nothing is pruned",
		    log, LLU(p->next));
	for (uint64_t i = (p->from - 1) / TREE_TILE_WIDTH; i < p->to / TREE_TILE_WIDTH; i++)
		if (add_tile(s, log, i, p->edge) < 0)
			return err_set(e, -EUCLEAN,
			    "log %u: tile 0/%llu is missing, so nothing is pruned", log, LLU(i));
	r = logs_checkpoint_walk(s, log, 0, TREE_TILE_WIDTH, on_checkpoint, p);
	return r < 0 ? err_set(e, r, "log %u: its checkpoints cannot be read", log) : 0;
}

static int drop(struct store *s, uint32_t log, const struct step *p, struct err *e)
{
	uint8_t key[LOG_KEY_LEN], tile[TREE_KEY_LEN];
	int r = 0;

	for (uint64_t n = p->from; r == 0 && n <= p->to; n++) {
		log_key(log, n, key);
		r = store_del(s, STORE_RECORDS, key, sizeof key, e);
		if (r == 0) /* whether it names one or not: nothing is left behind */
			r = store_del(s, STORE_BODIES, key, sizeof key, e);
	}
	for (uint64_t i = (p->from - 1) / TREE_TILE_WIDTH; r == 0 && i < p->to / TREE_TILE_WIDTH;
	     i++) {
		tree_key(log, 0, i, tile);
		r = store_del(s, STORE_TILES, tile, sizeof tile, e);
	}
	for (size_t i = 0; r == 0 && i < p->n; i++) {
		log_key(log, p->checkpoint[i], key);
		r = store_del(s, STORE_CHECKPOINTS, key, sizeof key, e);
	}
	return r;
}

static int write_step(
    struct store *s, uint32_t log, const struct step *p, const struct log_head *head, struct err *e)
{
	uint8_t edge[LOG_EDGE_MAX], packed[LOG_HEAD_MAX], key[4];
	int r = store_begin(s, e);

	if (r < 0)
		return r;
	log_number_key(log, key);
	if ((r = drop(s, log, p, e)) < 0 ||
	    (r = store_put(
	         s, STORE_EDGES, key, sizeof key, edge, log_edge_pack(p->edge, edge), e)) < 0 ||
	    (r = store_put(
	         s, STORE_HEADS, key, sizeof key, packed, log_head_pack(head, packed), e)) < 0) {
		store_abort(s);
		return r;
	}
	return store_commit(s, e);
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

int log_prune_step(struct store *s, struct record_log *l, uint32_t log, uint64_t most,
    uint64_t *ret_edge, struct err *e)
{
	struct log_edge g;
	struct log_head head;
	struct step p = {.edge = &g};
	int r;

	/* what is queued belongs to records, and is never there before them */
	if (l && store_waiting(s))
		(void)l->ops->flush(l);
	if (store_waiting(s))
		return err_set(e, -EAGAIN, "changes wait");
	if ((r = log_edge_get(s, log, &g, e)) < 0 || (r = logs_head(s, log, &head, e)) < 0)
		return r;
	p.from = p.next = g.seq + 1;
	p.to = most < g.to ? most : g.to;
	if (p.to >= head.seq)
		p.to = less(head.seq, 1);
	if (p.to > g.seq + PRUNE_STEP)
		p.to = g.seq + PRUNE_STEP;
	p.to -= p.to % TREE_TILE_WIDTH;
	if (p.to <= g.seq) {
		*ret_edge = g.seq;
		return 0;
	}
	if ((r = gather(s, log, &p, e)) < 0)
		return r;
	g.bytes = less(g.bytes, p.bytes);
	head.bytes = less(head.bytes, p.bytes);
	if ((r = write_step(s, log, &p, &head, e)) < 0)
		return r;
	if (l)
		record_pruned(l, log, p.bytes);
	*ret_edge = g.seq;
	return 0;
}
