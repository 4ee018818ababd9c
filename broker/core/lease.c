#include "broker/core/lease.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/decide.h"
#include "broker/core/peer.h"
#include "broker/core/session.h"
#include "broker/store/store.h"
#include "creds/provider.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/str.h"

/* ---- the table ---- */

static struct lease_entry *find(struct core *c, const char *id)
{
	for (struct lease_entry *l = c->leases; l; l = l->next)
		if (strcmp(l->id, id) == 0)
			return l;
	return NULL;
}

static void count(const struct session *s, unsigned *ret_pending, unsigned *ret_all)
{
	*ret_pending = *ret_all = 0;
	for (const struct lease_entry *l = s->core->leases; l; l = l->next)
		if (l->session == s) {
			(*ret_all)++;
			*ret_pending += l->state != LEASE_GRANTED;
		}
}

static void forget(struct lease_entry *l)
{
	for (struct lease_entry **at = &l->core->leases; *at; at = &(*at)->next)
		if (*at == l) {
			*at = l->next;
			break;
		}
	free(l);
}

static json_t *time_json(int64_t s)
{
	char text[32];

	clock_format(text, sizeof text, s * NSEC_PER_SEC);
	return json_string(text);
}

static json_t *body(const struct lease_entry *l)
{
	return json_pack("{s:s, s:s, s:s, s:o, s:o}", "lease", l->id, "kind", l->kind, "audience",
	    l->audience, "issued", time_json(l->issued_s), "expires", time_json(l->expires_s));
}

static void save(const struct lease_entry *l, bool gone)
{
	json_auto_t *o = NULL;
	char *text = NULL;

	if (!l->core->store)
		return;
	if (!gone) {
		o = json_pack("{s:s, s:s, s:s, s:I, s:I}", "session", l->session->id, "kind",
		    l->kind, "audience", l->audience, "issued_s", (json_int_t)l->issued_s,
		    "expires_s", (json_int_t)l->expires_s);
		text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	}
	if (gone || text)
		(void)store_later(
		    l->core->store, STORE_LEASES, l->id, text, text ? strlen(text) : 0);
	free(text);
}

/* ---- asking ---- */

struct parked {
	struct core *core;
	char id[CORE_ID_MAX + 1];
};

static struct parked *park(const struct lease_entry *l)
{
	struct parked *p = calloc(1, sizeof *p);

	if (p) {
		p->core = l->core;
		(void)str_copy(p->id, sizeof p->id, l->id);
	}
	return p;
}

static struct lease_entry *unpark(struct parked *p)
{
	struct lease_entry *l = find(p->core, p->id);

	free(p);
	return l;
}

static void answer_denied(struct session *s, uint64_t peer, uint64_t question, const char *reason)
{
	(void)peer_send(peer_find(s->core, peer), "lease.denied", question,
	    json_pack("{s:s}", "reason", reason));
}

/* Before anything was recorded as granted. */
static void deny(struct lease_entry *l, const char *reason, const char *rule)
{
	json_t *o = body(l);

	if (o) {
		(void)json_object_set_new(o, "reason", json_string(reason));
		decide_note(o, false, rule, &l->session->grant);
	}
	(void)note(
	    l->core, "lease.denied", l->session->grant.tenant, session_subject(l->session), o);
	answer_denied(l->session, l->peer, l->question, reason);
	forget(l);
}

/* Ends one that was recorded. */
static void end(struct lease_entry *l, const char *reason)
{
	json_t *o = body(l);

	if (o)
		(void)json_object_set_new(o, "reason", json_string(reason));
	(void)note(l->core, "lease.end", l->session->grant.tenant, session_subject(l->session), o);
	save(l, true);
	forget(l);
}

static bool session_lives(const struct session *s)
{
	return s->state == SESSION_STARTING || s->state == SESSION_LIVE;
}

static void on_minted(void *arg, int r, const char *value, const struct err *e)
{
	struct lease_entry *l = unpark(arg);

	if (!l)
		return; /* its session has ended meanwhile: the value goes nowhere */
	if (r < 0 || !session_lives(l->session)) {
		answer_denied(l->session, l->peer, l->question,
		    r < 0 ? err_text(e) : "the session has ended");
		end(l, r < 0 ? err_text(e) : "the session has ended");
		return;
	}
	l->state = LEASE_GRANTED;
	l->session->leases++;
	save(l, false);
	(void)peer_send(peer_find(l->core, l->peer), "lease.granted", l->question,
	    json_pack("{s:s, s:s, s:I}", "lease", l->id, "value", value, "expires_s",
	        (json_int_t)l->expires_s));
}

/* It is recorded: now it may be made. */
static void on_recorded(int r, uint64_t seq, void *arg)
{
	struct lease_entry *l = unpark(arg);
	struct lease what;
	struct err e = ERR_INIT;
	struct parked *p;

	(void)seq;
	if (!l)
		return;
	if (r < 0) {
		answer_denied(l->session, l->peer, l->question, note_why(r));
		forget(l);
		return;
	}
	l->state = LEASE_MINTING;
	p = park(l);
	what = (struct lease){.id = l->id,
	    .session = l->session->id,
	    .tenant = l->session->grant.tenant,
	    .role = l->session->grant.role,
	    .person = l->session->grant.person,
	    .kind = l->kind,
	    .audience = l->audience,
	    .issued_s = l->issued_s,
	    .expires_s = l->expires_s};
	r = p ? l->core->jwt->ops->mint(l->core->jwt, &what, on_minted, p, &e)
	      : err_set(&e, -ENOMEM, "no memory");
	if (r < 0) {
		free(p);
		answer_denied(l->session, l->peer, l->question, err_text(&e));
		end(l, err_text(&e));
	}
}

static void on_decision(const struct decision *d, void *arg)
{
	struct lease_entry *l = unpark(arg);
	int64_t left_s;
	struct parked *p;
	json_t *granted;
	int r = -ENOMEM;

	if (!l)
		return;
	if (d->verdict != VERDICT_ALLOW) {
		deny(l, *d->reason ? d->reason : "denied", d->rule);
		return;
	}
	left_s = (l->session->ends_boot_ns - clock_boot_ns()) / NSEC_PER_SEC;
	l->issued_s = core_now_s(l->core);
	l->expires_s = l->issued_s + (left_s < LEASE_TTL_S ? left_s : LEASE_TTL_S);
	if (left_s < 1 || !session_lives(l->session)) {
		deny(l, "the session has ended", NULL);
		return;
	}
	p = park(l);
	granted = body(l);
	decide_note(granted, true, d->rule, &l->session->grant);
	if (p && granted)
		r = note_then(l->core, "lease.granted", l->session->grant.tenant,
		    session_subject(l->session), granted, on_recorded, p);
	else
		json_decref(granted);
	if (r < 0) {
		free(p);
		answer_denied(l->session, l->peer, l->question, note_why(r));
		forget(l);
	}
}

void lease_get(
    struct session *s, struct peer *p, uint64_t question, const char *kind, const char *audience)
{
	struct lease_entry *l = calloc(1, sizeof *l);
	char object[LEASE_KIND_MAX + GRANT_AUDIENCE_MAX + 2];
	struct decide_request q = {.subject = &s->grant, .action = "credential", .object = object};
	unsigned pending, all;
	struct parked *parked;

	if (!rate_take(&s->rate, clock_mono_ns(), LEASE_RATE, LEASE_BURST)) {
		/* not recorded: that is what the limit is for */
		free(l);
		answer_denied(s, p->serial, question, "too many questions in a short time");
		return;
	}
	if (!l || !(parked = calloc(1, sizeof *parked))) {
		free(l);
		answer_denied(s, p->serial, question, "no memory");
		return;
	}
	count(s, &pending, &all);
	l->core = s->core;
	l->session = s;
	core_id(l->id, 'l');
	l->peer = p->serial;
	l->question = question;
	l->issued_s = l->expires_s = core_now_s(s->core);
	(void)str_copy(l->kind, sizeof l->kind, kind);
	(void)str_copy(l->audience, sizeof l->audience, audience);
	l->next = s->core->leases;
	s->core->leases = l;
	(void)snprintf(object, sizeof object, "%s:%s", l->kind, l->audience);
	if (pending >= LEASE_PENDING_MAX || all >= LEASE_LIVE_MAX) {
		free(parked);
		deny(l, "too many credentials at once", NULL);
		return;
	}
	if (strcmp(kind, "jwt") != 0) {
		free(parked);
		deny(l, "no provider of this kind", NULL);
		return;
	}
	parked->core = s->core;
	(void)str_copy(parked->id, sizeof parked->id, l->id);
	s->core->decider->decide(s->core->decider, &q, on_decision, parked);
}

/* ---- ending ---- */

bool lease_release(struct session *s, const char *id)
{
	struct lease_entry *l = find(s->core, id);

	if (!l || l->session != s || l->state != LEASE_GRANTED)
		return false;
	end(l, "released");
	return true;
}

void lease_end_all(struct session *s, const char *reason)
{
	struct lease_entry *l, *next;

	for (l = s->core->leases; l; l = next) {
		next = l->next;
		if (l->session != s)
			continue;
		if (l->state != LEASE_GRANTED)
			answer_denied(s, l->peer, l->question, "the session has ended");
		if (l->state == LEASE_ASKED)
			forget(l);
		else
			end(l, reason);
	}
}

void lease_free_all(struct session *s)
{
	struct lease_entry *l, *next;

	for (l = s->core->leases; l; l = next) {
		next = l->next;
		if (l->session == s)
			forget(l);
	}
}

void lease_expire(struct core *c)
{
	int64_t now = core_now_s(c);
	struct lease_entry *l, *next;

	for (l = c->leases; l; l = next) {
		next = l->next;
		if (l->state == LEASE_GRANTED && l->expires_s <= now)
			end(l, "expired");
	}
}

json_t *lease_list(const struct session *s)
{
	static const char *const states[] = {"asked", "minting", "granted"};
	json_t *list = json_array();

	for (const struct lease_entry *l = s->core->leases; l; l = l->next)
		if (l->session == s)
			(void)json_array_append_new(list,
			    json_pack("{s:s, s:s, s:s, s:o, s:o, s:s}", "id", l->id, "kind",
			        l->kind, "audience", l->audience, "issued", time_json(l->issued_s),
			        "expires", time_json(l->expires_s), "state", states[l->state]));
	return list;
}

/* ---- a core that came back ---- */

static int on_row(const void *key, size_t klen, const void *value, size_t len, void *arg)
{
	json_auto_t *o = json_loadb(value, len, JSON_REJECT_DUPLICATES, NULL);
	const char *session = json_string_value(json_object_get(o, "session")),
	           *kind = json_string_value(json_object_get(o, "kind")),
	           *audience = json_string_value(json_object_get(o, "audience"));
	struct core *c = arg;
	struct session *s = session ? session_find(c, session) : NULL;
	struct lease_entry *l;

	char id[CORE_ID_MAX + 1] = "";

	if (klen > CORE_ID_MAX)
		return 0;
	memcpy(id, key, klen);
	if (!s) /* ended with the old core */
		(void)store_later(c->store, STORE_LEASES, id, NULL, 0);
	if (!s || !kind || !audience || !(l = calloc(1, sizeof *l)))
		return 0;
	(void)str_copy(l->id, sizeof l->id, id);
	l->core = c;
	l->session = s;
	l->state = LEASE_GRANTED;
	(void)str_copy(l->kind, sizeof l->kind, kind);
	(void)str_copy(l->audience, sizeof l->audience, audience);
	l->issued_s = json_integer_value(json_object_get(o, "issued_s"));
	l->expires_s = json_integer_value(json_object_get(o, "expires_s"));
	l->next = c->leases;
	c->leases = l;
	return 0;
}

void lease_restore(struct core *c)
{
	if (c->store)
		(void)store_walk(c->store, STORE_LEASES, "", 0, STORE_WALK_MAX, on_row, c);
}
