#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/core.h"
#include "broker/core/export_internal.h"
#include "broker/core/peer.h"
#include "broker/store/store.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/msg.h"
#include "lib/reader.h"

/*
 * How far each sink has come in each log: STORE_CURSORS, sink NUL log -> u64 record, u64
 * checkpoint. In memory at once, in the store a few times a second, without a record of it. So a
 * core that dies makes a sink get something twice, and nothing never.
 */

#define KEY_MAX (2 * NAME_MAX_LEN + 1)
_Static_assert(KEY_MAX <= STORE_KEY_MAX, "a cursor's key has to fit");

static size_t key_of(const char *sink, const char *log, char dst[KEY_MAX])
{
	size_t n = strlen(sink), m = strlen(log);

	memcpy(dst, sink, n);
	dst[n] = '\0';
	memcpy(dst + n + 1, log, m);
	return n + 1 + m;
}

static int load(struct exporter *x, struct export_cursor *k)
{
	cleanup_buf struct buf b;
	char key[KEY_MAX];
	struct reader r;
	uint64_t seq, checkpoint;
	int rc;

	buf_init(&b, 16);
	rc = store_get(x->core->store, STORE_CURSORS, key, key_of(k->sink, k->log->name, key), &b);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	reader_init(&r, b.data, b.len);
	if (reader_u64(&r, &seq) < 0 || reader_u64(&r, &checkpoint) < 0 || reader_end(&r) < 0)
		return -EUCLEAN;
	/* a log that was set back ends before what the sink has of its former end */
	k->seq = seq < k->log->size ? seq : k->log->size;
	k->checkpoint = checkpoint < k->log->sealed ? checkpoint : k->log->sealed;
	return 0;
}

static void keep(struct exporter *x, struct export_cursor *k)
{
	cleanup_buf struct buf b;
	char key[KEY_MAX];

	buf_init(&b, 16);
	buf_put_u64(&b, k->seq);
	buf_put_u64(&b, k->checkpoint);
	if (buf_status(&b) == 0 && store_later_key(x->core->store, STORE_CURSORS, key,
	                               key_of(k->sink, k->log->name, key), b.data, b.len) == 0)
		k->dirty = false;
}

void export_cursors_keep(struct exporter *x)
{
	for (size_t i = 0; i < x->ncursors; i++)
		if (x->cursor[i]->dirty)
			keep(x, x->cursor[i]);
}

static void move(struct exporter *x, struct export_cursor *k, uint64_t seq, uint64_t checkpoint)
{
	if (seq <= k->seq && checkpoint <= k->checkpoint)
		return;
	k->seq = seq > k->seq ? seq : k->seq;
	k->checkpoint = checkpoint > k->checkpoint ? checkpoint : k->checkpoint;
	k->dirty = true;
	export_soon(x);
}

struct export_cursor *export_cursor_get(struct exporter *x, const char *sink, struct export_log *l)
{
	struct export_cursor *k;

	for (size_t i = 0; i < x->ncursors; i++)
		if (x->cursor[i]->log == l && strcmp(x->cursor[i]->sink, sink) == 0)
			return x->cursor[i];
	if (x->ncursors == x->max_cursors) {
		size_t max = x->max_cursors ? 2 * x->max_cursors : 16;
		struct export_cursor **grown = reallocarray(x->cursor, max, sizeof *grown);

		if (!grown)
			return NULL;
		x->cursor = grown;
		x->max_cursors = max;
	}
	if (!(k = calloc(1, sizeof *k)))
		return NULL;
	(void)str_copy(k->sink, sizeof k->sink, sink);
	k->log = l;
	if (load(x, k) < 0) {
		free(k);
		return NULL;
	}
	x->cursor[x->ncursors++] = k;
	return k;
}

/* ---- what is not there any more ---- */

static int on_first(uint64_t seq, const void *data, size_t len, void *arg)
{
	uint64_t *first = arg;

	(void)data;
	(void)len;
	*first = seq;
	return 1;
}

uint64_t export_first(struct exporter *x, const struct export_log *l)
{
	uint64_t first = 0;

	if (logs_walk(x->core->store, l->number, 1, 1, on_first, &first) < 0 || first == 0)
		return 1;
	return first;
}

/* A sink that is new, or was away for too long, begins with what is left; that is put on record. */
static void pass_over(struct exporter *x, struct export_cursor *k)
{
	uint64_t first = export_first(x, k->log);

	if (k->seq + 1 >= first)
		return;
	(void)note(x->core, "export.skipped", NULL, NULL,
	    json_pack("{s:s, s:s, s:I, s:I, s:s}", "sink", k->sink, "log", k->log->name, "from",
	        (json_int_t)k->seq + 1, "to", (json_int_t)first - 1, "reason",
	        "these records are in the archive"));
	x->skipped += first - 1 - k->seq;
	move(x, k, first - 1, k->checkpoint);
}

/* ---- messages ---- */

static int answer(struct peer *p, uint64_t question, const struct export_cursor *k)
{
	if (question != 0)
		(void)peer_send(p, "export.at", question,
		    json_pack("{s:s, s:s, s:I, s:I}", "sink", k->sink, "log", k->log->name, "seq",
		        (json_int_t)k->seq, "checkpoint", (json_int_t)k->checkpoint));
	return 0;
}

/* The cursor that a message is about, if there is such a sink and it is to have that log. */
static struct export_cursor *cursor_of(struct peer *p, const struct msg *m)
{
	struct exporter *x = p->core->exporting;
	const struct export_sink *s = export_config_sink(export_config_of(x), msg_str(m, "sink"));
	struct export_log *l;

	if (!s || !export_sink_wants(s, msg_str(m, "log")))
		return NULL;
	l = export_log_find(x, msg_str(m, "log"));
	return l ? export_cursor_get(x, s->name, l) : NULL;
}

int export_open(struct peer *p, struct msg *m, struct err *e)
{
	struct export_cursor *k = cursor_of(p, m);

	(void)e;
	if (!k)
		return export_refuse(p, m, "no sink of this name has such a log");
	pass_over(p->core->exporting, k);
	return answer(p, m->id, k);
}

/* Backwards is no fault: the exporter's own memory may be older than ours. */
int export_done(struct peer *p, struct msg *m, struct err *e)
{
	struct export_cursor *k = cursor_of(p, m);
	uint64_t seq = (uint64_t)msg_int(m, "seq", 0),
	         checkpoint = (uint64_t)msg_int(m, "checkpoint", 0);

	(void)e;
	if (!k)
		return export_refuse(p, m, "no sink of this name has such a log");
	if (seq > k->log->size || checkpoint > k->log->sealed)
		return export_refuse(p, m, "the log has not come so far");
	if (!k->skipping)
		move(p->core->exporting, k, seq, checkpoint);
	return answer(p, m->id, k);
}

/* ---- what a sink will never take ---- */

static void skipped(struct exporter *x, struct export_cursor *k, uint64_t seq)
{
	x->skipped++;
	move(x, k, seq, k->checkpoint);
}

static void on_recorded(int r, uint64_t seq, void *arg)
{
	struct export_ticket *t = arg, **at;
	struct exporter *x = t->x;
	struct peer *p;

	(void)seq;
	if (!x) {
		free(t);
		return;
	}
	for (at = &x->tickets; *at != t; at = &(*at)->next)
		;
	*at = t->next;
	t->cursor->skipping = false;
	if (r == 0)
		skipped(x, t->cursor, t->seq);
	p = peer_find(x->core, t->peer);
	if (p && r == 0)
		(void)answer(p, t->question, t->cursor);
	else if (p && t->question != 0)
		(void)peer_send(p, "export.refused", t->question,
		    json_pack("{s:s}", "reason", "the log cannot be written"));
	free(t);
}

/* A record that says that one was skipped: skipping it as well leaves no record, or a sink that
 * takes nothing would have its own refusals to skip for ever. Quote marks in values are escaped, so
 * nobody can write this into a record. */
static bool tells_of_a_skip(struct exporter *x, const struct export_log *l, uint64_t seq)
{
	static const char class_text[] = "\"class\":\"export.skipped\"";
	cleanup_buf struct buf b;

	buf_init(&b, STORE_VALUE_MAX);
	return logs_get(x->core->store, l->number, seq, &b) == 0 &&
	       memmem(b.data, b.len, class_text, sizeof class_text - 1) != NULL;
}

int export_skip(struct peer *p, struct msg *m, struct err *e)
{
	struct exporter *x = p->core->exporting;
	struct export_cursor *k = cursor_of(p, m);
	uint64_t seq = (uint64_t)msg_int(m, "seq", 0);
	char reason[EXPORT_REASON_MAX + 1];
	struct export_ticket *t;

	(void)e;
	if (!k)
		return export_refuse(p, m, "no sink of this name has such a log");
	if (k->skipping || seq != k->seq + 1 || seq > k->log->size)
		return export_refuse(p, m, "only the next record can be skipped");
	if (!rate_take(&x->skips, clock_mono_ns(), EXPORT_SKIPS_PER_S, EXPORT_SKIPS_BURST))
		return export_refuse(p, m, "too many records are skipped; later");
	str_escape(reason, sizeof reason, msg_str(m, "reason"), strlen(msg_str(m, "reason")));
	log_warn("sink %s will not take record %llu of log %s, which is skipped: %s", k->sink,
	    (unsigned long long)seq, k->log->name, reason);
	if (tells_of_a_skip(x, k->log, seq)) {
		skipped(x, k, seq);
		return answer(p, m->id, k);
	}
	if (!(t = malloc(sizeof *t)))
		return err_set(e, -ENOMEM, "no memory");
	*t = (struct export_ticket){x->tickets, x, k, seq, p->serial, m->id};
	if (note_then(x->core, "export.skipped", NULL, NULL,
	        json_pack("{s:s, s:s, s:I, s:s}", "sink", k->sink, "log", k->log->name, "seq",
	            (json_int_t)seq, "reason", reason),
	        on_recorded, t) < 0) {
		free(t);
		return export_refuse(p, m, "the log cannot be written");
	}
	x->tickets = t;
	k->skipping = true;
	return 0;
}
