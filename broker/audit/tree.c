#include "broker/audit/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/chain.h"
#include "broker/audit/logs.h"
#include "broker/audit/prune.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/util.h"

#define LLU(x) ((unsigned long long)(x))
#define HEIGHT 8 /* of a tile: 2^8 == TREE_TILE_WIDTH */
#define CACHED 16

typedef uint8_t hash[DIGEST_LEN];

void tree_key(uint32_t log, unsigned level, uint64_t index, uint8_t out[TREE_KEY_LEN])
{
	log_number_key(log, out);
	out[4] = (uint8_t)level;
	for (size_t i = 0; i < 8; i++)
		out[5 + i] = (uint8_t)(index >> (56 - 8 * i));
}

/* How many hashes of `level` a tree of `size` leaves has. */
static uint64_t width_at(uint64_t size, unsigned level)
{
	return size >> (HEIGHT * level);
}

/* The root of n = 2^k hashes, which are overwritten. */
static void fold(hash *h, size_t n)
{
	for (; n > 1; n /= 2)
		for (size_t i = 0; i < n / 2; i++)
			merkle_node(h[2 * i], h[2 * i + 1], h[i]);
}

/* ---- the right edge ---- */

struct tree_tail {
	size_t n[TREE_LEVELS];
	hash *level[TREE_LEVELS]; /* NULL: none yet */
};

void tree_tail_free(struct tree_tail *t)
{
	int saved = errno;

	for (size_t i = 0; t && i < TREE_LEVELS; i++)
		free(t->level[i]);
	free(t);
	errno = saved;
}

static int level_of(struct tree_tail *t, unsigned level, hash **ret)
{
	if (!t->level[level])
		t->level[level] = malloc(TREE_TILE_LEN);
	*ret = t->level[level];
	return *ret ? 0 : -ENOMEM;
}

struct leaves {
	hash *at;
	uint64_t next; /* the record that has to come */
	size_t n, max;
};

static int on_leaf(uint64_t seq, const void *data, size_t len, void *arg)
{
	struct leaves *l = arg;

	if (seq != l->next || l->n == l->max)
		return -EUCLEAN;
	/* as it was when the next one was written, whatever has become of its bytes since */
	if (l->n > 0)
		(void)chain_prev(data, len, l->at[l->n - 1]);
	merkle_leaf(data, len, l->at[l->n++]);
	l->next++;
	return l->n == l->max;
}

/* The leaf hashes of the records behind leaf number `from`. */
static int hash_records(
    struct store *s, uint32_t log, uint64_t from, size_t n, hash *ret, struct err *e)
{
	struct leaves l = {.at = ret, .next = from + 1, .max = n};
	int r = n ? logs_walk(s, log, from + 1, n, on_leaf, &l) : 0;

	if (r < 0 || l.n != n)
		return err_set(e, -EUCLEAN, "log %u: record %llu is missing", log, LLU(l.next));
	return 0;
}

static int load_level(
    struct store *s, uint32_t log, unsigned level, uint64_t size, hash *ret, struct err *e)
{
	uint64_t width = width_at(size, level), index = width / TREE_TILE_WIDTH;
	size_t n = width % TREE_TILE_WIDTH;
	uint8_t key[TREE_KEY_LEN];
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, TREE_TILE_LEN);
	if (level == 0)
		return hash_records(s, log, index * TREE_TILE_WIDTH, n, ret, e);
	if (n == 0)
		return 0;
	tree_key(log, level, index, key);
	r = store_get(s, STORE_TILES, key, sizeof key, &b);
	if (r < 0 || b.len < n * DIGEST_LEN)
		return err_set(e, r < 0 && r != -ENOENT ? r : -EUCLEAN,
		    "log %u: tile %u/%llu is missing", log, level, LLU(index));
	memcpy(ret, b.data, n * DIGEST_LEN);
	return 0;
}

/* The full subtrees that n hashes of this level are made of must be those of the range. */
static bool fits(const struct merkle *m, unsigned level, const hash *h, size_t n)
{
	hash copy[TREE_TILE_WIDTH];
	size_t at = 0;

	for (unsigned bit = HEIGHT; bit-- > 0;) {
		size_t part = (size_t)1 << bit;

		if (!(n & part))
			continue;
		memcpy(copy, h + at, part * DIGEST_LEN);
		fold(copy, part);
		if (memcmp(copy[0], m->node[HEIGHT * level + bit], DIGEST_LEN) != 0)
			return false;
		at += part;
	}
	return true;
}

int tree_tail_load(
    struct store *s, uint32_t log, const struct merkle *m, struct tree_tail **ret, struct err *e)
{
	struct tree_tail *t = calloc(1, sizeof *t);
	hash *h;
	int r = t ? 0 : err_set(e, -ENOMEM, "no memory for a tree");

	for (unsigned level = 0; r == 0 && level < TREE_LEVELS; level++) {
		t->n[level] = width_at(m->size, level) % TREE_TILE_WIDTH;
		if (t->n[level] == 0)
			continue;
		if ((r = level_of(t, level, &h)) < 0)
			r = err_set(e, r, "no memory for a tree");
		else if ((r = load_level(s, log, level, m->size, h, e)) == 0 &&
		         !fits(m, level, h, t->n[level]))
			r = err_set(e, -EUCLEAN,
			    "log %u: the newest records or tiles do not match the log's head", log);
	}
	if (r < 0) {
		tree_tail_free(t);
		return r;
	}
	*ret = t;
	return 0;
}

static int put_tile(struct store *s, uint32_t log, const struct tree_tail *t, unsigned level,
    uint64_t index, struct err *e)
{
	uint8_t key[TREE_KEY_LEN];

	tree_key(log, level, index, key);
	return store_put(
	    s, STORE_TILES, key, sizeof key, t->level[level], t->n[level] * DIGEST_LEN, e);
}

int tree_append(struct store *s, uint32_t log, struct merkle *m, struct tree_tail *t,
    const uint8_t leaf[DIGEST_LEN], struct err *e)
{
	hash *h;
	int r;

	if (level_of(t, 0, &h) < 0 || merkle_append(m, leaf) < 0)
		return err_set(e, -ENOMEM, "no room in a tree");
	memcpy(h[t->n[0]++], leaf, DIGEST_LEN);
	for (unsigned level = 0; t->n[level] == TREE_TILE_WIDTH && level + 1 < TREE_LEVELS;
	     level++) {
		hash *up;

		if (level == 0 && (r = put_tile(s, log, t, 0, width_at(m->size, 1) - 1, e)) < 0)
			return r;
		if (level_of(t, level + 1, &up) < 0)
			return err_set(e, -ENOMEM, "no memory for a tree");
		/* its root: of this height the range has just got a new one */
		fold(t->level[level], TREE_TILE_WIDTH);
		memcpy(up[t->n[level + 1]++], t->level[level][0], DIGEST_LEN);
		t->n[level] = 0;
		r = put_tile(
		    s, log, t, level + 1, (width_at(m->size, level + 1) - 1) / TREE_TILE_WIDTH, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- proofs ---- */

struct tile {
	unsigned level;
	uint64_t index;
	size_t n; /* 0: unused */
	hash h[TREE_TILE_WIDTH];
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
	uint64_t width = width_at(t->size, tile->level), first = tile->index * TREE_TILE_WIDTH;
	size_t n = width - first < TREE_TILE_WIDTH ? (size_t)(width - first) : TREE_TILE_WIDTH;
	uint8_t key[TREE_KEY_LEN];
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, TREE_TILE_LEN);
	if (tile->level == 0 && n < TREE_TILE_WIDTH) {
		if ((r = hash_records(t->s, t->log, first, n, tile->h, t->e)) < 0)
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
static int subtree(struct tiles *t, uint64_t begin, unsigned height, hash ret)
{
	unsigned level = height / HEIGHT;
	size_t part = (size_t)1 << height % HEIGHT;
	uint64_t at = begin >> (HEIGHT * level);
	hash copy[TREE_TILE_WIDTH];
	const struct tile *tile = NULL;
	int r = get_tile(t, level, at / TREE_TILE_WIDTH, &tile);

	if (r < 0)
		return r;
	memcpy(copy, tile->h[at % TREE_TILE_WIDTH], part * DIGEST_LEN);
	fold(copy, part);
	memcpy(ret, copy[0], DIGEST_LEN);
	return 0;
}

/* MTH of n leaves from `begin`, which is a multiple of a power of two that is not below n: the full
 * subtrees of n's bits, folded from the smallest. */
static int range(struct tiles *t, uint64_t begin, uint64_t n, hash ret)
{
	uint64_t end = begin + n;
	bool any = false;
	hash left;
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

static void reverse(hash *h, size_t n)
{
	hash swap;

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
	hash root;
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
	hash leaf = {0};
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
