#include "broker/core/auth.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "broker/core/config.h"
#include "broker/core/conn.h"
#include "lib/str.h"

static void say(struct authorize_answer *a, bool tell, const char *reason)
{
	a->tell = tell;
	(void)str_copy(a->reason, sizeof a->reason, reason);
}

/* What only the core knows. */
static bool has_room(struct conn *k, struct authorize_answer *a)
{
	char why[CORE_REASON_MAX];

	if (!core_may_start(k->core, why, sizeof why)) {
		say(a, true, why);
		return false;
	}
	if (conn_count(k->core, a->tenant->name) >= a->tenant->sessions) {
		(void)snprintf(why, sizeof why, "tenant %s has all of its %u connections",
		    a->tenant->name, a->tenant->sessions);
		say(a, true, why);
		return false;
	}
	return true;
}

static int judge(struct conn *k, const struct auth_try *t, struct authorize_answer *a)
{
	struct authorize_query q = {.config = k->core->config,
	    .user = t->user,
	    .user_len = t->user_len,
	    .unix_user = k->route == ROUTE_SSHD,
	    .key = t->key,
	    .key_len = t->key_len,
	    .peer = k->remote,
	    .now_s = core_now_s(k->core)};

	memset(a, 0, sizeof *a);
	if (k->failures >= CONN_FAILURES_MAX)
		say(a, false, "too many attempts");
	else if (k->user_fixed &&
	         (k->user_len != t->user_len || memcmp(k->user, t->user, t->user_len) != 0))
		say(a, false, "the login name was changed");
	else if (!q.config)
		say(a, false, "the configuration is wrong, so nobody is let in");
	else if (t->key_len == 0)
		(void)snprintf(a->reason, sizeof a->reason, "%s is not offered", t->method);
	else if (authorize(&q, a) == 0) {
		if (has_room(k, a))
			return 0;
		grant_done(&a->grant);
	}
	return -EACCES;
}

static json_t *who(const struct auth_try *t, const struct authorize_answer *a)
{
	char user[128], method[64];
	json_t *o;

	str_escape(user, sizeof user, t->user, t->user_len);
	str_escape(method, sizeof method, t->method, strlen(t->method));
	o = json_pack(
	    "{s:s, s:s, s:b}", "user", user, "method", method, "proved", t->proved ? 1 : 0);
	if (!o)
		return NULL;
	if (t->client)
		(void)json_object_set_new(o, "client", json_string(t->client));
	if (*a->key_fingerprint)
		(void)json_object_set_new(o, "key", json_string(a->key_fingerprint));
	if (*a->ca_fingerprint) {
		char serial[24];

		(void)snprintf(serial, sizeof serial, "%llu", (unsigned long long)a->serial);
		(void)json_object_set_new(o, "ca", json_string(a->ca_fingerprint));
		(void)json_object_set_new(o, "key_id", json_string(a->key_id));
		(void)json_object_set_new(o, "serial", json_string(serial));
	}
	return o;
}

int auth_judge(struct conn *k, const struct auth_try *t, struct authorize_answer *a)
{
	int r = judge(k, t, a);

	if (!k->user_fixed && t->user_len <= sizeof k->user) {
		memcpy(k->user, t->user, t->user_len);
		k->user_len = t->user_len;
		k->user_fixed = true;
	}
	if (r < 0 && k->failures <= CONN_FAILURES_MAX)
		k->failures += t->proved || t->key_len == 0 ? CONN_ATTEMPT : 1;
	return r;
}

int auth_refused(struct conn *k, const struct auth_try *t, const struct authorize_answer *a,
    record_fn done, void *arg)
{
	const char *tenant = a->tenant ? a->tenant->name : NULL;
	json_t *body;

	/* said once; a peer that goes on does not fill the log */
	if (k->failures > CONN_FAILURES_MAX && !done && k->quiet)
		return 0;
	k->quiet = k->failures > CONN_FAILURES_MAX;
	body = who(t, a);
	if (body)
		(void)json_object_set_new(body, "reason", json_string(a->reason));
	if (!done)
		return note(k->core, "auth.refused", tenant, conn_subject(k), body);
	return note_then(k->core, "auth.refused", tenant, conn_subject(k), body, done, arg);
}

int auth_record(struct conn *k, const struct auth_try *t, const struct authorize_answer *a,
    record_fn done, void *arg)
{
	char hex[DIGEST_HEX_LEN + 1];
	uint8_t digest[DIGEST_LEN];
	json_t *body = who(t, a);

	grant_digest(&a->grant, digest);
	hex_encode(hex, digest, DIGEST_LEN);
	if (body) {
		(void)json_object_set_new(body, "grant", grant_json(&a->grant));
		(void)json_object_set_new(body, "digest", json_string(hex));
	}
	return note_then(k->core, "grant", a->grant.tenant, conn_subject(k), body, done, arg);
}
