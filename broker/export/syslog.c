/*
 * Syslog over TLS (RFC 5425). The protocol has no acknowledgement: a batch counts as there for good
 * when the peer's kernel has acknowledged every byte of it and the connection has then stayed up
 * for a second. What the collector had taken off its socket and lost with its memory is lost; what
 * it had not is sent again, and so is what it may have had.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/export/http.h"
#include "broker/export/rfc5424.h"
#include "broker/export/sink.h"
#include "lib/clock.h"
#include "lib/loop.h"
#include "lib/util.h"

#define OUT_MAX   (96u * 1024 * 1024) /* a batch: at most 1024 lines of OCSF_LINE_MAX */
#define SETTLE_NS NSEC_PER_SEC
#define TICK_NS   (NSEC_PER_SEC / 4)
#define STUCK_NS  (60 * NSEC_PER_SEC) /* a collector that takes nothing for so long has hung */
#define BATCHES   SINK_MARKS_MAX

struct syslog {
	struct sink *sink;
	struct http_conn *conn;
	bool up;
	struct buf out; /* of the batch being sent */
	size_t at;
	bool sending;
	int64_t progress_ns;
	/* when each batch that was taken was acknowledged; 0: not yet. Oldest first, as the marks
	 */
	int64_t acked_ns[BATCHES];
	size_t first, n;
	struct loop_source *tick;
};

static void stop(struct sink *s)
{
	struct syslog *y = s->impl;

	http_conn_free(steal_ptr(&y->conn));
	y->up = y->sending = false;
	buf_reset(&y->out);
	y->at = y->n = 0;
	loop_timer_set(y->tick, -1);
}

static void write_more(struct syslog *y)
{
	struct sink *s = y->sink;

	while (y->at < y->out.len) {
		ssize_t n = http_conn_send(y->conn, y->out.data + y->at, y->out.len - y->at);

		if (n == -EAGAIN) {
			http_conn_want(y->conn, true);
			return;
		}
		if (n < 0) {
			sink_failed(s, 0, "the connection broke");
			return;
		}
		y->at += (size_t)n;
		y->progress_ns = clock_mono_ns();
	}
	http_conn_want(y->conn, false);
	y->sending = false;
	buf_reset(&y->out);
	y->at = 0;
	y->acked_ns[(y->first + y->n++) % BATCHES] = 0;
	sink_taken(s);
}

/* Looks at what was acknowledged. */
static void on_tick(struct loop *l, void *arg)
{
	struct syslog *y = arg;
	int64_t now = clock_mono_ns();
	size_t settled = 0;
	int left;

	(void)l;
	if (!y->up)
		return;
	left = http_conn_unacked(y->conn);
	if (left < 0 || (left > 0 && now - y->progress_ns > STUCK_NS)) {
		sink_failed(y->sink, 0,
		    left < 0 ? "the connection broke" : "the server takes nothing any more");
		return;
	}
	if (left == 0)
		y->progress_ns = now;
	for (size_t i = 0; i < y->n; i++) {
		int64_t *t = &y->acked_ns[(y->first + i) % BATCHES];

		if (*t == 0 && left == 0)
			*t = now;
		if (*t != 0 && now - *t >= SETTLE_NS)
			settled = i + 1;
	}
	loop_timer_set(y->tick, TICK_NS);
	if (settled == 0) {
		if (y->n == 0 && !y->sending)
			loop_timer_set(y->tick, -1); /* nothing to look at */
		return;
	}
	y->first = (y->first + settled) % BATCHES;
	y->n -= settled;
	sink_settled(y->sink, settled);
}

static void on_conn(enum http_event what, const char *why, void *arg)
{
	struct syslog *y = arg;

	switch (what) {
	case HTTP_UP:
		y->up = true;
		y->progress_ns = clock_mono_ns();
		loop_timer_set(y->tick, TICK_NS);
		if (y->sending)
			write_more(y);
		break;
	case HTTP_WRITABLE:
		if (y->sending)
			write_more(y);
		break;
	case HTTP_DOWN:
		sink_failed(y->sink, 0, why);
		break;
	}
}

static void send_batch(struct sink *s, const struct sink_batch *b)
{
	struct syslog *y = s->impl;
	const struct http_tls tls = sink_tls(s);
	int r;

	for (size_t i = 0; i < b->n; i++)
		rfc5424_frame(&b->events[i], b->origin, b->log, &y->out);
	if (buf_status(&y->out) < 0) {
		sink_failed(s, 0, "no memory");
		return;
	}
	y->sending = true;
	y->at = 0;
	if (y->up) {
		loop_timer_set(y->tick, TICK_NS);
		write_more(y);
	} else if (!y->conn &&
	           (r = http_connect(s->x->http, s->config.to, &tls, on_conn, y, &y->conn)) < 0) {
		sink_failed(s, 0, strerror(-r));
	}
}

static int open_syslog(struct sink *s, struct err *e)
{
	struct syslog *y = calloc(1, sizeof *y);

	if (!y)
		return err_set(e, -ENOMEM, "no memory for a sink");
	y->sink = s;
	buf_init(&y->out, OUT_MAX);
	s->impl = y;
	y->tick = loop_timer(s->x->loop, -1, on_tick, y);
	return y->tick ? 0 : err_set(e, -ENOMEM, "no memory for a sink");
}

static void free_syslog(struct sink *s)
{
	struct syslog *y = s->impl;

	http_conn_free(y->conn);
	loop_remove(y->tick);
	buf_done(&y->out);
	free(y);
	s->impl = NULL;
}

const struct sink_ops sink_syslog = {open_syslog, send_batch, NULL, stop, NULL, free_syslog};
