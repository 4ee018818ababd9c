#include "broker/audit/tree_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/logs.h"
#include "broker/audit/prune.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/util.h"

#define LLU(x) ((unsigned long long)(x))
#define CACHED 16

struct tile {
	unsigned level;
	uint64_t index;
	size_t n; /* 0: unused */
	tree_hash h[TREE_TILE_WIDTH];
};

struct tiles {
	struct store *s;
	uint32_t log;
	uint64_t size; /* of the tree as it is now */
	size_t next;
	struct tile *tile[CACHED];
	struct err *e;
};

static void tiles_done(struct tiles *t)
{
	for (size_t i = 0; i < CACHED; i++)
		free(t->tile[i]);
}

/* Why a tile is not there. */
static int no_tile(struct tiles *t, const struct tile *tile)
{
	struct log_edge g;

	if (tile->level == 0 && log_edge_get(t->s, t->log, &g, NULL) == 0 &&
	    tile->index < g.seq / TREE_TILE_WIDTH)
		return err_set(t->e, -ENOENT, "records 1 to %llu are in the archive", LLU(g.seq));
	return err_set(t->e, -EUCLEAN, "log %u: tile %u/%llu is missing", t->log, tile->level,
	    LLU(tile->index));
}

static int load_tile(struct tiles *t, struct tile *tile)
{
	uint64_t width = tree_width(t->size, tile->level), first = tile->index * TREE_TILE_WIDTH;
	size_t n = width - first < TREE_TILE_WIDTH ? (size_t)(width - first) : TREE_TILE_WIDTH;
	uint8_t key[TREE_KEY_LEN];
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, TREE_TILE_LEN);
	if (tile->level == 0 && n < TREE_TILE_WIDTH) {
		if ((r = tree_hash_records(t->s, t->log, first, n, tile->h, t->e)) < 0)
			return r;
	} else {
		tree_key(t->log, tile->level, tile->index, key);
		r = store_get(t->s, STORE_TILES, key, sizeof key, &b);
		if (r < 0 || b.len < n * DIGEST_LEN)
			return no_tile(t, tile);
		memcpy(tile->h, b.data, n * DIGEST_LEN);
	}
	tile->n = n;
	return 0;
}

static int get_tile(struct tiles *t, unsigned level, uint64_t index, const struct tile **ret)
{
	struct tile **slot;
	int r;

	for (size_t i = 0; i < CACHED; i++) {
		const struct tile *x = t->tile[i];

		if (x && x->n > 0 && x->level == level && x->index == index) {
			*ret = x;
			return 0;
		}
	}
	slot = &t->tile[t->next++ % CACHED];
	if (!*slot && !(*slot = malloc(sizeof **slot)))
		return err_set(t->e, -ENOMEM, "no memory for a proof");
	(*slot)->level = level;
	(*slot)->index = index;
	(*slot)->n = 0;
	if ((r = load_tile(t, *slot)) < 0)
		return r;
	*ret = *slot;
	return 0;
}

/* The full subtree of 2^height leaves that begins at leaf `begin`. */
static int subtree(struct tiles *t, uint64_t begin, unsigned height, tree_hash ret)
{
	unsigned level = height / TREE_HEIGHT;
	size_t part = (size_t)1 << height % TREE_HEIGHT;
	uint64_t at = begin >> (TREE_HEIGHT * level);
	tree_hash copy[TREE_TILE_WIDTH];
	const struct tile *tile = NULL;
	int r = get_tile(t, level, at / TREE_TILE_WIDTH, &tile);

	if (r < 0)
		return r;
	memcpy(copy, tile->h[at % TREE_TILE_WIDTH], part * DIGEST_LEN);
	tree_fold(copy, part);
	memcpy(ret, copy[0], DIGEST_LEN);
	return 0;
}

/* MTH of n leaves from `begin`, which is a multiple of a power of two that is not below n: the full
 * subtrees of n's bits, folded from the smallest. */
static int range(struct tiles *t, uint64_t begin, uint64_t n, tree_hash ret)
{
	uint64_t end = begin + n;
	bool any = false;
	tree_hash left;
	int r;

	for (unsigned height = 0; height < MERKLE_LEVELS; height++) {
		if (!(n >> height & 1))
			continue;
		end -= UINT64_C(1) << height;
		if ((r = subtree(t, end, height, any ? left : ret)) < 0)
			return r;
		if (any)
			merkle_node(left, ret, ret);
		any = true;
	}
	return 0;
}

static uint64_t split(uint64_t n)
{
	return UINT64_C(1) << (63 - __builtin_clzll(n - 1));
}

static void reverse(tree_hash *h, size_t n)
{
	tree_hash swap;

	for (size_t i = 0; i < n / 2; i++) {
		memcpy(swap, h[i], DIGEST_LEN);
		memcpy(h[i], h[n - 1 - i], DIGEST_LEN);
		memcpy(h[n - 1 - i], swap, DIGEST_LEN);
	}
}

static int start(struct tiles *t, struct store *s, uint32_t log, uint64_t size, struct err *e)
{
	struct log_head head;
	int r = logs_head(s, log, &head, e);

	*t = (struct tiles){.s = s, .log = log, .size = head.seq, .e = e};
	if (r < 0)
		return r;
	return size <= t->size ? 0
	                       : err_set(e, -EINVAL, "the log has %llu records, not %llu",
	                             LLU(t->size), LLU(size));
}

int tree_root(struct store *s, uint32_t log, uint64_t size, uint8_t ret[DIGEST_LEN], struct err *e)
{
	struct tiles t = {0};
	tree_hash root;
	int r = start(&t, s, log, size, e);

	if (r == 0 && size == 0)
		digest_sha256("", 0, root);
	else if (r == 0)
		r = range(&t, 0, size, root);
	tiles_done(&t);
	if (r == 0)
		memcpy(ret, root, DIGEST_LEN);
	return r;
}

int tree_range(struct store *s, uint32_t log, uint64_t size, struct merkle *ret,
    uint8_t ret_leaf[DIGEST_LEN], struct err *e)
{
	struct merkle m = {.size = size};
	uint64_t end = size;
	struct tiles t = {0};
	struct log_edge g;
	tree_hash leaf = {0};
	int r = start(&t, s, log, size, e);

	/* where the log begins its last leaf is gone, and this is what is left of it */
	if (r == 0 && size > 0 && (r = log_edge_get(s, log, &g, e)) == 0 && g.seq == size) {
		*ret = g.tree;
		memcpy(ret_leaf, g.leaf, DIGEST_LEN);
		return 0;
	}
	for (unsigned height = 0; r == 0 && height < MERKLE_LEVELS; height++)
		if (size >> height & 1) {
			end -= UINT64_C(1) << height;
			r = subtree(&t, end, height, m.node[height]);
		}
	if (r == 0 && size > 0)
		r = subtree(&t, size - 1, 0, leaf);
	tiles_done(&t);
	if (r < 0)
		return r;
	*ret = m;
	memcpy(ret_leaf, leaf, DIGEST_LEN);
	return 0;
}

int tree_inclusion(struct store *s, uint32_t log, uint64_t index, uint64_t size,
    uint8_t (*ret)[DIGEST_LEN], size_t *ret_n, struct err *e)
{
	uint64_t begin = 0, n = size;
	struct tiles t = {0};
	size_t len = 0;
	int r = index < size
	            ? start(&t, s, log, size, e)
	            : err_set(e, -EINVAL, "there is no such record in a log of %llu", LLU(size));

	/* PATH of RFC 6962 section 2.1.1, from the root down */
	while (r == 0 && n > 1) {
		uint64_t k = split(n);

		if (index - begin < k) {
			r = range(&t, begin + k, n - k, ret[len]);
			n = k;
		} else {
			r = range(&t, begin, k, ret[len]);
			begin += k;
			n -= k;
		}
		len++;
	}
	tiles_done(&t);
	if (r < 0)
		return r;
	reverse(ret, len);
	*ret_n = len;
	return 0;
}

int tree_consistency(struct store *s, uint32_t log, uint64_t old_size, uint64_t size,
    uint8_t (*ret)[DIGEST_LEN], size_t *ret_n, struct err *e)
{
	uint64_t begin = 0, m = old_size, n = size;
	struct tiles t = {0};
	bool whole = true;
	size_t len = 0;
	int r = old_size <= size
	            ? start(&t, s, log, size, e)
	            : err_set(e, -EINVAL, "a log of %llu records is not older than one of %llu",
	                  LLU(old_size), LLU(size));

	/* SUBPROOF of section 2.1.2, likewise; the empty tree needs none */
	while (r == 0 && m > 0 && m != n) {
		uint64_t k = split(n);

		if (m <= k) {
			r = range(&t, begin + k, n - k, ret[len]);
			n = k;
		} else {
			r = range(&t, begin, k, ret[len]);
			begin += k;
			m -= k;
			n -= k;
			whole = false;
		}
		len++;
	}
	if (r == 0 && !whole)
		r = range(&t, begin, n, ret[len++]);
	tiles_done(&t);
	if (r < 0)
		return r;
	reverse(ret, len);
	*ret_n = len;
	return 0;
}
