#include "broker/audit/record_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/body.h"
#include "broker/audit/private.h"
#include "broker/audit/record_migrate.h"
#include "broker/audit/record_store_internal.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/loop.h"

#define TELL_NS     NSEC_PER_SEC /* from the first record that was left out to the one that says so */
#define TELL_MAX_NS (60 * NSEC_PER_SEC) /* likewise while there is no room */

void record_options_default(struct record_options *o)
{
	*o = (struct record_options){.tolerance_s = RECORD_TOLERANCE_S,
	    .ack_ns = RECORD_ACK_NS,
	    .rate = RECORD_RATE,
	    .burst = RECORD_BURST,
	    .critical_rate = RECORD_CRITICAL_RATE,
	    .critical_burst = RECORD_CRITICAL_BURST,
	    .byte_rate = RECORD_BYTE_RATE,
	    .byte_burst = RECORD_BYTE_BURST,
	    .tenant_bytes = RECORD_TENANT_BYTES};
}

/* ---- logs ---- */

static struct record_log_state *add_log(struct record_store *s, uint32_t number, const char *name)
{
	struct record_log_state **at = &s->logs, *l;

	while (*at && (*at)->number < number)
		at = &(*at)->next;
	if (!(l = calloc(1, sizeof *l)))
		return NULL;
	l->number = number;
	(void)str_copy(l->name, sizeof l->name, name);
	l->last = &l->first;
	l->next = *at;
	*at = l;
	if (number >= s->next_number)
		s->next_number = number + 1;
	return l;
}

/* The tenant's, made on first use. */
static int log_of(struct record_store *s, const char *tenant, struct record_log_state **ret)
{
	struct record_log_state *l = s->logs;
	int r;

	if (!tenant || !*tenant)
		tenant = LOG_HOST;
	while (l && strcmp(l->name, tenant) != 0)
		l = l->next;
	if (!l) {
		if (s->next_number >= LOGS_MAX)
			return -ENOSPC;
		if (!name_valid(tenant, strlen(tenant)))
			return -EINVAL;
		if (!(l = add_log(s, s->next_number, tenant)))
			return -ENOMEM;
		if ((r = record_log_load(s->store, l, NULL)) < 0)
			l->suspect = true;
	}
	*ret = l;
	return 0;
}

/* ---- what waits ---- */

static void queue(struct record_store *s, struct waiting *w)
{
	struct record_log_state *l = w->log;

	w->next = NULL;
	*l->last = w;
	l->last = &w->next;
	l->nwaiting++;
	s->nwaiting++;
	if (w->critical && !s->ack_armed) {
		s->ack_armed = true;
		loop_timer_set(s->ack, s->o.ack_ns);
	}
	loop_defer_arm(s->commit);
	if (s->nwaiting >= RECORD_GROUP)
		loop_defer_soon(s->commit);
}

/* Its record is written soon, or with the next. */
static void leave_out(
    struct record_store *s, struct record_log_state *l, const char *class_name, const char *why)
{
	coalesced_add(&l->coalesced, class_name);
	l->coalesced_why = why;
	if (!s->tell_armed) {
		s->tell_armed = true;
		loop_timer_set(s->tell, TELL_NS);
	}
}

/* What somebody provokes whom nobody has let in: in the host's log, or a refusal in a tenant's. */
static bool by_stranger(const struct record_class *c, const struct record_log_state *l)
{
	return c->stranger && (l->number == LOG_HOST_NUMBER || c->kind == RECORD_DENIAL);
}

static bool has_room(struct record_store *s, const struct waiting *w)
{
	struct record_share *share = record_share_of(s, w);

	if (w->log->number != LOG_HOST_NUMBER && w->log->nwaiting >= RECORD_QUEUE_LOG)
		return false;
	return !share || record_share_take(share, &s->o, w->critical, w->queued_ns);
}

/* 0: queue it; 1: it was left out and counted; else why it is refused. */
static int admit(struct record_store *s, const struct waiting *w)
{
	struct record_log_state *l = w->log;
	uint64_t quota = record_quota(s, w);

	if (s->nwaiting >= RECORD_QUEUE_MAX)
		return -ENOBUFS;
	if (w->kind == RECORD_END)
		return 0;
	if (quota > 0 && l->head.bytes >= quota) {
		if (w->critical || w->done)
			return -EDQUOT;
		leave_out(s, l, w->class_name, "quota");
		return 1;
	}
	if (has_room(s, w))
		return 0;
	/* what is refused has not happened, but for a refusal */
	if (!(w->critical || w->done) || w->kind == RECORD_DENIAL)
		leave_out(s, l, w->class_name, "rate");
	return w->critical || w->done ? -EBUSY : 1;
}

static int log_append(struct record_log *log, const char *class_name, const char *tenant,
    json_t *subject, json_t *body, bool critical, record_fn done, void *arg)
{
	struct record_store *s = record_self(log);
	const struct record_class *c = record_class_find(class_name);
	struct waiting *w = calloc(1, sizeof *w);
	int r;

	if (!w) {
		json_decref(subject);
		json_decref(body);
		return -ENOMEM;
	}
	*w = (struct waiting){.kind = c->kind,
	    .critical = critical,
	    .subject = subject,
	    .body = body,
	    .done = done,
	    .arg = arg,
	    .queued_ns = clock_mono_ns()};
	r = str_copy(w->class_name, sizeof w->class_name, class_name) ? log_of(s, tenant, &w->log)
	                                                              : -EINVAL;
	if (r == 0) {
		w->stranger = by_stranger(c, w->log);
		r = admit(s, w);
	}
	if (r != 0) {
		waiting_free(w);
		return r;
	}
	queue(s, w);
	return 0;
}

/* ---- the writer's turns ---- */

static void on_commit(struct loop *l, void *arg)
{
	struct record_store *s = arg;

	(void)l;
	(void)record_commit(s, record_group(s));
	if (s->nwaiting > 0)
		loop_defer_arm(s->commit);
	record_deliver(s);
}

static int log_flush(struct record_log *log)
{
	struct record_store *s = record_self(log);
	size_t left = s->nwaiting;
	int r = 0;

	/* what the callbacks append belongs to the next time */
	do {
		size_t n = left < record_group(s) ? left : record_group(s);

		r = record_commit(s, n);
		left -= n;
	} while (left > 0);
	record_deliver(s);
	return r;
}

static void on_dirty(void *arg)
{
	struct record_store *s = arg;

	loop_defer_arm(s->commit);
}

static void on_ack(struct loop *l, void *arg)
{
	(void)l;
	record_expire(arg);
}

static bool tell_coalesced(struct record_store *s, struct record_log_state *l, int64_t now)
{
	bool full = l->coalesced_why && strcmp(l->coalesced_why, "quota") == 0;
	json_t *body;

	if (l->coalesced.total == 0)
		return true;
	if (full && l->coalesced_ns > 0 && now - l->coalesced_ns < TELL_MAX_NS)
		return false;
	body = coalesced_body(&l->coalesced, l->coalesced_why);
	if (!body ||
	    log_append(&s->base, "log.coalesced", l->name, NULL, body, false, NULL, NULL) < 0)
		return false;
	memset(&l->coalesced, 0, sizeof l->coalesced);
	l->coalesced_ns = now;
	return true;
}

static void on_tell(struct loop *loop, void *arg)
{
	struct record_store *s = arg;
	bool all = true;

	(void)loop;
	for (struct record_log_state *l = s->logs; l; l = l->next)
		all = tell_coalesced(s, l, clock_mono_ns()) && all;
	s->tell_armed = !all;
	if (!all)
		loop_timer_set(s->tell, TELL_NS);
}

/* ---- the clock ---- */

static int64_t log_now(struct record_log *l)
{
	int64_t now = clock_wall_ns();

	return now > record_self(l)->time_ns ? now : record_self(l)->time_ns;
}

static int log_clock_ok(struct record_log *l, struct err *e)
{
	int64_t behind = record_self(l)->time_ns - clock_wall_ns();

	if (behind <= record_self(l)->o.tolerance_s * NSEC_PER_SEC)
		return 0;
	return err_set(e, -ETIME, "the clock is %lld s behind the newest record",
	    (long long)(behind / NSEC_PER_SEC));
}

/* In each log whose time has to go back. */
static int log_clock_accept(struct record_log *log)
{
	struct record_store *s = record_self(log);
	int64_t wall = clock_wall_ns();
	char newest[32];
	int r = 0;

	if (wall < 0) /* a head holds no such time */
		return -ERANGE;
	clock_format(newest, sizeof newest, s->time_ns);
	for (struct record_log_state *l = s->logs; l && r == 0; l = l->next)
		if (l->number == LOG_HOST_NUMBER || l->head.time_ns > wall || l->first)
			r = log_append(log, CHAIN_CLOCK_CLASS, l->name, NULL,
			    json_pack("{s:s}", "newest", newest), true, NULL, NULL);
	return r < 0 ? r : log_flush(log);
}

/* ---- the rest ---- */

static uint64_t log_size(struct record_log *log)
{
	uint64_t n = 0;

	for (const struct record_log_state *l = record_self(log)->logs; l; l = l->next)
		n += l->head.seq;
	return n;
}

static void store_free(struct record_store *s)
{
	while (s->logs) {
		struct record_log_state *l = s->logs;

		s->logs = l->next;
		record_log_free(l);
	}
	loop_remove(s->commit);
	loop_remove(s->retry);
	loop_remove(s->ack);
	loop_remove(s->tell);
	private_free(s->values);
	buf_done(&s->scratch);
	buf_done(&s->spill);
	free(s);
}

static void log_free(struct record_log *log)
{
	struct record_store *s = record_self(log);
	struct waiting *w;

	for (struct record_log_state *l = s->logs; l; l = l->next)
		(void)tell_coalesced(s, l, INT64_MAX);
	(void)log_flush(log);
	(void)log_flush(log); /* what the callbacks said last */
	w = record_take(s, SIZE_MAX);
	while (w) {
		struct waiting *next = w->next;

		record_finish(s, w, -ECANCELED);
		w = next;
	}
	record_deliver(s);
	store_on_later(s->store, NULL, NULL);
	store_free(s);
}

static const struct record_ops ops = {
    .append = log_append,
    .flush = log_flush,
    .clock_ok = log_clock_ok,
    .clock_accept = log_clock_accept,
    .now_ns = log_now,
    .size = log_size,
    .free = log_free,
};

static int on_log(const struct log_info *i, void *arg)
{
	struct record_log_state *l = add_log(arg, i->number, i->name);

	if (l)
		l->known = true;
	return l ? 0 : -ENOMEM;
}

static int load(struct record_store *s, struct err *e)
{
	int r;

	if ((r = record_migrate(s->store, e)) < 0)
		return r;
	if ((r = logs_list(s->store, on_log, s)) < 0)
		return err_set(e, r, "the list of logs cannot be read");
	if ((!s->logs || s->logs->number != LOG_HOST_NUMBER) &&
	    !add_log(s, LOG_HOST_NUMBER, LOG_HOST))
		return err_set(e, -ENOMEM, "no memory for the log");
	for (struct record_log_state *l = s->logs; l && r == 0; l = l->next)
		r = record_log_load(s->store, l, e);
	record_newest_time(s);
	return r;
}

int record_store_open(struct store *store, struct loop *l, const struct record_options *o,
    struct record_log **ret, struct err *e)
{
	struct record_store *s = calloc(1, sizeof *s);
	int r;

	if (!s)
		return err_set(e, -ENOMEM, "no memory for the log");
	s->base.ops = &ops;
	s->store = store;
	s->o = *o;
	s->finished_end = &s->finished;
	buf_init(&s->scratch, 2 * RECORD_MAX);
	buf_init(&s->spill, BODY_MAX);
	s->values = private_new(store);
	s->commit = loop_defer(l, on_commit, s);
	s->retry = loop_timer(l, -1, on_commit, s);
	s->ack = loop_timer(l, -1, on_ack, s);
	s->tell = loop_timer(l, -1, on_tell, s);
	r = s->values && s->commit && s->retry && s->ack && s->tell
	        ? load(s, e)
	        : err_set(e, -ENOMEM, "no memory for the log");
	if (r < 0) {
		store_free(s);
		return r;
	}
	store_on_later(store, on_dirty, s);
	*ret = &s->base;
	return 0;
}

int record_store_new(struct store *store, struct loop *l, int64_t tolerance_s,
    struct record_log **ret, struct err *e)
{
	struct record_options o;

	record_options_default(&o);
	o.tolerance_s = tolerance_s;
	return record_store_open(store, l, &o, ret, e);
}

int record_erase(struct record_log *log, const char *person, size_t *ret_n, struct err *e)
{
	struct record_store *s = record_self(log);
	int r = private_erase(s->store, person, ret_n, e);

	if (r < 0)
		return r;
	private_reset(s->values);
	return log_append(log, "log.erased", NULL, NULL,
	    json_pack("{s:I}", "values", (json_int_t)*ret_n), false, NULL, NULL);
}

void record_pruned(struct record_log *log, uint32_t number, uint64_t bytes)
{
	for (struct record_log_state *l = record_self(log)->logs; l; l = l->next)
		if (l->number == number)
			l->head.bytes -= bytes < l->head.bytes ? bytes : l->head.bytes;
}
