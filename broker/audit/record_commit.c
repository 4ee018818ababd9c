#include "broker/audit/record_store_internal.h"

#include <errno.h>
#include <string.h>

#include "broker/audit/private.h"
#include "broker/store/store.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/loop.h"

#define RETRY_NS      NSEC_PER_SEC /* until changes without a record are tried again */
#define DENIALS_SHARE 8            /* what denials may take beyond a tenant's quota: 1/8 of it */

uint64_t record_quota(const struct record_store *s, const struct waiting *w)
{
	if (w->log->number == LOG_HOST_NUMBER || w->kind == RECORD_END)
		return 0;
	return w->kind == RECORD_DENIAL ? s->o.tenant_bytes + s->o.tenant_bytes / DENIALS_SHARE
	                                : s->o.tenant_bytes;
}

struct record_share *record_share_of(struct record_store *s, const struct waiting *w)
{
	if (w->stranger)
		return &s->strangers;
	return w->log->number == LOG_HOST_NUMBER ? NULL : &w->log->share;
}

void record_finish(struct record_store *s, struct waiting *w, int r)
{
	w->next = NULL;
	w->r = r;
	*s->finished_end = w;
	s->finished_end = &w->next;
}

static void take_first(struct record_store *s, struct record_log_state *l, struct waiting ***end)
{
	struct waiting *w = l->first;

	l->first = w->next;
	if (!l->first)
		l->last = &l->first;
	l->nwaiting--;
	s->nwaiting--;
	w->next = NULL;
	**end = w;
	*end = &w->next;
}

/* At most max records, of each log one in turn. */
struct waiting *record_take(struct record_store *s, size_t max)
{
	struct record_log_state *l = s->turn ? s->turn->next : s->logs;
	struct waiting *batch = NULL, **end = &batch;

	if (s->nwaiting < max)
		max = s->nwaiting;
	while (max > 0) {
		if (!l)
			l = s->logs;
		if (l->first) {
			take_first(s, l, &end);
			s->turn = l;
			max--;
		}
		l = l->next;
	}
	return batch;
}

/* After a commit whose fate is not known: what the disk says now. */
static int recover(struct record_store *s, struct err *e)
{
	int r = 0;

	for (struct record_log_state *l = s->logs; l && r == 0; l = l->next)
		if (l->suspect)
			r = record_log_load(s->store, l, e);
	return r;
}

static int write_one(struct record_store *s, struct waiting *w, struct err *e)
{
	struct record_log_state *l = w->log;
	uint64_t before = l->touched ? l->work.bytes : l->head.bytes;
	struct record_share *share = record_share_of(s, w);
	int r = record_log_put(
	    s->store, s->values, w, s->time_ns, record_quota(s, w), &s->scratch, &s->spill, e);

	if (r == 0 && share)
		record_share_spend(share, &s->o, l->work.bytes - before);
	return r;
}

static int write_logs(struct record_store *s, struct waiting *batch, bool vital, struct err *e)
{
	int r = 0;

	for (struct waiting *w = batch; w && r == 0; w = w->next) {
		w->r = vital && w->kind == RECORD_PLAIN ? -ENOSPC : 0;
		if (w->r == 0)
			r = write_one(s, w, e);
		if (w->r == 0 && r == 0 && strcmp(w->class_name, CHAIN_CLOCK_CLASS) == 0)
			s->time_ns = w->log->work.time_ns;
	}
	for (struct record_log_state *l = s->logs; l && r == 0; l = l->next)
		if (l->touched)
			r = record_log_put_head(s->store, l, e);
	return r;
}

void record_newest_time(struct record_store *s)
{
	s->time_ns = 0;
	for (const struct record_log_state *l = s->logs; l; l = l->next)
		if (l->head.time_ns > s->time_ns)
			s->time_ns = l->head.time_ns;
}

/* One transaction. vital: only what is written when there is no room. */
static int write_batch(struct record_store *s, struct waiting *batch, bool vital, struct err *e)
{
	int r;

	if ((r = recover(s, e)) < 0 || (r = store_begin(s->store, e)) < 0)
		return r;
	if ((r = write_logs(s, batch, vital, e)) < 0)
		store_abort(s->store);
	else
		r = store_commit(s->store, e);
	for (struct record_log_state *l = s->logs; l; l = l->next) {
		if (l->touched && r == 0) {
			l->head = l->work;
			l->known = true;
		} else if (l->touched) {
			l->suspect = true;
		}
		l->touched = false;
	}
	if (r < 0)
		private_reset(s->values);
	record_newest_time(s);
	return r;
}

static int write_somehow(struct record_store *s, struct waiting *batch, struct err *e)
{
	bool taken = store_reserve_taken(s->store) && store_reserve_give(s->store) < 0;
	int r = write_batch(s, batch, taken, e);

	if (r != -ENOSPC || taken)
		return r;
	log_error("no room for the log: only ends and denials are written, from the reserve: %s",
	    err_text(e));
	if (store_reserve_take(s->store, e) < 0)
		return r;
	return write_batch(s, batch, true, e);
}

static void tell_lost(struct record_store *s, struct record_log_state *l)
{
	if (l->lost > 0 &&
	    record_append(&s->base, "log.lost", l->name, NULL,
	        json_pack("{s:I}", "records", (json_int_t)l->lost), false, NULL, NULL) == 0)
		l->lost = 0;
}

/* The record is there and the action is not: the log has to say so. */
static void tell_late(struct record_store *s, const struct waiting *w)
{
	(void)record_append(&s->base, "log.late", w->log->name, NULL,
	    json_pack("{s:I, s:s}", "record", (json_int_t)w->seq, "refused", w->class_name), false,
	    NULL, NULL);
}

int record_commit(struct record_store *s, size_t max)
{
	struct waiting *batch = record_take(s, max), *w;
	struct err e = ERR_INIT;
	bool any = false;
	int64_t now;
	int r;

	if (!batch && !store_waiting(s->store))
		return 0;
	r = write_somehow(s, batch, &e);
	now = clock_mono_ns();
	while ((w = batch)) {
		int one = r < 0 ? r : w->r;

		batch = w->next;
		if (one == 0 && w->critical && now - w->queued_ns > s->o.ack_ns) {
			tell_late(s, w);
			one = -ETIMEDOUT;
		} else if (one < 0) {
			w->log->lost++;
		}
		any = any || one == 0;
		record_finish(s, w, one);
	}
	for (struct record_log_state *l = s->logs; l && r == 0 && any; l = l->next)
		tell_lost(s, l);
	if (r < 0) {
		log_error("the log cannot be written, so nothing that needs it is done: %s",
		    err_text(&e));
		loop_timer_set(s->retry, RETRY_NS);
	}
	return r;
}

void record_deliver(struct record_store *s)
{
	if (s->delivering)
		return;
	s->delivering = true;
	while (s->finished) {
		struct waiting *w = s->finished;

		s->finished = w->next;
		if (!s->finished)
			s->finished_end = &s->finished;
		if (w->done)
			w->done(w->r, w->r < 0 ? 0 : w->seq, w->arg);
		waiting_free(w);
	}
	s->delivering = false;
}

/* State that was changed goes with the records of its turn, never before them: then all of them are
 * taken. */
size_t record_group(const struct record_store *s)
{
	return store_waiting(s->store) ? RECORD_QUEUE_MAX : RECORD_GROUP;
}

/* Refuses what has waited too long without having been written. */
void record_expire(struct record_store *s)
{
	int64_t now = clock_mono_ns(), next = 0;

	s->ack_armed = false;
	for (struct record_log_state *l = s->logs; l; l = l->next) {
		struct waiting **at = &l->first, *w;

		while ((w = *at)) {
			int64_t left = w->queued_ns + s->o.ack_ns - now;

			if (!w->critical || left > 0) {
				if (w->critical && (next == 0 || left < next))
					next = left;
				at = &w->next;
				continue;
			}
			*at = w->next;
			if (!*at)
				l->last = at;
			l->nwaiting--;
			s->nwaiting--;
			l->lost++;
			record_finish(s, w, -ETIMEDOUT);
		}
	}
	if (next > 0) {
		s->ack_armed = true;
		loop_timer_set(s->ack, next);
	}
	record_deliver(s);
}
