#include "broker/audit/log_feed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/body.h"
#include "broker/audit/logs.h"
#include "broker/audit/prune.h"
#include "broker/audit/ranges.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/err.h"

#define BATCH 64 /* checkpoints that are held at a time */

struct held {
	uint64_t size;
	void *note;
	size_t len;
};

struct feed {
	const struct log_parts *parts;
	void *source;
	const struct log_sink *sink;
	void *arg;
	struct held held[BATCH];
	size_t nheld;
	uint64_t next, until; /* records */
	size_t seen;
	uint64_t beside; /* the record whose body is asked for next; 0: none */
	bool host;
};

static int on_epoch(uint64_t number, const void *note, size_t len, void *arg)
{
	struct feed *f = arg;

	f->next = number + 1;
	f->seen++;
	return f->host ? f->sink->host_epoch(f->arg, note, len) : f->sink->epoch(f->arg, note, len);
}

static int epochs(struct feed *f, bool host)
{
	int r;

	f->host = host;
	f->next = 0;
	do {
		f->seen = 0;
		r = f->parts->epochs(f->source, host, f->next, on_epoch, f);
	} while (r == 0 && f->seen > 0);
	return r;
}

static int on_break(uint64_t number, const void *note, size_t len, void *arg)
{
	struct feed *f = arg;
	int (*fn)(void *, const void *, size_t) =
	    f->host ? f->sink->host_break : f->sink->own_break;

	f->next = number + 1;
	f->seen++;
	return fn ? fn(f->arg, note, len) : 0;
}

static int breaks(struct feed *f, bool host)
{
	int r;

	f->host = host;
	f->next = 1;
	do {
		f->seen = 0;
		r = f->parts->breaks(f->source, host, f->next, on_break, f);
	} while (r == 0 && f->seen > 0);
	return r;
}

static int on_record(uint64_t seq, const void *data, size_t len, void *arg)
{
	struct feed *f = arg;
	uint8_t digest[DIGEST_LEN];
	size_t n;
	int r;

	if (seq > f->until)
		return 1;
	f->seen++;
	if ((r = f->sink->record(f->arg, seq, data, len)) != 0)
		return r < 0 ? r : -ECANCELED;
	f->next = seq + 1;
	/* while records are read nothing else is: the body comes when this page is let go */
	if (!f->sink->body || !f->parts->body || body_named(data, len, digest, &n) < 0)
		return 0;
	f->beside = seq;
	return 1;
}

static int on_body(uint64_t seq, const void *data, size_t len, void *arg)
{
	struct feed *f = arg;
	int r = f->sink->body(f->arg, seq, data, len);

	return r > 0 ? -ECANCELED : r;
}

static int body(struct feed *f)
{
	uint64_t seq = f->beside;

	f->beside = 0;
	return f->parts->body(f->source, seq, on_body, f);
}

/* All there are up to number `until`. */
static int records(struct feed *f, uint64_t until)
{
	int r = 0;

	f->until = until;
	while (f->next <= until) {
		f->seen = 0;
		r = f->parts->records(f->source, f->next, on_record, f);
		if (f->beside && r >= 0)
			r = body(f);
		if (r != 0 || f->seen == 0)
			break;
	}
	return r > 0 ? 0 : r;
}

static int on_checkpoint(uint64_t size, const void *note, size_t len, void *arg)
{
	struct feed *f = arg;
	struct held *h = &f->held[f->nheld];

	if (f->nheld == BATCH)
		return 1;
	if (!(h->note = malloc(len ? len : 1)))
		return -ENOMEM;
	memcpy(h->note, note, len);
	h->len = len;
	h->size = size;
	f->nheld++;
	return 0;
}

static void drop(struct feed *f)
{
	while (f->nheld > 0)
		free(f->held[--f->nheld].note);
}

/* The edge, if the log has one. What is before it is not asked for. */
static int edge(struct feed *f)
{
	struct log_edge g = {0};
	int r = f->parts->edge ? f->parts->edge(f->source, &g) : 0;

	f->next = 1;
	if (r < 0 || g.seq == 0)
		return r;
	f->next = g.seq + 1;
	return f->sink->edge ? f->sink->edge(f->arg, g.seq, g.leaf, &g.tree) : -EBADMSG;
}

int log_feed(const struct log_parts *parts, void *source, const char *log, uint64_t nrecords,
    const struct log_sink *sink, void *arg)
{
	struct feed f = {.parts = parts, .source = source, .sink = sink, .arg = arg};
	uint64_t size = 0;
	int r;

	if ((r = sink->head(arg, log, nrecords)) != 0 || (r = breaks(&f, true)) != 0 ||
	    (r = epochs(&f, true)) != 0)
		return r;
	if (strcmp(log, LOG_HOST) != 0 &&
	    ((r = breaks(&f, false)) != 0 || (r = epochs(&f, false)) != 0))
		return r;
	if ((r = edge(&f)) != 0)
		return r;
	size = f.next - 1;
	do {
		drop(&f);
		r = parts->checkpoints(source, size, on_checkpoint, &f);
		if (r > 0)
			r = 0;
		for (size_t i = 0; r == 0 && i < f.nheld; i++) {
			const struct held *h = &f.held[i];

			if ((r = records(&f, h->size)) == 0)
				r = sink->checkpoint(arg, h->size, h->note, h->len);
			size = h->size + 1;
		}
	} while (r == 0 && f.nheld > 0);
	drop(&f);
	return r != 0 ? r : records(&f, UINT64_MAX);
}

/* ---- from a store ---- */

struct stored {
	struct store *s;
	uint32_t log;
};

static int stored_records(void *source, uint64_t from, log_part_fn fn, void *arg)
{
	const struct stored *s = source;

	return logs_walk(s->s, s->log, from, STORE_WALK_MAX, fn, arg);
}

static int stored_checkpoints(void *source, uint64_t from, log_part_fn fn, void *arg)
{
	const struct stored *s = source;

	return logs_checkpoint_walk(s->s, s->log, from, BATCH, fn, arg);
}

static int stored_epochs(void *source, bool host, uint64_t from, log_part_fn fn, void *arg)
{
	const struct stored *s = source;

	return logs_epoch_walk(
	    s->s, host ? LOG_HOST_NUMBER : s->log, from, STORE_WALK_MAX, fn, arg);
}

static int stored_breaks(void *source, bool host, uint64_t from, log_part_fn fn, void *arg)
{
	const struct stored *s = source;

	return logs_break_walk(
	    s->s, host ? LOG_HOST_NUMBER : s->log, from, STORE_WALK_MAX, fn, arg);
}

static int stored_edge(void *source, struct log_edge *ret)
{
	const struct stored *s = source;

	/* a damaged one says nothing, and the records that it stood for are missing */
	if (log_edge_get(s->s, s->log, ret, NULL) < 0)
		ret->seq = 0;
	return 0;
}

static int stored_body(void *source, uint64_t seq, log_part_fn fn, void *arg)
{
	const struct stored *s = source;
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, BODY_MAX);
	r = logs_body_get(s->s, s->log, seq, &b);
	return r == 0 ? fn(seq, b.data, b.len, arg) : r == -ENOENT ? 0 : r;
}

static const struct log_parts stored_parts = {
    stored_records, stored_checkpoints, stored_epochs, stored_breaks, stored_edge, stored_body};

int log_feed_store(
    struct store *s, const char *log, const struct log_sink *sink, void *arg, struct err *e)
{
	struct stored source = {s, LOG_HOST_NUMBER};
	struct log_info info;
	struct log_head head;
	int r;

	if (strcmp(log, LOG_HOST) != 0) {
		if ((r = logs_find(s, log, &info)) < 0)
			return err_set(
			    e, r, r == -ENOENT ? "there is no such log" : "it cannot be read");
		source.log = info.number;
	}
	/* a damaged head is one that says nothing: the records are there all the same */
	if (logs_head(s, source.log, &head, NULL) < 0)
		head.seq = 0;
	r = log_feed(&stored_parts, &source, log, head.seq, sink, arg);
	return r < 0 ? err_set(e, r, "it cannot be read: %s", strerror(-r)) : r;
}

/* ---- to a verifier ---- */

static int ranges_on_head(void *arg, const char *log, uint64_t n)
{
	struct log_ranges *r = arg;

	(void)log;
	r->head = n;
	return 0;
}

static int ranges_on_host_epoch(void *arg, const void *note, size_t len)
{
	return ranges_host_epoch(((struct log_ranges *)arg)->ranges, note, len);
}

static int ranges_on_host_break(void *arg, const void *note, size_t len)
{
	return ranges_host_break(((struct log_ranges *)arg)->ranges, note, len);
}

static int ranges_on_break(void *arg, const void *note, size_t len)
{
	return ranges_break(((struct log_ranges *)arg)->ranges, note, len);
}

static int ranges_on_epoch(void *arg, const void *note, size_t len)
{
	return ranges_epoch(((struct log_ranges *)arg)->ranges, note, len);
}

static int ranges_on_record(void *arg, uint64_t seq, const void *data, size_t len)
{
	return ranges_record(((struct log_ranges *)arg)->ranges, seq, data, len);
}

static int ranges_on_checkpoint(void *arg, uint64_t size, const void *note, size_t len)
{
	return ranges_checkpoint(((struct log_ranges *)arg)->ranges, size, note, len);
}

static int ranges_on_body(void *arg, uint64_t seq, const void *data, size_t len)
{
	return ranges_body(((struct log_ranges *)arg)->ranges, seq, data, len);
}

static int ranges_on_edge(
    void *arg, uint64_t seq, const uint8_t leaf[DIGEST_LEN], const struct merkle *tree)
{
	return ranges_edge(((struct log_ranges *)arg)->ranges, seq, leaf, tree);
}

static int ranges_on_torn(void *arg, uint64_t from, uint64_t to, bool broken, const char *what)
{
	ranges_find(((struct log_ranges *)arg)->ranges, broken ? VERDICT_BROKEN : VERDICT_MISSING,
	    from, to, "%s", what);
	return 0;
}

const struct log_sink log_ranges_sink = {.head = ranges_on_head,
    .host_epoch = ranges_on_host_epoch,
    .epoch = ranges_on_epoch,
    .host_break = ranges_on_host_break,
    .own_break = ranges_on_break,
    .record = ranges_on_record,
    .checkpoint = ranges_on_checkpoint,
    .edge = ranges_on_edge,
    .body = ranges_on_body,
    .torn = ranges_on_torn};
