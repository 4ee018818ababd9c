#include "broker/audit/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/chain.h"
#include "broker/audit/logs.h"
#include "broker/audit/tree_internal.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/util.h"

#define LLU(x) ((unsigned long long)(x))

void tree_key(uint32_t log, unsigned level, uint64_t index, uint8_t out[TREE_KEY_LEN])
{
	log_number_key(log, out);
	out[4] = (uint8_t)level;
	for (size_t i = 0; i < 8; i++)
		out[5 + i] = (uint8_t)(index >> (56 - 8 * i));
}

uint64_t tree_width(uint64_t size, unsigned level)
{
	return size >> (TREE_HEIGHT * level);
}

void tree_fold(tree_hash *h, size_t n)
{
	for (; n > 1; n /= 2)
		for (size_t i = 0; i < n / 2; i++)
			merkle_node(h[2 * i], h[2 * i + 1], h[i]);
}

/* ---- the right edge ---- */

struct tree_tail {
	size_t n[TREE_LEVELS];
	tree_hash *level[TREE_LEVELS]; /* NULL: none yet */
};

void tree_tail_free(struct tree_tail *t)
{
	int saved = errno;

	for (size_t i = 0; t && i < TREE_LEVELS; i++)
		free(t->level[i]);
	free(t);
	errno = saved;
}

static int level_of(struct tree_tail *t, unsigned level, tree_hash **ret)
{
	if (!t->level[level])
		t->level[level] = malloc(TREE_TILE_LEN);
	*ret = t->level[level];
	return *ret ? 0 : -ENOMEM;
}

struct leaves {
	tree_hash *at;
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
int tree_hash_records(
    struct store *s, uint32_t log, uint64_t from, size_t n, tree_hash *ret, struct err *e)
{
	struct leaves l = {.at = ret, .next = from + 1, .max = n};
	int r = n ? logs_walk(s, log, from + 1, n, on_leaf, &l) : 0;

	if (r < 0 || l.n != n)
		return err_set(e, -EUCLEAN, "log %u: record %llu is missing", log, LLU(l.next));
	return 0;
}

static int load_level(
    struct store *s, uint32_t log, unsigned level, uint64_t size, tree_hash *ret, struct err *e)
{
	uint64_t width = tree_width(size, level), index = width / TREE_TILE_WIDTH;
	size_t n = width % TREE_TILE_WIDTH;
	uint8_t key[TREE_KEY_LEN];
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, TREE_TILE_LEN);
	if (level == 0)
		return tree_hash_records(s, log, index * TREE_TILE_WIDTH, n, ret, e);
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
static bool fits(const struct merkle *m, unsigned level, const tree_hash *h, size_t n)
{
	tree_hash copy[TREE_TILE_WIDTH];
	size_t at = 0;

	for (unsigned bit = TREE_HEIGHT; bit-- > 0;) {
		size_t part = (size_t)1 << bit;

		if (!(n & part))
			continue;
		memcpy(copy, h + at, part * DIGEST_LEN);
		tree_fold(copy, part);
		if (memcmp(copy[0], m->node[TREE_HEIGHT * level + bit], DIGEST_LEN) != 0)
			return false;
		at += part;
	}
	return true;
}

int tree_tail_load(
    struct store *s, uint32_t log, const struct merkle *m, struct tree_tail **ret, struct err *e)
{
	struct tree_tail *t = calloc(1, sizeof *t);
	tree_hash *h;
	int r = t ? 0 : err_set(e, -ENOMEM, "no memory for a tree");

	for (unsigned level = 0; r == 0 && level < TREE_LEVELS; level++) {
		t->n[level] = tree_width(m->size, level) % TREE_TILE_WIDTH;
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
	tree_hash *h;
	int r;

	if (level_of(t, 0, &h) < 0 || merkle_append(m, leaf) < 0)
		return err_set(e, -ENOMEM, "no room in a tree");
	memcpy(h[t->n[0]++], leaf, DIGEST_LEN);
	for (unsigned level = 0; t->n[level] == TREE_TILE_WIDTH && level + 1 < TREE_LEVELS;
	     level++) {
		tree_hash *up;

		if (level == 0 && (r = put_tile(s, log, t, 0, tree_width(m->size, 1) - 1, e)) < 0)
			return r;
		if (level_of(t, level + 1, &up) < 0)
			return err_set(e, -ENOMEM, "no memory for a tree");
		/* its root: of this height the range has just got a new one */
		tree_fold(t->level[level], TREE_TILE_WIDTH);
		memcpy(up[t->n[level + 1]++], t->level[level][0], DIGEST_LEN);
		t->n[level] = 0;
		r = put_tile(s, log, t, level + 1,
		    (tree_width(m->size, level + 1) - 1) / TREE_TILE_WIDTH, e);
		if (r < 0)
			return r;
	}
	return 0;
}
