#include "broker/core/question.h"

#include <stdlib.h>

#include "lib/loop.h"

static void on_late(struct loop *l, void *arg)
{
	struct question *q = arg;

	(void)l;
	q->late(q);
}

struct question *question_new(struct core *c, uint64_t peer, uint64_t id, question_fn late)
{
	struct question *q = calloc(1, sizeof *q);

	if (!q)
		return NULL;
	q->timer = loop_timer(c->loop, QUESTION_NS, on_late, q);
	if (!q->timer) {
		free(q);
		return NULL;
	}
	q->core = c;
	q->late = late;
	q->peer = peer;
	q->id = id;
	q->next = c->questions;
	c->questions = q;
	return q;
}

void question_free(struct question *q)
{
	for (struct question **at = &q->core->questions; *at; at = &(*at)->next)
		if (*at == q) {
			*at = q->next;
			break;
		}
	loop_remove(q->timer);
	json_decref(q->processes);
	json_decref(q->asked);
	free(q);
}

void question_free_all(struct core *c)
{
	while (c->questions)
		question_free(c->questions);
}
