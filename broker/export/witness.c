#include "broker/export/witness.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/export/exporter.h"
#include "broker/export/http.h"
#include "broker/export/pull.h"
#include "broker/export/witness_text.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"

#define TIMEOUT_S   30
#define SIZES_MAX   4 /* answers 409 to one checkpoint */
#define WHY_MAX     200
#define REQUEST_MAX (2 * NOTE_MAX)

struct known {                 /* of one log, by the log's index */
	uint64_t old;          /* size that the witness has, as far as we know */
	uint64_t cosigned;     /* newest of ours that it has signed */
	unsigned sizes;        /* 409s in a row */
	unsigned failures;     /* in a row */
	int64_t not_before_ns; /* clock_mono_ns */
	bool disagrees;        /* told to the core */
};

enum state { IDLE, ASKING, POSTING, WAITING };

struct witness {
	struct exporter *x;
	struct export_witness config;
	enum state state;
	size_t nlogs, turn, log; /* log: the one under way */
	struct known *logs;
	uint64_t size;   /* of the checkpoint under way */
	struct buf text; /* its text */
	struct http_call *call;
	struct loop_source *timer;
	unsigned failures; /* of the witness itself, in a row */
	uint64_t sent;
	int64_t since_s;
	char reason[WHY_MAX];
};

const struct export_witness *witness_config(const struct witness *w)
{
	return &w->config;
}

/* ---- what people are told ---- */

static void say(struct witness *w, const char *why)
{
	if (strcmp(why, w->reason) == 0)
		return;
	if (*why)
		log_warn("witness %s: %s", w->config.key.name, why);
	else
		log_info("witness %s: works again", w->config.key.name);
	(void)str_copy(w->reason, sizeof w->reason, why);
	w->since_s = clock_wall_ns() / NSEC_PER_SEC;
	exporter_changed(w->x);
}

json_t *witness_report(const struct witness *w)
{
	bool disagrees = false;

	for (size_t i = 0; i < w->nlogs; i++)
		disagrees = disagrees || w->logs[i].disagrees;
	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "name", w->config.key.name, "kind",
	    "witness", "state",
	    disagrees    ? "conflict"
	    : *w->reason ? "failing"
	                 : "ok",
	    "reason", w->reason, "sent", (json_int_t)w->sent, "since_s", (json_int_t)w->since_s);
}

/* ---- how it went ---- */

static const char *name(const struct witness *w)
{
	return w->x->logs[w->log].name;
}

static void next(struct witness *w)
{
	w->state = IDLE;
	loop_timer_set(w->timer, 0);
}

/* This log is refused; the others go on. */
static void log_failed(struct witness *w, const char *why)
{
	struct known *k = &w->logs[w->log];
	char text[WHY_MAX];

	k->sizes = 0;
	k->not_before_ns = clock_mono_ns() + exporter_backoff_ns(++k->failures);
	(void)snprintf(text, sizeof text, "%s: %s", name(w), why);
	say(w, text);
	next(w);
}

/* It cannot be spoken to. */
static void failed(struct witness *w, const char *why)
{
	char text[WHY_MAX];

	w->state = WAITING;
	say(w, str_escape(text, sizeof text, why, strlen(why)));
	loop_timer_set(w->timer, exporter_backoff_ns(++w->failures));
}

static void disagree(struct witness *w, uint64_t size, const char *why)
{
	struct known *k = &w->logs[w->log];

	if (!k->disagrees)
		(void)pull_tell(w->x->pull, "witness.conflict",
		    json_pack("{s:s, s:I, s:s, s:s}", "log", name(w), "size", (json_int_t)size,
		        "witness", w->config.key.name, "reason", why));
	k->disagrees = true;
	log_failed(w, why);
}

static void cosigned(struct witness *w, const struct http_answer *a)
{
	struct known *k = &w->logs[w->log];
	bool all_well = true;
	struct err e = ERR_INIT;
	cleanup_buf struct buf line;

	buf_init(&line, WITNESS_LINE_MAX);
	if (witness_cosignature((const char *)w->text.data, w->text.len, a->body, a->len,
	        &w->config.key, &line, &e) < 0) {
		log_failed(w, err_text(&e));
		return;
	}
	(void)pull_tell(w->x->pull, "witness.signed",
	    json_pack("{s:s, s:I, s:s, s:o}", "log", name(w), "size", (json_int_t)w->size,
	        "witness", w->config.key.name, "line", msg_json_bytes(line.data, line.len)));
	*k = (struct known){.old = w->size, .cosigned = w->size};
	w->sent++;
	for (size_t i = 0; i < w->nlogs; i++)
		all_well = all_well && w->logs[i].failures == 0;
	if (all_well)
		say(w, "");
	next(w);
}

static void has_other(struct witness *w, const struct http_answer *a)
{
	struct known *k = &w->logs[w->log];
	char why[WHY_MAX];
	uint64_t size;

	if (witness_size(a->body, a->len, &size) < 0) {
		log_failed(w, "HTTP status 409 without a size");
	} else if (size > w->size) {
		k->old = size;
		(void)snprintf(why, sizeof why,
		    "the witness has seen %" PRIu64 " records of this log, of which %" PRIu64
		    " are here",
		    size, w->size);
		disagree(w, size, why);
	} else if (++k->sizes > SIZES_MAX) {
		log_failed(w, "the witness takes no size for the old one");
	} else {
		k->old = size;
		next(w);
	}
}

static void on_answer(const struct http_answer *a, void *arg)
{
	struct witness *w = arg;
	char why[WHY_MAX], said[128];

	w->call = NULL;
	if (a->r < 0) {
		failed(w, a->why);
		return;
	}
	(void)snprintf(why, sizeof why, "HTTP status %d: %s", a->status,
	    str_escape(said, sizeof said, a->body, a->len));
	switch (a->status) {
	case 200:
		w->failures = 0;
		cosigned(w, a);
		break;
	case 409:
		w->failures = 0;
		has_other(w, a);
		break;
	case 422: /* the proof does not hold: it has seen another log than ours */
		w->failures = 0;
		disagree(w, w->logs[w->log].old, why);
		break;
	case 400:
	case 403: /* no key of ours is trusted there */
	case 404: /* it does not know this log */
		w->failures = 0;
		log_failed(w, why);
		break;
	default:
		failed(w, why);
		break;
	}
}

/* ---- asking ---- */

static int read_proof(const struct msg *m, uint8_t (*proof)[DIGEST_LEN], size_t *ret_n)
{
	json_t *list = msg_obj(m, "proof");
	cleanup_buf struct buf b;
	size_t n = json_array_size(list);

	buf_init(&b, DIGEST_LEN);
	if (n > WITNESS_PROOF_MAX)
		return -EBADMSG;
	for (size_t i = 0; i < n; i++) {
		buf_reset(&b);
		if (msg_json_decode(json_array_get(list, i), &b) < 0 || b.len != DIGEST_LEN)
			return -EBADMSG;
		memcpy(proof[i], b.data, DIGEST_LEN);
	}
	*ret_n = n;
	return 0;
}

/* What the witness is to sign: w->text and w->size. */
static int read_note(struct witness *w, const struct buf *note)
{
	struct checkpoint c;
	struct note n;
	int r = note_parse(note->data, note->len, &n, NULL);

	if (r < 0)
		return r;
	buf_reset(&w->text);
	buf_put(&w->text, n.text, n.text_len);
	r = checkpoint_parse(n.text, n.text_len, &c, NULL);
	note_done(&n);
	if (r == 0 && c.size != w->size)
		r = -EBADMSG;
	return r < 0 ? r : buf_status(&w->text);
}

static int post(struct witness *w, const struct msg *m)
{
	uint8_t proof[WITNESS_PROOF_MAX][DIGEST_LEN];
	cleanup_buf struct buf note, body;
	char url[EXPORT_URL_MAX + 32];
	struct http_request q = {
	    .url = url, .answer_max = WITNESS_ANSWER_MAX, .timeout_s = TIMEOUT_S};
	size_t n;
	int r;

	buf_init(&note, NOTE_MAX);
	buf_init(&body, REQUEST_MAX);
	if ((r = msg_bytes(m, "note", &note)) < 0 || (r = read_proof(m, proof, &n)) < 0 ||
	    (r = read_note(w, &note)) < 0)
		return r;
	witness_request(w->logs[w->log].old, proof, n, note.data, note.len, &body);
	(void)snprintf(url, sizeof url, "%s/add-checkpoint", w->config.url);
	if ((r = buf_status(&body)) < 0)
		return r;
	q.body = body.data;
	q.len = body.len;
	return http_post(w->x->http, &q, on_answer, w, &w->call);
}

static void on_proof(int r, const struct msg *m, void *arg)
{
	struct witness *w = arg;

	if (r == -ECONNRESET) {
		w->state = IDLE; /* witness_linked() goes on */
		return;
	}
	w->state = POSTING;
	if (r == 0)
		r = post(w, m);
	if (r < 0)
		log_failed(w, r == -EREMOTEIO ? msg_str(m, "reason") : strerror(-r));
}

/* Which log next; how long until one may be tried again, or -1. */
static bool choose(struct witness *w, int64_t *ret_wait_ns)
{
	int64_t now = clock_mono_ns();

	*ret_wait_ns = -1;
	for (size_t i = 0; i < w->nlogs; i++) {
		size_t at = (w->turn + i) % w->nlogs;
		const struct known *k = &w->logs[at];

		if (w->x->logs[at].checkpoint == 0 || w->x->logs[at].checkpoint == k->cosigned)
			continue;
		if (k->not_before_ns > now) {
			if (*ret_wait_ns < 0 || k->not_before_ns - now < *ret_wait_ns)
				*ret_wait_ns = k->not_before_ns - now;
			continue;
		}
		w->log = at;
		w->turn = at + 1;
		return true;
	}
	return false;
}

static void go_on(struct loop *l, void *arg)
{
	struct witness *w = arg;
	const struct known *k;
	int64_t wait_ns;
	uint64_t old;
	int r;

	(void)l;
	if (w->state == WAITING)
		w->state = IDLE;
	if (w->state != IDLE || !pull_up(w->x->pull))
		return;
	if (!choose(w, &wait_ns)) {
		loop_timer_set(w->timer, wait_ns);
		return;
	}
	k = &w->logs[w->log];
	w->size = w->x->logs[w->log].checkpoint;
	old = k->old <= w->size ? k->old : 0;
	w->logs[w->log].old = old;
	w->state = ASKING;
	r = pull_ask(w->x->pull, "witness.ask",
	    json_pack("{s:s, s:I, s:I}", "log", name(w), "old", (json_int_t)old, "size",
	        (json_int_t)w->size),
	    on_proof, w);
	if (r < 0)
		log_failed(w, strerror(-r));
}

void witness_wake(struct witness *w)
{
	if (w->nlogs < w->x->nlogs) {
		struct known *more = reallocarray(w->logs, w->x->nlogs, sizeof *more);

		if (!more)
			return;
		memset(more + w->nlogs, 0, (w->x->nlogs - w->nlogs) * sizeof *more);
		w->logs = more;
		w->nlogs = w->x->nlogs;
	}
	if (w->state == IDLE)
		loop_timer_set(w->timer, 0);
}

void witness_linked(struct witness *w)
{
	pull_forget(w->x->pull, w);
	http_cancel(steal_ptr(&w->call));
	/* a cosignature may have been lost with the old link */
	for (size_t i = 0; i < w->nlogs; i++)
		w->logs[i].cosigned = 0;
	if (w->state != WAITING)
		next(w);
}

int witness_new(
    struct exporter *x, const struct export_witness *config, struct witness **ret, struct err *e)
{
	struct witness *w = calloc(1, sizeof *w);

	if (!w)
		return err_set(e, -ENOMEM, "no memory for a witness");
	w->x = x;
	w->config = *config;
	w->since_s = clock_wall_ns() / NSEC_PER_SEC;
	buf_init(&w->text, NOTE_MAX);
	w->timer = loop_timer(x->loop, -1, go_on, w);
	if (!w->timer) {
		witness_free(w);
		return err_set(e, -ENOMEM, "no memory for a witness");
	}
	*ret = w;
	witness_wake(w);
	return 0;
}

void witness_free(struct witness *w)
{
	if (!w)
		return;
	pull_forget(w->x->pull, w);
	http_cancel(w->call);
	loop_remove(w->timer);
	buf_done(&w->text);
	free(w->logs);
	free(w);
}
