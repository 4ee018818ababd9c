/* A walk through a log's records (pull.h): one page asked at a time. */
#include "broker/export/pull.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/export/pull_internal.h"
#include "broker/audit/body.h"
#include "lib/buf.h"
#include "lib/msg.h"
#include "lib/str.h"

/* A walk: one page asked at a time. */
struct walk {
	struct walk *next;
	struct pull *p;
	char sink[NAME_MAX_LEN + 1], log[NAME_MAX_LEN + 1], kind[16]; /* kind "": records */
	uint64_t at, to;
	pull_item_fn item;
	pull_end_fn end;
	void *arg;
	bool forgotten;
	/* of one body */
	pull_body_fn whole;
	uint64_t seq;
	struct buf body;
	json_t *private;
};

static void on_page(int r, const struct msg *m, void *arg);

static int ask(struct walk *w)
{
	uint64_t left = w->to - w->at + 1;

	if (*w->kind)
		return pull_ask(w->p, "export.notes",
		    json_pack("{s:s, s:s, s:I}", "log", w->log, "kind", w->kind, "from",
		        (json_int_t)w->at),
		    on_page, w);
	return pull_ask(w->p, "export.pull",
	    json_pack("{s:s, s:s, s:I, s:I}", "sink", w->sink, "log", w->log, "from",
	        (json_int_t)w->at, "max",
	        (json_int_t)(left > PULL_BATCH || left == 0 ? PULL_BATCH : left)),
	    on_page, w);
}

static void end(struct walk *w, int r, const char *why)
{
	if (!w->forgotten)
		w->end(r, why, w->arg);
	pull_walk_free(w);
}

/* 1: the page was empty. */
static int take_records(struct walk *w, const json_t *list)
{
	size_t n = json_array_size(list);
	cleanup_buf struct buf b;
	int r = n > 0 ? 0 : 1;

	buf_init(&b, MSG_MAX);
	for (size_t i = 0; i < n && r == 0 && w->at <= w->to && !w->forgotten; i++) {
		buf_reset(&b);
		r = msg_json_decode(json_array_get(list, i), &b);
		if (r == 0)
			r = w->item(w->at++, b.data, b.len, w->arg);
	}
	return r;
}

static int take_notes(struct walk *w, const json_t *list)
{
	size_t n = json_array_size(list);
	cleanup_buf struct buf b;
	int r = n > 0 ? 0 : 1;

	buf_init(&b, MSG_MAX);
	for (size_t i = 0; i < n && r == 0 && w->at <= w->to && !w->forgotten; i++) {
		uint64_t number;
		const void *note;
		size_t len;

		buf_reset(&b);
		if ((r = msg_json_decode(json_array_get(list, i), &b)) < 0 ||
		    (r = pull_note(b.data, b.len, &number, &note, &len)) < 0)
			break;
		if (number < w->at) /* the order is broken: it would never end */
			return -EBADMSG;
		w->at = number + 1;
		if (number <= w->to)
			r = w->item(number, note, len, w->arg);
	}
	return r;
}

static void on_page(int r, const struct msg *m, void *arg)
{
	struct walk *w = arg;
	bool notes = *w->kind != '\0';
	const char *why = "";

	if (r == -EREMOTEIO)
		why = msg_str(m, "reason");
	if (r == 0 && !notes && msg_int(m, "from", 0) != (int64_t)w->at)
		r = -EBADMSG;
	if (r == 0)
		r = notes ? take_notes(w, msg_obj(m, "notes"))
		          : take_records(w, msg_obj(m, "records"));
	if (r == 1) /* nothing more there */
		r = notes ? 0 : -ENODATA;
	else if (r == 0 && w->at <= w->to && !w->forgotten && (r = ask(w)) == 0)
		return;
	end(w, r, why);
}

static int start(struct pull *p, const struct walk *like)
{
	struct walk *w = malloc(sizeof *w);
	int r;

	if (!w)
		return -ENOMEM;
	*w = *like;
	w->p = p;
	if ((r = ask(w)) < 0)
		free(w);
	return r;
}

int pull_records(struct pull *p, const char *sink, const char *log, uint64_t from, uint64_t to,
    pull_item_fn item, pull_end_fn end_fn, void *arg)
{
	struct walk w = {.at = from, .to = to, .item = item, .end = end_fn, .arg = arg};

	if (from == 0 || from > to || !str_copy(w.sink, sizeof w.sink, sink) ||
	    !str_copy(w.log, sizeof w.log, log))
		return -EINVAL;
	return start(p, &w);
}

int pull_notes(struct pull *p, const char *log, const char *kind, uint64_t from, uint64_t to,
    pull_item_fn item, pull_end_fn end_fn, void *arg)
{
	struct walk w = {.at = from, .to = to, .item = item, .end = end_fn, .arg = arg};

	if (from > to || *kind == '\0' || !str_copy(w.kind, sizeof w.kind, kind) ||
	    !str_copy(w.log, sizeof w.log, log))
		return -EINVAL;
	return start(p, &w);
}

/* ---- one body, a piece at a time ---- */

static void on_piece(int r, const struct msg *m, void *arg);

static int ask_piece(struct walk *w)
{
	return pull_ask(w->p, "export.body",
	    json_pack("{s:s, s:s, s:I, s:I}", "sink", w->sink, "log", w->log, "seq",
	        (json_int_t)w->seq, "at", (json_int_t)w->body.len),
	    on_piece, w);
}

/* 1: there is more. */
static int take_piece(struct walk *w, const struct msg *m)
{
	size_t size = (size_t)msg_int(m, "size", 0), before = w->body.len;
	int r;

	if (size == 0)
		return -ENOENT;
	if ((r = msg_bytes(m, "data", &w->body)) < 0)
		return r;
	if (!w->private)
		w->private = json_incref(msg_obj(m, "private"));
	if (w->body.len == before || w->body.len > size)
		return -EBADMSG;
	return w->body.len < size;
}

static void on_piece(int r, const struct msg *m, void *arg)
{
	struct walk *w = arg;
	const char *why = r == -EREMOTEIO ? msg_str(m, "reason") : "";

	if (r == 0)
		r = take_piece(w, m);
	if (r == 1 && !w->forgotten && (r = ask_piece(w)) == 0)
		return;
	if (!w->forgotten)
		w->whole(r, why, w->body.data, w->body.len, w->private, w->arg);
	pull_walk_free(w);
}

int pull_body(
    struct pull *p, const char *sink, const char *log, uint64_t seq, pull_body_fn fn, void *arg)
{
	struct walk *w = calloc(1, sizeof *w);
	int r;

	if (!w)
		return -ENOMEM;
	w->p = p;
	w->seq = seq;
	w->whole = fn;
	w->arg = arg;
	buf_init(&w->body, BODY_MAX);
	r = str_copy(w->sink, sizeof w->sink, sink) && str_copy(w->log, sizeof w->log, log)
	        ? ask_piece(w)
	        : -EINVAL;
	if (r < 0)
		pull_walk_free(w);
	return r;
}

/* ---- for pull.c ---- */

void pull_walk_free(void *walk)
{
	struct walk *w = walk;

	buf_done(&w->body);
	json_decref(w->private);
	free(w);
}

bool pull_is_walk(pull_fn fn)
{
	return fn == on_page || fn == on_piece;
}

bool pull_walk_of(void *walk, const void *arg)
{
	struct walk *w = walk;

	if (w->arg != arg)
		return false;
	w->forgotten = true;
	return true;
}
