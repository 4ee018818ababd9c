/*
 * One sink: takes each log it wants from where its cursor is, in order, one batch in flight.
 *
 * sink.c asks the core for records and checkpoints, renders them (ocsf.h) and hands them to one of
 * three ways out (syslog.c, otlp.c, jsonl.c). A way out takes a batch, and later says that it is
 * there for good; between the two the next batch may follow. The cursor (export.done) never runs
 * ahead of what is there for good, and when something breaks everything behind the cursor is sent
 * again: at least once, in order.
 *
 * Checkpoints go out when the records they cover have.
 */
#ifndef POSTERN_EXPORT_SINK_H
#define POSTERN_EXPORT_SINK_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/core/export_config.h"
#include "broker/export/exporter.h"
#include "broker/export/http.h"
#include "broker/export/ocsf.h"
#include "lib/buf.h"
#include "lib/err.h"

#define SINK_FILE_MAX    (64u * 1024) /* of a CA, certificate, key or headers file */
#define SINK_MARKS_MAX   256          /* batches taken and not yet there for good */
#define SINK_HEADERS_MAX 16

struct sink;

struct sink_batch {
	size_t n;
	struct ocsf_event *events;
	const char *origin, *log;
};

/* A way out. Its state hangs on the sink. */
struct sink_ops {
	int (*open)(struct sink *s, struct err *e); /* once, before everything else */
	/* Begins to send; the batch stays until sink_taken() or sink_failed(), which may be
	 * called from within. */
	void (*send)(struct sink *s, const struct sink_batch *b);
	/* What sink_skip() asked for is on record: goes on with the batch. */
	void (*skipped)(struct sink *s);
	/* Gives up what is under way, and what is taken but not for good. */
	void (*stop)(struct sink *s);
	void (*reopen)(struct sink *s); /* after a reload that left it as it was */
	void (*free)(struct sink *s);
};

extern const struct sink_ops sink_syslog, sink_otlp, sink_jsonl;

struct sink_feed { /* of one log, by the log's index */
	bool open, wanted;
	uint64_t seq, checkpoint;           /* taken */
	uint64_t done_seq, done_checkpoint; /* there for good */
	uint64_t noted;                     /* seq when checkpoints were asked for last */
};

struct sink_mark {
	size_t feed;
	uint64_t seq, checkpoint;
};

enum sink_state {
	SINK_IDLE,
	SINK_ASKING,  /* the core */
	SINK_SENDING, /* a batch is with the way out */
	SINK_WAITING, /* after a failure */
};

struct sink {
	struct exporter *x;
	struct export_sink config;
	struct buf ca, cert, key, headers; /* the files' contents */
	const struct sink_ops *ops;
	void *impl;
	enum sink_state state;
	size_t nfeeds, turn;
	struct sink_feed *feeds;
	struct sink_batch batch;
	size_t body_at; /* the event of the batch whose body is asked for, or may be next */
	size_t batch_feed, passed_over; /* passed_over: events of the batch */
	struct sink_mark marks[SINK_MARKS_MAX];
	size_t mark_first, nmarks;
	struct loop_source *retry, *next;
	unsigned failures;
	uint64_t sent;
	int64_t since_s;
	char reason[200]; /* "": all is well */
};

int sink_new(
    struct exporter *x, const struct export_sink *config, struct sink **ret, struct err *e);
void sink_free(struct sink *s); /* NULL is fine */
/* Whether the files that the sink names still hold what they did. */
bool sink_same(const struct sink *s, const struct export_sink *config);
void sink_reopen(struct sink *s);
/* There may be something to do. */
void sink_wake(struct sink *s);
/* Every cursor is asked for anew: there is another link. */
void sink_linked(struct sink *s);
json_t *sink_report(const struct sink *s); /* for export.state */

/* For ways out. */
void sink_taken(struct sink *s);             /* the batch; the next may come */
void sink_settled(struct sink *s, size_t n); /* the oldest n batches that were taken */
/* Everything that is not there for good is sent again, after a while: after_s, or a backoff that
 * grows if it is 0. */
void sink_failed(struct sink *s, int64_t after_s, const char *why);
/* The events before i are there for good, i itself never will be. Once that is on record the way
 * out is told by skipped(), or stopped if it cannot be recorded: then i is tried again later. */
void sink_skip(struct sink *s, size_t i, const char *why);
struct http_tls sink_tls(const struct sink *s);
void sink_well(struct sink *s); /* what went wrong is over */

#endif
