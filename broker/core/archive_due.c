#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "broker/audit/envelope.h"
#include "broker/audit/record.h"
#include "broker/core/archive_internal.h"
#include "broker/core/export_config.h"
#include "broker/core/export_quorum.h"
#include "broker/store/live.h"
#include "broker/store/store.h"
#include "creds/note.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/reader.h"
#include "lib/util.h"

#define TILE      256
#define NOTES_MAX 1024 /* checkpoints that are looked through for the quorum's */

bool archive_full(struct archive *a)
{
	struct store_usage u;
	uint64_t live;

	if (store_usage(a->env.store, &u) < 0 || store_live(a->env.store, &live) < 0)
		return false;
	return u.reserve_taken || live / ARCHIVE_FULL_PERCENT * 100 > u.map_size;
}

/* Whether record seq is older than age_s. */
static bool older(struct archive *a, const struct log_info *l, uint64_t seq, int64_t age_s)
{
	char then[32];
	struct envelope_reader reader;
	struct envelope v;
	cleanup_buf struct buf b;

	buf_init(&b, RECORD_MAX);
	clock_format(then, sizeof then, a->env.log->ops->now_ns(a->env.log) - age_s * NSEC_PER_SEC);
	return envelope_init(&reader, l->name) == 0 &&
	       logs_get(a->env.store, l->number, seq, &b) == 0 &&
	       envelope_read(&reader, seq, b.data, b.len, &v, NULL) == 0 &&
	       strcmp(v.time, then) < 0;
}

/* ---- witnesses ---- */

/* The size of the newest checkpoint that is more than `least` and at most `most` and, if so asked
 * and configured, witnessed. 0: none. What is witnessed at all is known without a look at the notes
 * behind it, which are many while witnesses are away. */
static uint64_t newest(struct archive *a, const struct export_config *c, const struct log_info *l,
    uint64_t least, uint64_t most, bool witnessed)
{
	bool ask = witnessed && c->quorum > 0;
	cleanup_buf struct buf b;
	uint64_t size;

	buf_init(&b, NOTE_MAX);
	if (ask && (size = a->env.witnessed(a->env.arg, l->name)) <= most)
		return size > least ? size : 0;
	for (size_t i = 0; i < NOTES_MAX && most > least; i++) {
		buf_reset(&b);
		if (logs_checkpoint_latest(a->env.store, l->number, most, &size, &b) < 0 ||
		    size <= least)
			return 0;
		if (!ask || export_quorum(c, b.data, b.len))
			return size;
		most = size - 1;
	}
	return 0;
}

/* ---- what is due ---- */

static int on_first(uint64_t size, const void *note, size_t len, void *arg)
{
	uint64_t *ret = arg;

	(void)note;
	(void)len;
	*ret = size;
	return 1;
}

/* Not much more than a segment's bytes at once, as far as checkpoints allow. */
static uint64_t bounded(struct archive *a, const struct export_config *c, const struct log_info *l,
    const struct log_edge *g, uint64_t to, uint64_t bytes, bool full)
{
	uint64_t n = to - g->to, each = bytes / n ? bytes / n : 1, most = c->archive_bytes / each,
	         at;

	if (bytes <= 2 * c->archive_bytes || most >= n)
		return to;
	if (most == 0)
		most = 1;
	if ((at = newest(a, c, l, g->to + most / 2, g->to + most, !full)) > 0)
		return at;
	/* else the first one behind */
	if ((full || c->quorum == 0) &&
	    logs_checkpoint_walk(a->env.store, l->number, g->to + most, 1, on_first, &at) >= 0 &&
	    at >= g->to + most)
		return at;
	return to;
}

bool archive_due(struct archive *a, const struct export_config *c, const struct log_info *l,
    struct cut *ret, char why[ARCHIVE_WHY_MAX])
{
	struct log_head head;
	struct log_edge g;
	uint64_t to, bytes;
	bool full;

	if (logs_head(a->env.store, l->number, &head, NULL) < 0 ||
	    log_edge_get(a->env.store, l->number, &g, NULL) < 0 || head.seq <= g.to + 1)
		return false;
	bytes = head.bytes > g.bytes ? head.bytes - g.bytes : 0;
	if (bytes < c->archive_bytes && !older(a, l, g.to + 1, c->archive_age_s))
		return false;
	/* more than the record that tells of the segment before */
	full = archive_full(a);
	if ((to = newest(a, c, l, g.to + 1, head.seq, !full)) == 0) {
		if (!full && c->quorum > 0 && newest(a, c, l, g.to + 1, head.seq, false) > 0) {
			to = a->env.witnessed(a->env.arg, l->name);
			(void)snprintf(why, ARCHIVE_WHY_MAX,
			    "the quorum of witnesses has not signed more than %llu",
			    (unsigned long long)(to > 0 ? to : g.to));
		}
		return false;
	}
	*ret = (struct cut){.number = l->number, .from = g.to + 1};
	ret->to = bounded(a, c, l, &g, to, bytes, full);
	(void)str_copy(ret->log, sizeof ret->log, l->name);
	return true;
}

/* ---- what may go ---- */

/* Sink NUL log -> u64 record, u64 checkpoint. */
static uint64_t taken(struct archive *a, const char *sink, const char *log)
{
	uint64_t record = 0, checkpoint = 0;
	cleanup_buf struct buf key, value;
	struct reader r;

	buf_init(&key, STORE_KEY_MAX);
	buf_init(&value, 64);
	buf_put(&key, sink, strlen(sink) + 1);
	buf_put(&key, log, strlen(log));
	if (buf_status(&key) < 0 ||
	    store_get(a->env.store, STORE_CURSORS, key.data, key.len, &value) < 0)
		return 0;
	reader_init(&r, value.data, value.len);
	if (reader_u64(&r, &record) < 0 || reader_u64(&r, &checkpoint) < 0)
		return 0;
	return record < checkpoint ? record : checkpoint;
}

static void lower(
    uint64_t *most, uint64_t to, char why[ARCHIVE_WHY_MAX], const char *kind, const char *who)
{
	if (to - to % TILE >= *most - *most % TILE)
		return;
	*most = to;
	(void)snprintf(why, ARCHIVE_WHY_MAX, "%s%s has not taken more than %llu", kind, who,
	    (unsigned long long)to);
}

/* What `keep` lets go, of the next step. */
static uint64_t kept(struct archive *a, const struct export_config *c, const struct log_info *l,
    const struct log_edge *g)
{
	uint64_t most = g->to;

	if (c->archive_keep_s == 0)
		return most;
	if (most > g->seq + PRUNE_STEP)
		most = g->seq + PRUNE_STEP;
	for (most -= most % TILE; most > g->seq; most -= TILE)
		if (older(a, l, most, c->archive_keep_s))
			return most;
	return g->seq;
}

uint64_t archive_most(struct archive *a, const struct export_config *c, const struct log_info *l,
    const struct log_edge *g, char why[ARCHIVE_WHY_MAX])
{
	uint64_t most = kept(a, c, l, g);

	*why = '\0';
	for (size_t i = 0; i < c->nsinks && most >= g->seq + TILE; i++)
		if (export_sink_wants(&c->sinks[i], l->name))
			lower(&most, taken(a, c->sinks[i].name, l->name), why, "sink ",
			    c->sinks[i].name);
	/* any later checkpoint that the quorum signed covers it as well */
	if (c->quorum > 0 && most >= g->seq + TILE)
		lower(
		    &most, newest(a, c, l, 0, INT64_MAX, true), why, "the quorum of witnesses", "");
	return most;
}
