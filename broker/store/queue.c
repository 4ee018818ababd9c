#include "broker/store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/store/store_internal.h"
#include "lib/err.h"

/*
 * Changes that wait for the next commit, in the order in which their keys first came. A turn of the
 * loop has a handful, so the list is simply walked.
 */

static struct queued *find(struct store *s, enum store_db db, const void *key, size_t klen)
{
	for (struct queued *q = s->queue; q; q = q->next)
		if (q->db == db && q->klen == klen && memcmp(q->key, key, klen) == 0)
			return q;
	return NULL;
}

static struct queued *add(struct store *s, enum store_db db, const void *key, size_t klen)
{
	struct queued *q = s->nqueued < STORE_QUEUE_MAX ? calloc(1, sizeof *q) : NULL;

	if (!q)
		return NULL;
	q->db = db;
	q->klen = klen;
	memcpy(q->key, key, klen);
	*s->queue_end = q;
	s->queue_end = &q->next;
	s->nqueued++;
	return q;
}

int store_later(struct store *s, enum store_db db, const char *key, const void *value, size_t len)
{
	return store_later_key(s, db, key, strlen(key), value, len);
}

int store_later_key(
    struct store *s, enum store_db db, const void *key, size_t klen, const void *value, size_t len)
{
	uint8_t *copy = NULL;
	struct queued *q;

	if (klen == 0 || klen > STORE_KEY_MAX || len > STORE_VALUE_MAX)
		return -EINVAL;
	if (value) {
		copy = malloc(len ? len : 1);
		if (!copy)
			return -ENOMEM;
		memcpy(copy, value, len);
	}
	q = find(s, db, key, klen);
	if (!q)
		q = add(s, db, key, klen);
	if (!q) {
		free(copy);
		return -ENOBUFS;
	}
	free(q->value);
	q->value = copy;
	q->len = len;
	q->remove = !value;
	if (s->dirty)
		s->dirty(s->dirty_arg);
	return 0;
}

void store_on_later(struct store *s, void (*dirty)(void *arg), void *arg)
{
	s->dirty = dirty;
	s->dirty_arg = arg;
}

void store_on_commit(struct store *s, void (*committed)(void *arg), void *arg)
{
	s->committed = committed;
	s->committed_arg = arg;
}

bool store_waiting(const struct store *s)
{
	return s->queue != NULL;
}

int store_queue_apply(struct store *s, struct err *e)
{
	int r = 0;

	for (const struct queued *q = s->queue; q && r == 0; q = q->next)
		r = q->remove ? store_del(s, q->db, q->key, q->klen, e)
		              : store_put(s, q->db, q->key, q->klen, q->value, q->len, e);
	return r;
}

void store_queue_clear(struct store *s)
{
	while (s->queue) {
		struct queued *q = s->queue;

		s->queue = q->next;
		free(q->value);
		free(q);
	}
	s->queue_end = &s->queue;
	s->nqueued = 0;
}
