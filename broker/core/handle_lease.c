#include "broker/core/handlers.h"

#include <string.h>

#include "broker/core/lease.h"
#include "broker/core/session.h"
#include "lib/err.h"
#include "lib/msg.h"

/*
 * A session's lease process. Which session it speaks for is known by its link, which spawn has
 * given us.
 */

static int on_list(struct peer *p, struct msg *m, struct err *e)
{
	const struct session *s = p->owner;
	json_t *list = json_array();

	(void)e;
	for (size_t i = 0; i < json_array_size(s->grant.credentials); i++) {
		const char *what = json_string_value(json_array_get(s->grant.credentials, i));
		const char *colon = strchr(what, ':');

		if (colon && (s->grant.actions & GRANT_CREDENTIAL))
			(void)json_array_append_new(
			    list, json_pack("{s:s%, s:s}", "kind", what, (size_t)(colon - what),
			              "audience", colon + 1));
	}
	(void)peer_send(p, "lease.listing", m->id, json_pack("{s:o}", "credentials", list));
	return 0;
}

static int on_get(struct peer *p, struct msg *m, struct err *e)
{
	(void)e;
	lease_get(p->owner, p, m->id, msg_str(m, "kind"), msg_str(m, "audience"));
	return 0;
}

static int on_release(struct peer *p, struct msg *m, struct err *e)
{
	(void)e;
	if (lease_release(p->owner, msg_str(m, "lease")))
		(void)peer_send(p, "lease.released", m->id, NULL);
	else
		(void)peer_send(p, "lease.denied", m->id,
		    json_pack("{s:s}", "reason", "this session has no such lease"));
	return 0;
}

static void gone(struct peer *p)
{
	struct session *s = p->owner;

	if (s && s->lease_peer == p)
		s->lease_peer = NULL;
}

static const struct peer_handler handlers[] = {
    {"lease.list", on_list},
    {"lease.get", on_get},
    {"lease.release", on_release},
    {NULL, NULL},
};

const struct peer_class class_lease = {
    .who = "lease process", .role = MSG_LEASE, .handlers = handlers, .gone = gone};
