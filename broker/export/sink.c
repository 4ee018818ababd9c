#include "broker/export/sink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/export/pull.h"
#include "broker/export/sink_internal.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/msg.h"
#include "lib/str.h"

#define NOTES_EVERY 4096 /* records of a backlog between two questions for checkpoints */

static const struct sink_ops *const ways[] = {
    [EXPORT_SYSLOG] = &sink_syslog,
    [EXPORT_OTLP] = &sink_otlp,
    [EXPORT_JSONL] = &sink_jsonl,
};

static struct export_log *log_of(const struct sink *s, size_t feed)
{
	return &s->x->logs[feed];
}

/* ---- what people are told ---- */

static void say(struct sink *s, const char *why)
{
	char shown[sizeof s->reason];

	if (*why)
		str_escape(shown, sizeof shown, why, strlen(why));
	else
		*shown = '\0';
	if (strcmp(shown, s->reason) == 0)
		return;
	if (*shown)
		log_warn("export %s: %s", s->config.name, shown);
	else
		log_info("export %s: works again", s->config.name);
	/* another reason is no other beginning */
	if (!*s->reason != !*shown)
		s->since_s = clock_wall_ns() / NSEC_PER_SEC;
	memcpy(s->reason, shown, sizeof shown);
	exporter_changed(s->x);
}

void sink_well(struct sink *s)
{
	s->failures = 0;
	say(s, "");
}

json_t *sink_report(const struct sink *s)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "name", s->config.name, "kind",
	    export_kind_name(s->config.kind), "state", *s->reason ? "failing" : "ok", "reason",
	    s->reason, "sent", (json_int_t)s->sent, "since_s", (json_int_t)s->since_s);
}

static void batch_send(struct sink *s)
{
	s->state = SINK_SENDING;
	s->ops->send(s, &s->batch);
}

/* ---- what the core answers ---- */

static void again(struct sink *s)
{
	s->state = SINK_IDLE;
	loop_timer_set(s->next, 0);
}

static void refused(struct sink *s, int r, const char *why)
{
	if (r == -ECONNRESET) { /* sink_linked() goes on */
		s->state = SINK_IDLE;
		return;
	}
	if (r == -EREMOTEIO) /* perhaps the cursor has been moved: it is asked for again */
		s->feeds[s->batch_feed].open = false;
	sink_failed(s, 0, r == -EREMOTEIO ? why : strerror(-r));
}

static void on_refused(struct sink *s, int r, const struct msg *m)
{
	refused(s, r, r == -EREMOTEIO ? msg_str(m, "reason") : "");
}

/* With the bodies that lie beside its records. */
void sink_go_on(struct sink *s, int r, const char *why)
{
	if (r == 0)
		r = sink_body_ask(s);
	if (r < 0)
		refused(s, r, why);
	else if (r == 0)
		batch_send(s);
}

static void on_at(int r, const struct msg *m, void *arg)
{
	struct sink *s = arg;
	struct sink_feed *f = &s->feeds[s->batch_feed];

	if (r < 0) {
		on_refused(s, r, m);
		return;
	}
	f->open = true;
	f->seq = f->done_seq = (uint64_t)msg_int(m, "seq", 0);
	f->checkpoint = f->done_checkpoint = (uint64_t)msg_int(m, "checkpoint", 0);
	f->noted = 0;
	again(s);
}

static void on_batch(int r, const struct msg *m, void *arg)
{
	struct sink *s = arg;
	struct sink_feed *f = &s->feeds[s->batch_feed];

	if (r == 0)
		r = sink_batch_records(s, s->batch_feed, m);
	if (r < 0) {
		on_refused(s, r, m);
		return;
	}
	if (s->batch.n == 0) { /* less than export.grown said: it will say so again */
		log_of(s, s->batch_feed)->size = f->seq;
		again(s);
		return;
	}
	if ((uint64_t)msg_int(m, "from", 0) != f->seq + 1) {
		sink_failed(s, 0, "the core gave other records than the next");
		return;
	}
	sink_go_on(s, 0, "");
}

static void on_notes(int r, const struct msg *m, void *arg)
{
	struct sink *s = arg;
	struct sink_feed *f = &s->feeds[s->batch_feed];

	if (r == 0)
		r = sink_batch_checkpoints(s, s->batch_feed, m);
	if (r < 0) {
		on_refused(s, r, m);
		return;
	}
	f->noted = f->seq;
	if (s->batch.n > 0) {
		batch_send(s);
		return;
	}
	if (log_of(s, s->batch_feed)->checkpoint <= f->seq) /* there is none after all */
		f->checkpoint = log_of(s, s->batch_feed)->checkpoint;
	again(s);
}

/* ---- what to do next ---- */

enum work { NOTHING, OPEN, RECORDS, CHECKPOINTS };

static enum work work_of(const struct sink *s, size_t feed)
{
	const struct sink_feed *f = &s->feeds[feed];
	const struct export_log *l = log_of(s, feed);

	if (!f->wanted || !*l->origin) /* without its name a record cannot be told from another */
		return NOTHING;
	if (!f->open)
		return OPEN;
	if (l->checkpoint > f->checkpoint &&
	    (f->seq >= l->checkpoint || f->seq - f->noted >= NOTES_EVERY))
		return CHECKPOINTS;
	return l->size > f->seq ? RECORDS : NOTHING;
}

static int ask(struct sink *s, size_t feed, enum work what)
{
	const struct sink_feed *f = &s->feeds[feed];
	const char *log = log_of(s, feed)->name, *name = s->config.name;

	s->batch_feed = feed;
	switch (what) {
	case OPEN:
		return pull_ask(s->x->pull, "export.open",
		    json_pack("{s:s, s:s}", "sink", name, "log", log), on_at, s);
	case RECORDS:
		return pull_ask(s->x->pull, "export.pull",
		    json_pack("{s:s, s:s, s:I, s:i}", "sink", name, "log", log, "from",
		        (json_int_t)(f->seq + 1), "max", PULL_BATCH),
		    on_batch, s);
	case CHECKPOINTS:
		return pull_ask(s->x->pull, "export.notes",
		    json_pack("{s:s, s:s, s:I}", "log", log, "kind", "checkpoint", "from",
		        (json_int_t)(f->checkpoint + 1)),
		    on_notes, s);
	case NOTHING:
		break;
	}
	return 0;
}

/* The next log in turn that has something: none of them waits for another's backlog. */
static void go_on(struct loop *l, void *arg)
{
	struct sink *s = arg;

	(void)l;
	if (s->state != SINK_IDLE || s->nmarks == SINK_MARKS_MAX || !pull_up(s->x->pull))
		return;
	for (size_t i = 0; i < s->nfeeds; i++) {
		size_t feed = (s->turn + i) % s->nfeeds;
		enum work what = work_of(s, feed);
		int r;

		if (what == NOTHING)
			continue;
		s->turn = feed + 1;
		s->state = SINK_ASKING;
		if ((r = ask(s, feed, what)) < 0)
			sink_failed(s, 0, strerror(-r));
		return;
	}
}

/* New logs get a feed; the arrays run in parallel. */
static int feeds_grow(struct sink *s)
{
	struct sink_feed *more;

	if (s->nfeeds == s->x->nlogs)
		return 0;
	more = reallocarray(s->feeds, s->x->nlogs, sizeof *more);
	if (!more)
		return -ENOMEM;
	s->feeds = more;
	while (s->nfeeds < s->x->nlogs) {
		s->feeds[s->nfeeds] = (struct sink_feed){
		    .wanted = export_sink_wants(&s->config, s->x->logs[s->nfeeds].name)};
		s->nfeeds++;
	}
	return 0;
}

void sink_wake(struct sink *s)
{
	if (feeds_grow(s) == 0 && s->state == SINK_IDLE)
		loop_timer_set(s->next, 0);
}

/* ---- what the way out says ---- */

static void done(struct sink *s, size_t feed)
{
	const struct sink_feed *f = &s->feeds[feed];

	(void)pull_tell(s->x->pull, "export.done",
	    json_pack("{s:s, s:s, s:I, s:I}", "sink", s->config.name, "log", log_of(s, feed)->name,
	        "seq", (json_int_t)f->done_seq, "checkpoint", (json_int_t)f->done_checkpoint));
}

void sink_taken(struct sink *s)
{
	struct sink_feed *f = &s->feeds[s->batch_feed];
	const struct ocsf_event *last = &s->batch.events[s->batch.n - 1];

	if (last->checkpoint)
		f->checkpoint = last->number;
	else
		f->seq = last->number;
	s->sent += s->batch.n - s->passed_over;
	s->marks[(s->mark_first + s->nmarks++) % SINK_MARKS_MAX] =
	    (struct sink_mark){s->batch_feed, f->seq, f->checkpoint};
	sink_batch_drop(s);
	again(s);
}

void sink_settled(struct sink *s, size_t n)
{
	bool full = s->nmarks == SINK_MARKS_MAX;

	for (; n > 0 && s->nmarks > 0; n--, s->nmarks--) {
		const struct sink_mark *m = &s->marks[s->mark_first];
		struct sink_feed *f = &s->feeds[m->feed];

		s->mark_first = (s->mark_first + 1) % SINK_MARKS_MAX;
		f->done_seq = m->seq > f->done_seq ? m->seq : f->done_seq;
		f->done_checkpoint = m->checkpoint;
		if (n == 1 || s->nmarks == 1 || s->marks[s->mark_first].feed != m->feed)
			done(s, m->feed);
	}
	sink_well(s);
	if (full)
		sink_wake(s);
}

/* Back to the cursors. */
static void rewind_feeds(struct sink *s)
{
	s->ops->stop(s);
	sink_batch_drop(s);
	s->nmarks = 0;
	for (size_t i = 0; i < s->nfeeds; i++) {
		s->feeds[i].seq = s->feeds[i].done_seq;
		s->feeds[i].checkpoint = s->feeds[i].done_checkpoint;
		s->feeds[i].noted = 0;
	}
}

void sink_failed(struct sink *s, int64_t after_s, const char *why)
{
	/* the answer to a question of before would be taken for the next records */
	pull_forget(s->x->pull, s);
	rewind_feeds(s);
	s->state = SINK_WAITING;
	s->failures++;
	say(s, why);
	loop_timer_set(
	    s->retry, after_s > 0 ? after_s * NSEC_PER_SEC : exporter_backoff_ns(s->failures));
}

static void on_skipped(int r, const struct msg *m, void *arg)
{
	struct sink *s = arg;
	struct sink_feed *f = &s->feeds[s->batch_feed];

	if (r < 0) {
		on_refused(s, r, m);
		return;
	}
	f->done_seq++;
	s->passed_over++;
	s->ops->skipped(s);
}

void sink_skip(struct sink *s, size_t i, const char *why)
{
	struct sink_feed *f = &s->feeds[s->batch_feed];
	const struct ocsf_event *ev = &s->batch.events[i];
	char reason[512];
	int r;

	str_escape(reason, sizeof reason, why, strlen(why));
	log_warn("export %s: %s %llu of %s is passed over: %s", s->config.name,
	    ev->checkpoint ? "checkpoint" : "record", (unsigned long long)ev->number, s->batch.log,
	    reason);
	if (ev->checkpoint) {
		f->done_checkpoint = ev->number;
		s->passed_over++;
		s->ops->skipped(s);
		return;
	}
	if (ev->number > f->done_seq + 1) {
		f->done_seq = ev->number - 1;
		done(s, s->batch_feed);
	}
	r = pull_ask(s->x->pull, "export.skip",
	    json_pack("{s:s, s:s, s:I, s:s}", "sink", s->config.name, "log", s->batch.log, "seq",
	        (json_int_t)ev->number, "reason", reason),
	    on_skipped, s);
	if (r < 0)
		sink_failed(s, 0, strerror(-r));
}

static void on_retry(struct loop *l, void *arg)
{
	struct sink *s = arg;

	s->state = SINK_IDLE;
	go_on(l, s);
}

void sink_linked(struct sink *s)
{
	pull_forget(s->x->pull, s);
	rewind_feeds(s);
	for (size_t i = 0; i < s->nfeeds; i++)
		s->feeds[i].open = false;
	if (s->state != SINK_WAITING)
		again(s);
}

/* ---- a sink ---- */

int sink_new(struct exporter *x, const struct export_sink *config, struct sink **ret, struct err *e)
{
	struct sink *s = calloc(1, sizeof *s);
	int r;

	if (!s)
		return err_set(e, -ENOMEM, "no memory for a sink");
	s->x = x;
	s->config = *config;
	s->ops = ways[config->kind];
	s->since_s = clock_wall_ns() / NSEC_PER_SEC;
	s->retry = loop_timer(x->loop, -1, on_retry, s);
	s->next = loop_timer(x->loop, -1, go_on, s);
	r = sink_files_read(s, x, config, e);
	if (r == 0 && (!s->retry || !s->next))
		r = err_set(e, -ENOMEM, "no memory for a sink");
	if (r == 0)
		r = s->ops->open(s, e);
	if (r < 0) {
		sink_free(s);
		return r;
	}
	*ret = s;
	sink_wake(s);
	return 0;
}

void sink_free(struct sink *s)
{
	if (!s)
		return;
	pull_forget(s->x->pull, s);
	if (s->impl)
		s->ops->free(s);
	sink_batch_drop(s);
	loop_remove(s->retry);
	loop_remove(s->next);
	sink_files_drop(s);
	free(s->feeds);
	free(s);
}

void sink_reopen(struct sink *s)
{
	if (s->ops->reopen)
		s->ops->reopen(s);
}
