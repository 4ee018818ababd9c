#include "broker/core/handlers.h"

#include <errno.h>
#include <string.h>

#include "broker/core/config.h"
#include "broker/core/core.h"
#include "broker/core/ctl_answers.h"
#include "broker/core/ctl_jwks.h"
#include "broker/core/seal.h"
#include "creds/provider.h"
#include "lib/err.h"
#include "lib/msg.h"

/*
 * The signer: tokens for leases, the public keys for whoever checks them, and seals of the logs.
 */

int signer_ask(void *core, json_t *body, uint64_t *ret_id)
{
	struct core *c = core;
	const struct tenant *t =
	    c->config ? config_tenant(c->config, json_string_value(json_object_get(body, "tenant")))
	              : NULL;

	if (!c->signer || !t) {
		json_decref(body);
		return c->signer ? -ENOENT : -EPIPE;
	}
	(void)json_object_set_new(body, "issuer", json_string(t->issuer));
	*ret_id = peer_question(c->signer);
	return peer_send(c->signer, "jwt.sign", *ret_id, body);
}

static int on_signed(struct peer *p, struct msg *m, struct err *e)
{
	(void)e;
	(void)provider_jwt_answer(p->core->jwt, m->id, msg_str(m, "token"), NULL);
	return 0;
}

static int on_jwks(struct peer *p, struct msg *m, struct err *e)
{
	(void)e;
	ctl_jwks_told(p->core, m->id, msg_obj(m, "jwks"), NULL);
	return 0;
}

static int on_seal(struct peer *p, struct msg *m, struct err *e)
{
	(void)e;
	if (p->core->seal)
		(void)seal_answer(p->core->seal, m);
	return 0;
}

static int on_refused(struct peer *p, struct msg *m, struct err *e)
{
	const char *reason = msg_str(m, "reason");

	(void)e;
	if (!provider_jwt_answer(p->core->jwt, m->id, NULL, reason) &&
	    !(p->core->seal && seal_answer(p->core->seal, m)))
		ctl_jwks_told(p->core, m->id, NULL, reason);
	return 0;
}

static void gone(struct peer *p)
{
	if (p->core->signer != p)
		return;
	p->core->signer = NULL;
	provider_jwt_lost(p->core->jwt);
	ctl_jwks_lost(p->core);
	if (p->core->seal)
		seal_lost(p->core->seal);
}

static const struct peer_handler handlers[] = {
    {"jwt.signed", on_signed},
    {"jwks.tell", on_jwks},
    {"seal.keys.tell", on_seal},
    {"checkpoint.signed", on_seal},
    {"epoch.noted", on_seal},
    {"epoch.turned", on_seal},
    {"break.signed", on_seal},
    {"sign.refused", on_refused},
    {NULL, NULL},
};

const struct peer_class class_signer = {
    .who = "signer", .role = MSG_SIGNER, .handlers = handlers, .gone = gone};
