#include "broker/core/seal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/seal_internal.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/msg.h"

#define QUESTION_NS (5 * NSEC_PER_SEC) /* for an answer */

/* ---- logs ---- */

struct seal_log *seal_find(struct seal *s, const char *name, bool add)
{
	struct seal_log *l;

	for (size_t i = 0; i < s->nlogs; i++)
		if (strcmp(s->logs[i].name, name) == 0)
			return &s->logs[i];
	if (!add)
		return NULL;
	if (s->nlogs == SEALER_LOGS_MAX) {
		if (!s->more)
			log_error("log %s is not sealed: the signer seals %d logs and no more",
			    name, SEALER_LOGS_MAX);
		s->more = true;
		return NULL;
	}
	l = &s->logs[s->nlogs++];
	memset(l, 0, sizeof *l);
	(void)str_copy(l->name, sizeof l->name, name);
	return l;
}

static int on_log(uint32_t number, const char *name, void *arg)
{
	struct seal *s = arg;
	struct seal_log *l = seal_find(s, name, true);

	if (!l)
		return 0;
	if (!l->stored && s->env.logs->last_checkpoint(s->env.logs_arg, number, &l->sealed) < 0)
		l->sealed = 0;
	l->number = number;
	l->stored = true;
	return 0;
}

static void look(struct seal *s, struct seal_log *l)
{
	if (l->stored && s->env.logs->size(s->env.logs_arg, l->number, &l->size) < 0)
		l->size = 0;
}

void seal_refresh(struct seal *s)
{
	(void)s->env.logs->list(s->env.logs_arg, on_log, s);
	for (size_t i = 0; i < s->nlogs; i++)
		look(s, &s->logs[i]);
}

bool seal_is_host(const struct seal_log *l)
{
	return strcmp(l->name, SEALER_HOST) == 0;
}

/* ---- questions and records ---- */

int seal_ask(struct seal *s, const char *type, json_t *body, struct seal_log *l)
{
	int r = s->env.ask(s->env.arg, type, body, &s->question);

	if (r < 0) {
		s->question = 0;
		return r;
	}
	s->asked = l;
	loop_timer_set(s->late, QUESTION_NS);
	return 0;
}

static void on_recorded(int r, uint64_t seq, void *arg)
{
	struct ticket *t = arg;
	struct seal *s = t->seal;

	(void)seq;
	if (s) {
		for (struct ticket **at = &s->tickets; *at; at = &(*at)->next)
			if (*at == t) {
				*at = t->next;
				break;
			}
		s->pending--;
		if (r < 0 && s->turn == TURN_NOTES) /* not durable: the old key has to stay */
			seal_epoch_failed(s, r, "the log cannot be written");
		if (s->pending == 0 && s->round_later)
			seal_round(s);
		seal_step(s);
	}
	free(t);
}

void seal_record(struct seal *s, const char *class_name, const char *tenant, json_t *body)
{
	struct ticket *t = malloc(sizeof *t);
	int r;

	if (!t) {
		json_decref(body);
		return;
	}
	*t = (struct ticket){s->tickets, s};
	s->tickets = t;
	s->pending++;
	r = s->env.record(s->env.arg, class_name, tenant, body, on_recorded, t);
	if (r < 0)
		on_recorded(r, 0, t);
}

/* ---- what is next ---- */

void seal_round(struct seal *s)
{
	s->round_later = false;
	if (!s->learned || (s->turn != TURN_NONE && s->turn != TURN_WANTED))
		return;
	seal_refresh(s);
	for (size_t i = 0; i < s->nlogs; i++) {
		struct seal_log *l = &s->logs[i];

		l->wanted = l->stored && !l->rolled && !l->owed && l->size > l->sealed &&
		            l->size >= l->last;
	}
	s->round = true;
	seal_step(s);
}

/* The tenants first; the host, whose log grew by what they recorded, once that is committed. */
static bool round_step(struct seal *s)
{
	struct seal_log *host;

	for (size_t i = 0; i < s->nlogs; i++)
		if (s->logs[i].wanted && !seal_is_host(&s->logs[i]) && seal_sign(s, &s->logs[i]))
			return true;
	if (s->pending > 0)
		return true;
	s->round = false;
	s->round_boot_ns = clock_boot_ns();
	host = seal_find(s, SEALER_HOST, false);
	if (!host || host->rolled || host->owed)
		return false;
	look(s, host);
	return host->size > host->sealed && host->size >= host->last && seal_sign(s, host);
}

void seal_finish_now(struct seal *s)
{
	void (*done)(void *arg) = s->finish;

	s->finish = NULL;
	if (done)
		done(s->finish_arg);
}

void seal_step(struct seal *s)
{
	if (s->in_step) /* a record that failed at once */
		return;
	s->in_step = true;
	while (s->learned && s->question == 0) {
		if (s->round ? round_step(s)
		             : seal_break_step(s) || s->turn == TURN_NONE || seal_epoch_step(s))
			break;
	}
	s->in_step = false;
	if (s->finish && !s->round && s->turn == TURN_NONE && s->question == 0 && s->pending == 0)
		seal_finish_now(s);
}

/* ---- answers ---- */

void seal_give_up(struct seal *s, const char *why)
{
	if (s->question != 0) /* what it has done about that is not known: it is asked anew */
		s->learned = false;
	s->question = 0;
	s->round = s->breaking = s->following = false;
	loop_timer_set(s->late, -1);
	for (size_t i = 0; i < s->nlogs; i++)
		s->logs[i].wanted = false;
	if (s->turn != TURN_NONE)
		seal_epoch_failed(s, -EPIPE, why);
	if (s->finish)
		seal_finish_now(s);
}

static void refused(struct seal *s, const char *why)
{
	if (s->following) {
		s->following = s->learned = false; /* the next tick begins anew */
		log_warn("the signer does not follow its own epochs: %s", why);
	} else if (s->asked && s->turn != TURN_NOTES) {
		s->asked->refused = s->breaking;
		seal_unsealed(s, s->asked, why);
	} else if (s->turn != TURN_NONE) {
		seal_epoch_failed(s, -EPERM, why);
	} else if (strcmp(s->why, why) != 0) {
		(void)str_copy(s->why, sizeof s->why, why);
		log_error("no log is sealed: %s", why);
		seal_record(s, "log.unsealed", NULL, json_pack("{s:s}", "reason", s->why));
	}
}

bool seal_answer(struct seal *s, const struct msg *m)
{
	if (s->question == 0 || m->id != s->question)
		return false;
	s->question = 0;
	loop_timer_set(s->late, -1);
	if (msg_is(m, "sign.refused"))
		refused(s, msg_str(m, "reason"));
	else if (msg_is(m, "seal.keys.tell"))
		seal_learn(s, m);
	else if (msg_is(m, "checkpoint.signed") && s->asked)
		seal_signed(s, s->asked, m);
	else if (msg_is(m, "break.signed") && s->asked)
		seal_break_signed(s, m);
	else if (msg_is(m, "epoch.noted") && s->asked)
		seal_epoch_noted(s, m);
	else if (msg_is(m, "epoch.turned"))
		seal_epoch_turned(s, m);
	seal_step(s);
	return true;
}

void seal_linked(struct seal *s)
{
	seal_give_up(s, "the signer was started again");
	s->linked = true;
	s->learned = false;
	(void)seal_ask(s, "seal.keys", NULL, NULL);
}

void seal_lost(struct seal *s)
{
	s->linked = s->learned = false;
	seal_give_up(s, "the signer is gone");
}

/* ---- the beginning and the end ---- */

struct seal *seal_new(const struct seal_env *env)
{
	struct seal *s = calloc(1, sizeof *s);
	cleanup_buf struct buf b;
	uint64_t turned;

	buf_init(&b, 64);
	if (!s)
		return NULL;
	s->env = *env;
	(void)str_copy(s->origin, sizeof s->origin, env->origin);
	s->env.origin = s->origin;
	if (seal_timers(s) < 0) {
		seal_free(s);
		return NULL;
	}
	s->born_boot_ns = s->round_boot_ns = s->idle_boot_ns = clock_boot_ns();
	s->turned_s = clock_wall_ns() / NSEC_PER_SEC;
	if (env->logs->recall(env->logs_arg, "seal.turned", &b) == 0 && buf_cstr(&b) &&
	    str_to_u64((const char *)b.data, 0, INT64_MAX, &turned) == 0 &&
	    (int64_t)turned < s->turned_s)
		s->turned_s = (int64_t)turned;
	return s;
}

void seal_free(struct seal *s)
{
	if (!s)
		return;
	for (struct ticket *t = s->tickets; t; t = t->next)
		t->seal = NULL;
	loop_remove(s->tick);
	loop_remove(s->soon);
	loop_remove(s->late);
	loop_remove(s->end);
	free(s);
}
