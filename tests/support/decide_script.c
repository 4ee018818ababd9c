#include "tests/support/decide_script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARKED_MAX 16

struct script {
	struct decider base;
	const char *refuse;
	bool park;
	size_t n;
	struct {
		decide_fn done;
		void *arg;
	} parked[PARKED_MAX];
	char asked[32];
};

static void answer(enum verdict v, decide_fn done, void *arg)
{
	struct decision d = {.verdict = v, .rule = "script"};

	if (v != VERDICT_ALLOW)
		(void)snprintf(d.reason, sizeof d.reason, "the script says no");
	done(&d, arg);
}

static void decide(struct decider *self, const struct decide_request *q, decide_fn done, void *arg)
{
	struct script *s = (struct script *)self;

	(void)snprintf(s->asked, sizeof s->asked, "%s", q->action);
	if (s->park && s->n < PARKED_MAX) {
		s->parked[s->n].done = done;
		s->parked[s->n++].arg = arg;
		return;
	}
	answer(s->refuse && strcmp(s->refuse, q->action) == 0 ? VERDICT_DENY : VERDICT_ALLOW, done,
	    arg);
}

static void script_free(struct decider *self)
{
	while (decide_script_answer(self, VERDICT_DENY))
		;
	free(self);
}

struct decider *decide_script_new(void)
{
	struct script *s = calloc(1, sizeof *s);

	s->base.decide = decide;
	s->base.free = script_free;
	return &s->base;
}

void decide_script_refuse(struct decider *d, const char *action)
{
	((struct script *)d)->refuse = action;
}

void decide_script_park(struct decider *d, bool on)
{
	((struct script *)d)->park = on;
}

bool decide_script_answer(struct decider *d, enum verdict v)
{
	struct script *s = (struct script *)d;
	decide_fn done;
	void *arg;

	if (s->n == 0)
		return false;
	done = s->parked[0].done;
	arg = s->parked[0].arg;
	memmove(&s->parked[0], &s->parked[1], --s->n * sizeof s->parked[0]);
	answer(v, done, arg);
	return true;
}

size_t decide_script_parked(const struct decider *d)
{
	return ((const struct script *)d)->n;
}

const char *decide_script_asked(const struct decider *d)
{
	return ((const struct script *)d)->asked;
}
