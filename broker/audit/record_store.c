#include "broker/audit/record_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/chain.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/str.h"

#define HEAD_KEY "records"
#define RETRY_NS NSEC_PER_SEC /* until changes without a record are tried again */

struct waiting {
	struct waiting *next;
	char class_name[CHAIN_CLASS_MAX + 1], tenant[NAME_MAX_LEN + 1];
	json_t *subject, *body;
	record_fn done;
	void *arg;
	uint64_t seq;
};

struct record_store {
	struct record_log base;
	struct store *store;
	struct loop_source *commit, *retry;
	struct chain_head head;
	struct waiting *first, **last;
	size_t nwaiting;
	int64_t tolerance_ns;
	uint64_t lost; /* records that could not be written since the last commit */
	bool suspect;  /* a commit has failed: the newest record is looked at before the next */
};

static struct record_store *self(struct record_log *l)
{
	return (struct record_store *)l;
}

static void waiting_free(struct waiting *w)
{
	json_decref(w->subject);
	json_decref(w->body);
	free(w);
}

static int log_append(struct record_log *l, const char *class_name, const char *tenant,
    json_t *subject, json_t *body, bool critical, record_fn done, void *arg)
{
	struct record_store *s = self(l);
	struct waiting *w = s->nwaiting < RECORD_QUEUE_MAX ? calloc(1, sizeof *w) : NULL;

	(void)critical; /* all of a turn are committed together */
	if (!w || !str_copy(w->class_name, sizeof w->class_name, class_name) ||
	    !str_copy(w->tenant, sizeof w->tenant, tenant ? tenant : "")) {
		int r = w ? -EINVAL : s->nwaiting < RECORD_QUEUE_MAX ? -ENOMEM : -ENOBUFS;

		free(w);
		json_decref(subject);
		json_decref(body);
		return r;
	}
	w->subject = subject;
	w->body = body;
	w->done = done;
	w->arg = arg;
	*s->last = w;
	s->last = &w->next;
	s->nwaiting++;
	loop_defer_arm(s->commit);
	return 0;
}

/* ---- the commit ---- */

static int on_beyond(const void *key, size_t klen, const void *value, size_t len, void *arg)
{
	(void)key, (void)klen, (void)value, (void)len, (void)arg;
	return 1;
}

/* What lies behind a head that was set back would be written over, and with it what it tells. */
static int check_beyond(struct record_store *s, const struct chain_head *head, struct err *e)
{
	uint8_t key[8];
	int r;

	chain_key(head->seq + 1, key);
	r = store_walk(s->store, STORE_RECORDS, key, sizeof key, 1, on_beyond, NULL);
	if (r < 0)
		return err_set(e, r, "the records cannot be read");
	if (r > 0)
		return err_set(e, -EUCLEAN, "there are records behind the newest, %llu",
		    (unsigned long long)head->seq);
	return 0;
}

static int read_head(struct record_store *s, struct chain_head *ret, struct err *e)
{
	uint8_t key[8], digest[DIGEST_LEN];
	cleanup_buf struct buf b, record;
	int r;

	buf_init(&b, 256);
	buf_init(&record, STORE_VALUE_MAX);
	memset(ret, 0, sizeof *ret);
	r = store_get(s->store, STORE_HEADS, HEAD_KEY, strlen(HEAD_KEY), &b);
	if (r == -ENOENT)
		return check_beyond(s, ret, e);
	if (r < 0)
		return err_set(e, r, "the log's head cannot be read");
	if (chain_head_parse(b.data, b.len, ret) < 0)
		return err_set(e, -EUCLEAN, "the log's head is damaged");
	chain_key(ret->seq, key);
	if (store_get(s->store, STORE_RECORDS, key, sizeof key, &record) < 0)
		return err_set(e, -EUCLEAN, "the newest record, %llu, is missing",
		    (unsigned long long)ret->seq);
	digest_sha256(record.data, record.len, digest);
	if (memcmp(digest, ret->digest, DIGEST_LEN) != 0)
		return err_set(e, -EUCLEAN,
		    "the newest record, %llu, does not match the log's head",
		    (unsigned long long)ret->seq);
	return check_beyond(s, ret, e);
}

/* After a commit whose fate is not known: what the disk says now. */
static int recover(struct record_store *s, struct err *e)
{
	struct chain_head head;
	int r;

	if (!s->suspect)
		return 0;
	if ((r = read_head(s, &head, e)) < 0)
		return r;
	s->head = head;
	s->suspect = false;
	return 0;
}

static int put_record(
    struct record_store *s, struct waiting *w, struct chain_head *head, struct err *e)
{
	cleanup_buf struct buf b;
	uint8_t key[8];
	int r;

	buf_init(&b, RECORD_MAX);
	r = chain_format(head, clock_wall_ns(), w->class_name, w->tenant, w->subject, w->body, &b);
	if (r < 0)
		return err_set(e, r, "a record of class %s cannot be written", w->class_name);
	w->seq = head->seq;
	chain_key(head->seq, key);
	return store_put(s->store, STORE_RECORDS, key, sizeof key, b.data, b.len, e);
}

static int put_head(struct record_store *s, const struct chain_head *head, struct err *e)
{
	uint8_t packed[CHAIN_HEAD_LEN];

	chain_head_pack(head, packed);
	return store_put(
	    s->store, STORE_HEADS, HEAD_KEY, strlen(HEAD_KEY), packed, sizeof packed, e);
}

static int commit(struct record_store *s, struct waiting *batch, struct err *e)
{
	struct chain_head head;
	int r;

	if ((r = recover(s, e)) < 0 || (r = store_begin(s->store, e)) < 0)
		return r;
	head = s->head;
	for (struct waiting *w = batch; w && r == 0; w = w->next)
		r = put_record(s, w, &head, e);
	if (r == 0 && batch)
		r = put_head(s, &head, e);
	if (r < 0) {
		store_abort(s->store);
		return r;
	}
	if ((r = store_commit(s->store, e)) < 0) {
		s->suspect = true;
		return r;
	}
	s->head = head;
	return 0;
}

static int log_flush(struct record_log *l)
{
	struct record_store *s = self(l);
	struct waiting *batch = s->first;
	struct err e = ERR_INIT;
	int r;

	if (!batch && !store_waiting(s->store))
		return 0;
	/* what the callbacks append belongs to the next batch */
	s->first = NULL;
	s->last = &s->first;
	s->nwaiting = 0;
	r = commit(s, batch, &e);
	if (r == 0 && s->lost > 0 &&
	    log_append(l, "log.lost", NULL, NULL,
	        json_pack("{s:I}", "records", (json_int_t)s->lost), false, NULL, NULL) == 0)
		s->lost = 0;
	for (struct waiting *w = batch; w && r < 0; w = w->next)
		s->lost++;
	if (r < 0) {
		log_error("the log cannot be written, so nothing that needs it is done: %s",
		    err_text(&e));
		loop_timer_set(s->retry, RETRY_NS);
	}
	while (batch) {
		struct waiting *w = batch;

		batch = w->next;
		if (w->done)
			w->done(r, r < 0 ? 0 : w->seq, w->arg);
		waiting_free(w);
	}
	return r;
}

static void on_commit(struct loop *l, void *arg)
{
	struct record_store *s = arg;

	(void)l;
	(void)log_flush(&s->base);
}

static void on_dirty(void *arg)
{
	struct record_store *s = arg;

	loop_defer_arm(s->commit);
}

/* ---- the clock ---- */

static int64_t log_now(struct record_log *l)
{
	int64_t now = clock_wall_ns();

	return now > self(l)->head.time_ns ? now : self(l)->head.time_ns;
}

static int log_clock_ok(struct record_log *l, struct err *e)
{
	int64_t behind = self(l)->head.time_ns - clock_wall_ns();

	if (behind <= self(l)->tolerance_ns)
		return 0;
	return err_set(e, -ETIME, "the clock is %lld s behind the newest record",
	    (long long)(behind / NSEC_PER_SEC));
}

static int log_clock_accept(struct record_log *l)
{
	char newest[32];
	int r;

	clock_format(newest, sizeof newest, self(l)->head.time_ns);
	r = log_append(l, CHAIN_CLOCK_CLASS, NULL, NULL, json_pack("{s:s}", "newest", newest), true,
	    NULL, NULL);
	return r < 0 ? r : log_flush(l);
}

static uint64_t log_size(struct record_log *l)
{
	return self(l)->head.seq;
}

static void log_free(struct record_log *l)
{
	struct record_store *s = self(l);

	(void)log_flush(l);
	while (s->first) {
		struct waiting *w = s->first;

		s->first = w->next;
		if (w->done)
			w->done(-ECANCELED, 0, w->arg);
		waiting_free(w);
	}
	store_on_later(s->store, NULL, NULL);
	loop_remove(s->commit);
	loop_remove(s->retry);
	free(s);
}

static const struct record_ops ops = {
    .append = log_append,
    .flush = log_flush,
    .clock_ok = log_clock_ok,
    .clock_accept = log_clock_accept,
    .now_ns = log_now,
    .size = log_size,
    .free = log_free,
};

int record_store_new(struct store *store, struct loop *l, int64_t tolerance_s,
    struct record_log **ret, struct err *e)
{
	struct record_store *s = calloc(1, sizeof *s);
	int r;

	if (!s)
		return err_set(e, -ENOMEM, "no memory for the log");
	s->base.ops = &ops;
	s->store = store;
	s->last = &s->first;
	s->tolerance_ns = tolerance_s * NSEC_PER_SEC;
	if ((r = read_head(s, &s->head, e)) < 0) {
		free(s);
		return r;
	}
	s->commit = loop_defer(l, on_commit, s);
	s->retry = loop_timer(l, -1, on_commit, s);
	if (!s->commit || !s->retry) {
		loop_remove(s->commit);
		loop_remove(s->retry);
		free(s);
		return err_set(e, -ENOMEM, "no memory for the log");
	}
	store_on_later(store, on_dirty, s);
	*ret = &s->base;
	return 0;
}

void record_store_digest(const struct record_log *l, uint8_t *ret)
{
	const struct record_store *s = (const struct record_store *)l;

	memcpy(ret, s->head.digest, DIGEST_LEN);
}
