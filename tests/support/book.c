#include "tests/support/book.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/logs.h"
#include "broker/audit/tree.h"
#include "broker/store/store.h"
#include "lib/err.h"

const char *const book_names[BOOK_LOGS] = {LOG_HOST, "alpha", "beta", "gamma"};

void book_init(struct book *b)
{
	memset(b, 0, sizeof *b);
	for (size_t i = 0; i < BOOK_LOGS; i++)
		merkle_init(&b->log[i].tree);
}

void book_done(struct book *b)
{
	for (size_t i = 0; i < BOOK_LOGS; i++)
		free(b->log[i].leaf);
	memset(b, 0, sizeof *b);
}

static struct book_leaf *leaf_at(struct book_log *l, uint64_t seq)
{
	if (seq >= l->max) {
		size_t max = (size_t)seq * 2 + 64;
		struct book_leaf *p = realloc(l->leaf, max * sizeof *p);

		if (!p)
			return NULL;
		memset(p + l->max, 0, (max - l->max) * sizeof *p);
		l->leaf = p;
		l->max = max;
	}
	return &l->leaf[seq];
}

/* 1: it is this one, or was not known. */
static int same(struct book_log *l, uint64_t seq, const uint8_t hash[DIGEST_LEN])
{
	struct book_leaf *f = leaf_at(l, seq);

	if (!f)
		return -ENOMEM;
	if (f->known)
		return memcmp(f->hash, hash, DIGEST_LEN) == 0;
	f->known = true;
	memcpy(f->hash, hash, DIGEST_LEN);
	return 1;
}

int book_ack(struct book *b, const struct ack *a)
{
	int r;

	if (a->log >= BOOK_LOGS || a->seq == 0)
		return -EINVAL;
	if ((r = same(&b->log[a->log], a->seq, a->leaf)) <= 0)
		return r < 0 ? r : -EUCLEAN;
	if (a->seq > b->log[a->log].acked)
		b->log[a->log].acked = a->seq;
	return 0;
}

uint64_t book_total(const struct book *b)
{
	uint64_t n = 0;

	for (size_t i = 0; i < BOOK_LOGS; i++)
		n += b->log[i].acked;
	return n;
}

struct walk {
	struct book_log *log;
	uint64_t wrong;
	size_t seen;
};

static int on_record(uint64_t seq, const void *data, size_t len, void *arg)
{
	struct walk *w = arg;
	uint8_t leaf[DIGEST_LEN];
	int r;

	merkle_leaf(data, len, leaf);
	w->seen++;
	w->wrong = seq;
	if (seq != w->log->tree.size + 1)
		return -EUCLEAN;
	if ((r = same(w->log, seq, leaf)) <= 0)
		return r < 0 ? r : -EUCLEAN;
	return merkle_append(&w->log->tree, leaf);
}

static int check_log(
    struct store *s, struct book_log *l, uint32_t number, const char *name, struct err *e)
{
	uint8_t root[DIGEST_LEN], ours[DIGEST_LEN];
	struct walk w = {.log = l};
	struct log_head head;
	int r;

	if ((r = logs_head(s, number, &head, e)) < 0)
		return r;
	if (head.seq < l->acked)
		return err_set(e, -EUCLEAN, "%s: %llu records were acknowledged, %llu are there",
		    name, (unsigned long long)l->acked, (unsigned long long)head.seq);
	if (head.seq < l->tree.size)
		return err_set(e, -EUCLEAN, "%s: %llu records were there, %llu are left", name,
		    (unsigned long long)l->tree.size, (unsigned long long)head.seq);
	do {
		w.seen = 0;
		if ((r = logs_walk(s, number, l->tree.size + 1, STORE_WALK_MAX, on_record, &w)) < 0)
			return err_set(e, r, "%s: record %llu is not the one that was acknowledged",
			    name, (unsigned long long)w.wrong);
	} while (w.seen > 0);
	if (l->tree.size != head.seq)
		return err_set(e, -EUCLEAN, "%s: the head tells of %llu records, %llu are there",
		    name, (unsigned long long)head.seq, (unsigned long long)l->tree.size);
	merkle_root(&l->tree, ours);
	merkle_root(&head.tree, root);
	if (head.tree.size != head.seq || memcmp(root, ours, sizeof root) != 0)
		return err_set(e, -EUCLEAN, "%s: the head's tree is another", name);
	if (head.seq == 0)
		return 0;
	if ((r = tree_root(s, number, head.seq, root, e)) < 0)
		return r;
	if (memcmp(root, ours, sizeof root) != 0)
		return err_set(e, -EUCLEAN, "%s: the stored tree is another", name);
	return 0;
}

int book_check(struct book *b, struct store *s, bool whole, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < BOOK_LOGS && r == 0; i++) {
		struct book_log *l = &b->log[i];
		struct log_info info;

		if (whole)
			merkle_init(&l->tree);
		r = logs_find(s, book_names[i], &info);
		if (r == 0)
			r = check_log(s, l, info.number, book_names[i], e);
		else if (r == -ENOENT)
			r = l->acked == 0
			        ? 0
			        : err_set(e, -EUCLEAN, "%s: the log is gone", book_names[i]);
	}
	return r;
}

int book_heads(struct store *s, uint64_t ret[BOOK_LOGS], struct err *e)
{
	for (size_t i = 0; i < BOOK_LOGS; i++) {
		struct log_info info;
		struct log_head head;
		int r = logs_find(s, book_names[i], &info);

		ret[i] = 0;
		if (r == -ENOENT)
			continue;
		if (r < 0 || (r = logs_head(s, info.number, &head, e)) < 0)
			return r;
		ret[i] = head.seq;
	}
	return 0;
}
