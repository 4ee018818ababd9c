#include "broker/audit/record_migrate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/logs.h"
#include "broker/audit/record.h"
#include "broker/audit/tree.h"
#include "broker/audit/verify.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/reader.h"

#define STEP     512 /* records a transaction */
#define OLD_HEAD "records"
#define LLU(x)   ((unsigned long long)(x))

/* Moved in this order: a record's copy, its removal, the head of the new log: one transaction for
 * each step. So the two together are always the whole chain, the new log its beginning. */

struct step {
	struct log_head head;
	struct tree_tail *tail;
	struct verify v;
	struct err *e;
	size_t n;
	struct buf bytes;
	size_t len[STEP];
};

static int on_record(const void *key, size_t klen, const void *value, size_t len, void *arg)
{
	struct step *t = arg;
	struct reader r;
	uint64_t seq;

	reader_init(&r, key, klen);
	if (reader_u64(&r, &seq) < 0 || reader_end(&r) < 0)
		return err_set(t->e, -EUCLEAN, "a record's key is damaged");
	if (verify_record(&t->v, seq, value, len, t->e) < 0)
		return -EUCLEAN;
	buf_put(&t->bytes, value, len);
	t->len[t->n++] = len;
	return buf_status(&t->bytes);
}

/* schema 1: u64 seq, u64 time, SHA-256 of the newest record. */
static int old_head(struct store *s, uint64_t *ret_seq, int64_t *ret_time,
    uint8_t digest[DIGEST_LEN], struct err *e)
{
	const uint8_t *bytes;
	cleanup_buf struct buf b;
	uint64_t time;
	struct reader r;
	int rc;

	buf_init(&b, 256);
	*ret_seq = 0;
	*ret_time = 0;
	memset(digest, 0, DIGEST_LEN);
	rc = store_get(s, STORE_HEADS_2, OLD_HEAD, strlen(OLD_HEAD), &b);
	if (rc == -ENOENT)
		return 0;
	if (rc < 0)
		return err_set(e, rc, "the log's head cannot be read");
	reader_init(&r, b.data, b.len);
	if (reader_u64(&r, ret_seq) < 0 || reader_u64(&r, &time) < 0 ||
	    reader_bytes(&r, DIGEST_LEN, &bytes) < 0 || reader_end(&r) < 0 || time > INT64_MAX)
		return err_set(e, -EUCLEAN, "the log's head is damaged");
	*ret_time = (int64_t)time;
	memcpy(digest, bytes, DIGEST_LEN);
	return 0;
}

/* The whole old chain, before anything is touched. v stands behind what was moved already. */
static int check_old(struct store *s, const struct step *t, struct err *e)
{
	uint8_t digest[DIGEST_LEN], key[8];
	struct step *c = calloc(1, sizeof *c);
	int64_t time;
	uint64_t seq;
	int r = c ? old_head(s, &seq, &time, digest, e) : -ENOMEM;

	if (r < 0) {
		free(c);
		return r;
	}
	c->v = t->v;
	c->e = e;
	do {
		c->n = 0;
		buf_init(&c->bytes, (size_t)STEP * RECORD_MAX);
		for (size_t i = 0; i < sizeof key; i++)
			key[i] = (uint8_t)((c->v.seq + 1) >> (56 - 8 * i));
		r = store_walk(
		    s, STORE_RECORDS_1, key, c->v.seq ? sizeof key : 0, STEP, on_record, c);
		buf_done(&c->bytes);
	} while (r == 0 && c->n == STEP);
	/* the head of what is moved is checked by its reader */
	if (r == 0 && c->v.seq > t->v.seq && verify_head_v1(&c->v, seq, digest, e) < 0)
		r = -EUCLEAN;
	if (r == 0 && c->v.seq < seq)
		r = err_set(e, -EUCLEAN, "record %llu is missing", LLU(c->v.seq + 1));
	free(c);
	return r;
}

static int move(struct store *s, struct step *t, struct err *e)
{
	const uint8_t *at = t->bytes.data;
	uint8_t key[LOG_KEY_LEN], leaf[DIGEST_LEN];
	int r = 0;

	for (size_t i = 0; r == 0 && i < t->n; i++) {
		log_key(LOG_HOST_NUMBER, t->head.seq + 1, key);
		merkle_leaf(at, t->len[i], leaf);
		if ((r = store_put(s, STORE_RECORDS, key, sizeof key, at, t->len[i], e)) == 0 &&
		    (r = store_del(s, STORE_RECORDS_1, key + 4, 8, e)) == 0)
			r = tree_append(s, LOG_HOST_NUMBER, &t->head.tree, t->tail, leaf, e);
		t->head.seq++;
		t->head.bytes += t->len[i];
		memcpy(t->head.leaf, leaf, DIGEST_LEN);
		at += t->len[i];
	}
	return r;
}

static int put_head(struct store *s, const struct log_head *h, struct err *e)
{
	uint8_t packed[LOG_HEAD_MAX], key[4];

	log_number_key(LOG_HOST_NUMBER, key);
	return store_put(s, STORE_HEADS, key, sizeof key, packed, log_head_pack(h, packed), e);
}

static int finish(struct store *s, struct step *t, struct err *e)
{
	static const char row[] = "{\"name\":\"host\",\"created\":\"\"}";
	uint8_t digest[DIGEST_LEN], key[4];
	uint64_t seq;
	int r;

	log_number_key(LOG_HOST_NUMBER, key);
	if ((r = old_head(s, &seq, &t->head.time_ns, digest, e)) < 0 || (r = store_begin(s, e)) < 0)
		return r;
	if ((r = put_head(s, &t->head, e)) < 0 ||
	    (r = store_del(s, STORE_HEADS_2, OLD_HEAD, strlen(OLD_HEAD), e)) < 0 ||
	    (r = store_put(s, STORE_LOGS, key, sizeof key, row, sizeof row - 1, e)) < 0 ||
	    (r = store_set_schema(s, STORE_SCHEMA, e)) < 0) {
		store_abort(s);
		return r;
	}
	return store_commit(s, e);
}

static int run(struct store *s, struct step *t, struct err *e)
{
	uint8_t key[8];
	int r;

	do {
		t->n = 0;
		buf_reset(&t->bytes);
		for (size_t i = 0; i < sizeof key; i++)
			key[i] = (uint8_t)((t->head.seq + 1) >> (56 - 8 * i));
		r = store_walk(s, STORE_RECORDS_1, key, sizeof key, STEP, on_record, t);
		if (r < 0 || t->n == 0)
			break;
		if ((r = store_begin(s, e)) < 0)
			return r;
		if ((r = move(s, t, e)) < 0 || (r = put_head(s, &t->head, e)) < 0) {
			store_abort(s);
			return r;
		}
		r = store_commit(s, e);
	} while (r == 0);
	return r < 0 ? r : finish(s, t, e);
}

/* So that the chain is followed on from what was moved before. */
static int begin(struct store *s, struct step *t, struct err *e)
{
	cleanup_buf struct buf b;
	int r = logs_head(s, LOG_HOST_NUMBER, &t->head, e);

	buf_init(&b, RECORD_MAX);
	if (r < 0 || (r = tree_tail_load(s, LOG_HOST_NUMBER, &t->head.tree, &t->tail, e)) < 0)
		return r;
	verify_init(&t->v);
	if (t->head.seq == 0)
		return 0;
	if ((r = logs_get(s, LOG_HOST_NUMBER, t->head.seq, &b)) < 0)
		return err_set(e, -EUCLEAN, "record %llu is missing", LLU(t->head.seq));
	return verify_resume(&t->v, t->head.seq, b.data, b.len, e);
}

struct heads {
	size_t n;
	struct {
		uint8_t key[4], value[LOG_HEAD_MAX];
		size_t len;
	} head[LOGS_MAX];
};

static int on_head(const void *key, size_t klen, const void *value, size_t len, void *arg)
{
	struct heads *h = arg;

	if (h->n == LOGS_MAX || klen != sizeof h->head[0].key || len > LOG_HEAD_MAX)
		return -EUCLEAN;
	memcpy(h->head[h->n].key, key, klen);
	memcpy(h->head[h->n].value, value, len);
	h->head[h->n++].len = len;
	return 0;
}

/* Schema 3 has the heads elsewhere, and more databases, which are there by now. */
static int move_heads(struct store *s, const struct heads *h, struct err *e)
{
	int r = store_begin(s, e);

	if (r < 0)
		return r;
	for (size_t i = 0; i < h->n && r == 0; i++) {
		r = store_put(s, STORE_HEADS, h->head[i].key, sizeof h->head[i].key,
		    h->head[i].value, h->head[i].len, e);
		if (r == 0)
			r = store_del(s, STORE_HEADS_2, h->head[i].key, sizeof h->head[i].key, e);
	}
	if (r < 0 || (r = store_set_schema(s, STORE_SCHEMA, e)) < 0) {
		store_abort(s);
		return r;
	}
	return store_commit(s, e);
}

static int newest(struct store *s, struct err *e)
{
	struct heads *h;
	int r;

	if (store_schema(s) == STORE_SCHEMA)
		return 0;
	if (!(h = calloc(1, sizeof *h)))
		return err_set(e, -ENOMEM, "no memory for a migration");
	if ((r = store_walk(s, STORE_HEADS_2, "", 0, LOGS_MAX, on_head, h)) < 0)
		(void)err_set(e, r, "the logs' heads are damaged");
	else
		r = move_heads(s, h, e);
	free(h);
	return r;
}

int record_migrate(struct store *s, struct err *e)
{
	struct step *t;
	int r;

	if (store_schema(s) >= 2)
		return newest(s, e);
	if (!(t = calloc(1, sizeof *t)))
		return err_set(e, -ENOMEM, "no memory for a migration");
	t->e = e;
	buf_init(&t->bytes, (size_t)STEP * RECORD_MAX);
	log_info("the store is of an older Postern: its records become the first of the log %s",
	    LOG_HOST);
	if ((r = begin(s, t, e)) == 0 && (r = check_old(s, t, e)) == 0)
		r = run(s, t, e);
	tree_tail_free(t->tail);
	buf_done(&t->bytes);
	free(t);
	return r;
}
