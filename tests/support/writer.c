#include "tests/support/writer.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/logs.h"
#include "broker/audit/record_store.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/loop.h"

#define BODY_MAX 1500

struct asked { /* one record under way */
	struct writer *w;
	size_t log;
};

uint64_t writer_random(uint64_t *seed)
{
	uint64_t x = *seed;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *seed = x;
}

int writer_open(struct writer *w, int dirfd, struct err *e)
{
	struct store_config c = {.map_size = WRITER_MAP, .reserve = 64 * 1024};
	struct record_options o;
	int r;

	memset(w, 0, sizeof *w);
	record_options_default(&o);
	o.rate = o.critical_rate = 0;
	o.tenant_bytes = 0;
	o.ack_ns = INT64_C(60) * 1000 * 1000 * 1000;
	if (!(w->loop = loop_new()))
		return err_set(e, -errno, "loop: %m");
	if ((r = store_open(dirfd, &c, &w->store, e)) < 0 ||
	    (r = record_store_open(w->store, w->loop, &o, &w->log, e)) < 0)
		writer_close(w);
	return r;
}

void writer_close(struct writer *w)
{
	if (w->log)
		w->log->ops->free(w->log);
	store_close(w->store);
	loop_free(w->loop);
	w->log = NULL;
	w->store = NULL;
	w->loop = NULL;
}

static void hand_on(struct writer *w, size_t log, uint64_t seq)
{
	cleanup_buf struct buf b;
	struct ack a = {.log = log, .seq = seq};
	struct log_info info;

	buf_init(&b, RECORD_MAX);
	/* what it says is there has to be there: a leaf of zeros is nobody's */
	if (logs_find(w->store, book_names[log], &info) == 0 &&
	    logs_get(w->store, info.number, seq, &b) == 0)
		merkle_leaf(b.data, b.len, a.leaf);
	w->on_ack(&a, w->arg);
}

static void on_done(int r, uint64_t seq, void *arg)
{
	struct asked *q = arg;
	struct writer *w = q->w;

	if (r == 0) {
		w->acked++;
		if (w->on_ack)
			hand_on(w, q->log, seq);
	} else {
		w->refused++;
		w->error = r;
	}
	free(q);
}

int writer_append(struct writer *w, size_t n, uint64_t *seed)
{
	char text[BODY_MAX + 1];
	int r = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t x = writer_random(seed);
		size_t log = x % BOOK_LOGS, len = (x >> 8) % BODY_MAX;
		struct asked *q = malloc(sizeof *q);

		if (!q)
			return -ENOMEM;
		*q = (struct asked){.w = w, .log = log};
		memset(text, 'a' + (int)(x >> 32) % 26, len);
		text[len] = '\0';
		r = record_append(w->log, "session.start", log == 0 ? NULL : book_names[log], NULL,
		    json_pack("{s:I, s:s}", "n", (json_int_t)w->next++, "text", text), true,
		    on_done, q);
		if (r < 0) {
			w->refused++;
			w->error = r;
			free(q);
		}
	}
	return r;
}

int writer_flush(struct writer *w)
{
	return w->log->ops->flush(w->log);
}
