/*
 * OTLP over HTTP, as JSON. One request in flight.
 *
 * What a server does not take for what it is (400, 413, 422) is cut in halves until one event is
 * left; that one is passed over, and recorded so, if the server takes an empty request at that
 * moment: one that refuses everything is at fault itself, and nothing is passed over for it. Every
 * other refusal waits: an audit record is not dropped because a token has run out.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/export/http.h"
#include "broker/export/otlp_text.h"
#include "broker/export/sink.h"
#include "lib/str.h"
#include "lib/util.h"

#define REQUEST_MAX   (192u * 1024 * 1024)
#define ANSWER_MAX    (64u * 1024)
#define TIMEOUT_S     30
#define RETRY_AFTER_S 600 /* the longest that a server may ask for */
#define WHY_MAX       400

struct otlp {
	struct sink *sink;
	struct http_call *call;
	const struct sink_batch *batch;
	size_t from, to; /* in flight */
	bool probing;    /* an empty request is, to see whose fault it was */
	int refused;     /* the status that the single event had */
	char *header_text;
	const char *headers[SINK_HEADERS_MAX + 2];
};

static void on_answer(const struct http_answer *a, void *arg);

static void stop(struct sink *s)
{
	struct otlp *o = s->impl;

	http_cancel(steal_ptr(&o->call));
	o->batch = NULL;
}

static void post(struct otlp *o)
{
	struct sink *s = o->sink;
	cleanup_buf struct buf b;
	struct http_request q = {.url = s->config.url,
	    .headers = o->headers,
	    .tls = sink_tls(s),
	    .answer_max = ANSWER_MAX,
	    .timeout_s = TIMEOUT_S};
	int r;

	buf_init(&b, REQUEST_MAX);
	otlp_request(o->batch, o->from, o->probing ? o->from : o->to, &b);
	q.body = b.data;
	q.len = b.len;
	r = buf_status(&b);
	if (r == 0)
		r = http_post(s->x->http, &q, on_answer, o, &o->call);
	if (r < 0)
		sink_failed(s, 0, strerror(-r));
}

static void go_on(struct otlp *o)
{
	struct sink *s = o->sink;

	if (o->from < o->batch->n) {
		o->to = o->batch->n;
		post(o);
		return;
	}
	o->batch = NULL;
	sink_taken(s);
	sink_settled(s, 1);
}

/* Everything before `to` is settled one way or the other. */
static void skipped(struct sink *s)
{
	struct otlp *o = s->impl;

	o->from = o->to;
	go_on(o);
}

/* It took some and rejected others, and does not say which; they must not be sent again
 * (OTLP/HTTP, "Partial Success"). */
static void partly(struct otlp *o, const struct otlp_answer *got)
{
	const struct ocsf_event *events = o->batch->events;
	char why[WHY_MAX];
	size_t at = o->to - 1;

	/* passing over a record of such a skip leaves no record: it must not stand for the others
	 */
	while (at > o->from && events[at].of_skip)
		at--;
	if (events[at].of_skip)
		at = o->to - 1;
	if (o->to - o->from == 1)
		(void)snprintf(why, sizeof why, "rejected: %s", got->message);
	else
		(void)snprintf(why, sizeof why,
		    "%llu of %llu to %llu were rejected, it is not known which: %s",
		    (unsigned long long)got->rejected, (unsigned long long)events[o->from].number,
		    (unsigned long long)events[o->to - 1].number, got->message);
	sink_skip(o->sink, at, why);
}

static void accepted(struct otlp *o, const struct http_answer *a)
{
	struct otlp_answer got;
	struct err e = ERR_INIT;

	if (otlp_answer(a->body, a->len, &got, &e) < 0) {
		sink_failed(o->sink, 0, err_text(&e));
		return;
	}
	sink_well(o->sink);
	if (o->probing) {
		char why[WHY_MAX];

		o->probing = false;
		o->to = o->from + 1;
		(void)snprintf(why, sizeof why, "HTTP status %d", o->refused);
		sink_skip(o->sink, o->from, why);
	} else if (got.rejected > 0) {
		partly(o, &got);
	} else {
		skipped(o->sink);
	}
}

static void refused(struct otlp *o, const struct http_answer *a)
{
	char why[WHY_MAX], said[128];
	bool poison = a->status == 400 || a->status == 413 || a->status == 422;

	if (poison && !o->probing) {
		if (o->to - o->from > 1) {
			o->to = o->from + (o->to - o->from) / 2;
		} else {
			o->probing = true;
			o->refused = a->status;
		}
		post(o);
		return;
	}
	(void)snprintf(why, sizeof why, "HTTP status %d%s: %s", a->status,
	    o->probing ? " even for an empty request" : "",
	    str_escape(said, sizeof said, a->body, a->len));
	o->probing = false;
	sink_failed(o->sink,
	    a->retry_after_s < 0 || (a->status != 429 && a->status != 503) ? 0
	    : a->retry_after_s > RETRY_AFTER_S                             ? RETRY_AFTER_S
	                                                                   : a->retry_after_s,
	    why);
}

static void on_answer(const struct http_answer *a, void *arg)
{
	struct otlp *o = arg;

	o->call = NULL;
	if (a->r < 0) {
		o->probing = false;
		sink_failed(o->sink, 0, a->why);
	} else if (a->status >= 200 && a->status < 300) {
		accepted(o, a);
	} else {
		refused(o, a);
	}
}

static void send_batch(struct sink *s, const struct sink_batch *b)
{
	struct otlp *o = s->impl;

	o->batch = b;
	o->from = 0;
	o->probing = false;
	go_on(o);
}

/* "Name: value" a line; what is empty or begins with # is passed over. */
static int parse_headers(struct otlp *o, const struct sink *s, struct err *e)
{
	size_t n = 0;
	char *line, *next;

	o->headers[n++] = "Content-Type: application/json";
	o->header_text = calloc(1, s->headers.len + 1);
	if (!o->header_text)
		return err_set(e, -ENOMEM, "no memory for a sink");
	if (s->headers.len > 0)
		memcpy(o->header_text, s->headers.data, s->headers.len);
	for (line = o->header_text; line; line = next) {
		char *end = strchrnul(line, '\n');
		const char *colon;

		next = *end ? end + 1 : NULL;
		*end = '\0';
		if (end > line && end[-1] == '\r')
			*--end = '\0';
		if (line == end || *line == '#')
			continue;
		colon = strchr(line, ':');
		for (const char *c = line; c < end; c++)
			if ((unsigned char)*c < ' ' || *c == 0x7f)
				colon = NULL;
		if (!colon || colon == line || n > SINK_HEADERS_MAX)
			return err_set(e, -EINVAL,
			    "export %s: %s: must be lines of Name: value, at most %d",
			    s->config.name, s->config.headers, SINK_HEADERS_MAX);
		o->headers[n++] = line;
	}
	o->headers[n] = NULL;
	return 0;
}

static int open_otlp(struct sink *s, struct err *e)
{
	struct otlp *o = calloc(1, sizeof *o);

	if (!o)
		return err_set(e, -ENOMEM, "no memory for a sink");
	o->sink = s;
	s->impl = o;
	return parse_headers(o, s, e);
}

static void free_otlp(struct sink *s)
{
	struct otlp *o = s->impl;

	http_cancel(o->call);
	if (o->header_text)
		explicit_bzero(o->header_text, s->headers.len);
	free(o->header_text);
	free(o);
	s->impl = NULL;
}

const struct sink_ops sink_otlp = {open_otlp, send_batch, skipped, stop, NULL, free_otlp};
