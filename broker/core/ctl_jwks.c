#include "broker/core/ctl_jwks.h"

#include "broker/core/core.h"
#include "broker/core/ctl_answers.h"
#include "broker/core/handlers.h"
#include "broker/core/question.h"

static void finish(struct question *q, const json_t *jwks, const char *reason)
{
	struct peer *p = peer_find(q->core, q->peer);

	if (jwks)
		(void)peer_send(p, "ctl.answer", q->id,
		    json_pack("{s:{s:o}}", "data", "jwks", json_deep_copy(jwks)));
	else
		ctl_error(p, q->id, CTL_FAILED, reason);
	question_free(q);
}

static void on_late(struct question *q)
{
	finish(q, NULL, "the signer does not answer");
}

void ctl_jwks_ask(struct peer *p, uint64_t question, const char *tenant)
{
	struct core *c = p->core;
	struct question *q = c->signer ? question_new(c, p->serial, question, on_late) : NULL;

	if (!q) {
		ctl_error(p, question, CTL_FAILED, "the signer cannot be reached");
		return;
	}
	q->signer = peer_question(c->signer);
	if (peer_send(c->signer, "jwks.ask", q->signer, json_pack("{s:s}", "tenant", tenant)) < 0)
		finish(q, NULL, "the signer cannot be reached");
}

void ctl_jwks_told(struct core *c, uint64_t question, const json_t *jwks, const char *reason)
{
	for (struct question *q = c->questions; q; q = q->next)
		if (q->signer == question && question != 0) {
			finish(q, jwks, reason);
			return;
		}
}

void ctl_jwks_lost(struct core *c)
{
	struct question *q, *next;

	for (q = c->questions; q; q = next) {
		next = q->next;
		if (q->signer)
			finish(q, NULL, "the signer is gone");
	}
}
