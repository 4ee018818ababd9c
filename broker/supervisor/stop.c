#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/supervisor/supervisor.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/util.h"

/*
 * The end, in stages: no new connections; the core ends and records every session, for which it
 * needs spawn and the signer; then these; then what is left of the workers. Each stage has a time
 * for `shutdown`, then a moment for TERM, then KILL.
 */
enum stage { RUNNING, FRONT, MIDDLE, BACK, WORKERS, DONE };

#define PATIENCE_MS 5000 /* for `shutdown` */
#define TERM_MS     1000 /* for TERM, and after KILL */

static const enum stage stage_of[CHILD_ROLES] = {
    [CHILD_LISTENER] = FRONT,
    [CHILD_CORE] = MIDDLE,
    [CHILD_EXPORT] = BACK, /* what it has pulled still goes out */
    [CHILD_SPAWN] = BACK,
    [CHILD_SIGNER] = BACK,
};

/* How far the present stage has gone: 0 asked, 1 TERM sent, 2 KILL sent. */
static unsigned force;

static bool stage_is_empty(const struct supervisor *s)
{
	if (s->stage == WORKERS)
		return workers_count(s->workers) == 0;
	for (size_t i = 0; i < CHILD_ROLES; i++)
		if (stage_of[i] == s->stage && s->child[i].pid > 0)
			return false;
	return true;
}

static void stage_signal(struct supervisor *s, int signo)
{
	if (s->stage == WORKERS)
		workers_kill(s->workers, signo);
	for (size_t i = 0; i < CHILD_ROLES; i++) {
		if (stage_of[i] != s->stage || s->child[i].pid <= 0)
			continue;
		log_warn("%s has not ended; sending it %s", child_program((enum child_role)i),
		    signo == SIGKILL ? "KILL" : "TERM");
		(void)kill(s->child[i].pid, signo);
	}
}

static void wait_ms(struct supervisor *s, int64_t ms)
{
	loop_timer_set(s->stage_timer, ms * (NSEC_PER_SEC / 1000));
}

static void stage_ask(struct supervisor *s)
{
	force = 0;
	if (s->stage == WORKERS) {
		workers_kill(s->workers, SIGTERM);
		force = 1;
		wait_ms(s, TERM_MS);
		return;
	}
	for (size_t i = 0; i < CHILD_ROLES; i++)
		if (stage_of[i] == s->stage)
			child_send(&s->child[i], "shutdown", 0, NULL, -1);
	wait_ms(s, PATIENCE_MS);
}

void stop_progress(struct supervisor *s)
{
	if (s->stage == RUNNING)
		return;
	while (s->stage != DONE && stage_is_empty(s)) {
		s->stage++;
		if (s->stage != DONE)
			stage_ask(s);
	}
	if (s->stage == DONE)
		loop_stop(s->loop);
}

bool stop_done(const struct supervisor *s)
{
	return s->stage == DONE;
}

static void on_stage_timer(struct loop *l, void *arg)
{
	struct supervisor *s = arg;

	(void)l;
	force++;
	if (force > 2) { /* not even KILL ended it (uninterruptible sleep): go on without it */
		log_error("a process does not end; it is left behind");
		s->exit_status = 1;
		s->stage++;
		if (s->stage != DONE)
			stage_ask(s);
		stop_progress(s);
		return;
	}
	stage_signal(s, force == 1 ? SIGTERM : SIGKILL);
	wait_ms(s, TERM_MS);
}

void stop_begin(struct supervisor *s, int exit_status)
{
	if (s->stage != RUNNING)
		return;
	s->exit_status = exit_status;
	if (!s->stage_timer && !(s->stage_timer = loop_timer(s->loop, -1, on_stage_timer, s))) {
		loop_stop(s->loop);
		return;
	}
	for (size_t i = 0; i < CHILD_ROLES; i++)
		loop_timer_set(s->child[i].restart, -1);
	s->stage = FRONT;
	stage_ask(s);
	stop_progress(s);
}
