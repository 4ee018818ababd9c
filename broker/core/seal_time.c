#include "broker/core/seal_internal.h"

#include <errno.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/loop.h"

#define SOON_NS NSEC_PER_SEC

/* Of logs that have been silent for so long. */
static void alive(struct seal *s)
{
	int64_t now = clock_boot_ns();

	if (now - s->idle_boot_ns < SEAL_IDLE_S * NSEC_PER_SEC / 10)
		return;
	s->idle_boot_ns = now;
	seal_refresh(s);
	for (size_t i = 0; i < s->nlogs; i++) {
		struct seal_log *l = &s->logs[i];
		int64_t since = l->sealed_boot_ns ? l->sealed_boot_ns : s->born_boot_ns;

		if (!l->stored || l->rolled || l->size == 0 || l->size != l->sealed ||
		    now - since < SEAL_IDLE_S * NSEC_PER_SEC ||
		    (!seal_is_host(l) && !s->env.active(s->env.arg, l->name)))
			continue;
		seal_record(s, "log.alive", seal_is_host(l) ? NULL : l->name, NULL);
	}
}

static void on_tick(struct loop *loop, void *arg)
{
	struct seal *s = arg;

	(void)loop;
	loop_timer_set(s->tick, s->env.checkpoint_s * NSEC_PER_SEC);
	if (s->linked && !s->learned && s->question == 0)
		(void)seal_ask(s, "seal.keys", NULL, NULL);
	if (!s->learned || s->round)
		return;
	if (seal_epoch_due(s) && seal_turn(s, NULL, NULL) == 0)
		return;
	alive(s);
	if (s->pending > 0)
		s->round_later = true;
	else
		seal_round(s);
}

static void on_soon(struct loop *loop, void *arg)
{
	struct seal *s = arg;

	(void)loop;
	s->started = false;
	if (s->round) {
		s->started = true;
		loop_timer_set(s->soon, SOON_NS);
		return;
	}
	seal_round(s);
}

void seal_soon(struct seal *s)
{
	int64_t since = clock_boot_ns() - s->round_boot_ns;

	if (s->started)
		return;
	s->started = true;
	loop_timer_set(s->soon, since >= SOON_NS ? 0 : SOON_NS - since);
}

void seal_times(struct seal *s, int64_t checkpoint_s, int64_t epoch_s)
{
	s->env.checkpoint_s = checkpoint_s;
	s->env.epoch_s = epoch_s;
}

static void on_late(struct loop *loop, void *arg)
{
	(void)loop;
	log_warn("the signer does not answer");
	seal_give_up(arg, "the signer does not answer");
}

static void on_end(struct loop *loop, void *arg)
{
	(void)loop;
	seal_finish_now(arg);
}

void seal_finish(struct seal *s, void (*done)(void *arg), void *arg)
{
	s->finish = done;
	s->finish_arg = arg;
	loop_timer_set(s->end, SEAL_FINISH_MS * (NSEC_PER_SEC / 1000));
	if (!s->learned)
		seal_finish_now(s);
	else if (!s->round)
		seal_round(s);
	seal_step(s);
}

int seal_timers(struct seal *s)
{
	const struct seal_env *env = &s->env;

	s->tick = loop_timer(env->loop, env->checkpoint_s * NSEC_PER_SEC, on_tick, s);
	s->soon = loop_timer(env->loop, -1, on_soon, s);
	s->late = loop_timer(env->loop, -1, on_late, s);
	s->end = loop_timer(env->loop, -1, on_end, s);
	return s->tick && s->soon && s->late && s->end ? 0 : -ENOMEM;
}
