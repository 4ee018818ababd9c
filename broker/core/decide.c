#include "broker/core/decide.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/grant.h"
#include "lib/str.h"

static unsigned action_bit(const char *name)
{
	for (unsigned b = 0; b < GRANT_ACTIONS; b++)
		if (strcmp(name, grant_action_name(1u << b)) == 0)
			return 1u << b;
	return 0;
}

static bool lists(const json_t *list, const char *s)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (strcmp(json_string_value(json_array_get(list, i)), s) == 0)
			return true;
	return false;
}

static void refuse(struct decision *d, const struct grant *g, const char *what)
{
	char shown[128];

	d->verdict = VERDICT_DENY;
	str_escape(shown, sizeof shown, what, strlen(what));
	/* the grant is policy already cut by the scope:
	 * which of the two said no is not known here */
	(void)snprintf(d->reason, sizeof d->reason,
	    "%s is not allowed to role %s with this certificate", shown, g->role);
}

static void grant_decide(
    struct decider *self, const struct decide_request *q, decide_fn done, void *arg)
{
	struct decision d = {.verdict = VERDICT_ALLOW};
	const struct grant *g = q->subject;
	unsigned bit = action_bit(q->action);

	(void)self;
	(void)snprintf(d.rule, sizeof d.rule, "tenants/%s.yaml roles.%s.allow", g->tenant, g->role);
	if (!bit) {
		(void)str_copy(d.rule, sizeof d.rule, "default");
		refuse(&d, g, q->action);
	} else if (!(g->actions & bit)) {
		refuse(&d, g, q->action);
	} else if (bit == GRANT_CREDENTIAL && q->object) {
		(void)snprintf(d.rule, sizeof d.rule, "tenants/%s.yaml roles.%s.credentials",
		    g->tenant, g->role);
		if (!lists(g->credentials, q->object))
			refuse(&d, g, q->object);
	}
	done(&d, arg);
}

static void grant_free(struct decider *self)
{
	free(self);
}

void decide_note(json_t *body, bool allowed, const char *rule, const struct grant *g)
{
	char policy[DIGEST_HEX_LEN + 1];

	if (!body)
		return;
	hex_encode(policy, g->policy_digest, DIGEST_LEN);
	(void)json_object_set_new(body, "decision", json_string(allowed ? "allow" : "deny"));
	if (rule)
		(void)json_object_set_new(body, "rule", json_string(rule));
	(void)json_object_set_new(body, "revision", json_integer(g->revision));
	(void)json_object_set_new(body, "policy", json_string(policy));
}

struct decider *decide_grant_new(void)
{
	struct decider *d = calloc(1, sizeof *d);

	if (d) {
		d->decide = grant_decide;
		d->free = grant_free;
	}
	return d;
}
