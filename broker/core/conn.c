#include "broker/core/conn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/peer.h"
#include "broker/core/session.h"
#include "broker/core/tenant.h"
#include "broker/store/store.h"
#include "lib/chan.h"
#include "lib/clock.h"
#include "lib/loop.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"

static const unsigned phases[CONN_STATES] = {
    MSG_PHASE_SPARE, MSG_PHASE_AUTH, MSG_PHASE_OPEN, MSG_PHASE_ENDED};

struct conn *conn_new(struct core *c, enum conn_route route, const char *id)
{
	struct conn *k = calloc(1, sizeof *k);

	if (!k)
		return NULL;
	k->core = c;
	k->route = route;
	k->login_fd = -1;
	if (id)
		(void)str_copy(k->id, sizeof k->id, id);
	else
		core_id(k->id, 'c');
	k->started_ns = clock_wall_ns();
	k->next = c->conns;
	c->conns = k;
	return k;
}

struct conn *conn_find(struct core *c, const char *id)
{
	for (struct conn *k = c->conns; k; k = k->next)
		if (strcmp(k->id, id) == 0)
			return k;
	return NULL;
}

unsigned conn_count(const struct core *c, const char *tenant)
{
	unsigned n = 0;

	for (const struct conn *k = c->conns; k; k = k->next)
		n += !tenant || (k->state == CONN_OPEN && strcmp(k->grant.tenant, tenant) == 0);
	return n;
}

void conn_set_phase(struct conn *k)
{
	if (k->peer)
		chan_set_phase(k->peer->chan, phases[k->state]);
}

int conn_event_apply(struct conn *k, enum conn_event e)
{
	int next = conn_next(k->state, e);

	if (next < 0)
		return -EPERM;
	k->state = (enum conn_state)next;
	conn_set_phase(k);
	return 0;
}

/* ---- time ---- */

static void on_timer(struct loop *l, void *arg)
{
	struct conn *k = arg;

	(void)l;
	/* the timer runs on a clock that stands still while the machine sleeps */
	if (clock_boot_ns() >= k->ends_boot_ns)
		conn_end(k, "the grant has expired", true);
	else
		conn_arm(k);
}

void conn_arm(struct conn *k)
{
	int64_t left = k->ends_boot_ns - clock_boot_ns();

	if (left < 0)
		left = 0;
	if (k->timer)
		loop_timer_set(k->timer, left);
	else
		k->timer = loop_timer(k->core->loop, left, on_timer, k);
}

void conn_open(struct conn *k, struct grant *g)
{
	int64_t left_s = g->expires_s - core_now_s(k->core);

	k->grant = *g;
	memset(g, 0, sizeof *g);
	if (left_s > ROLE_LIFETIME_MAX_S)
		left_s = ROLE_LIFETIME_MAX_S;
	k->ends_boot_ns = clock_boot_ns() + left_s * NSEC_PER_SEC;
	(void)conn_event_apply(k, CONN_GRANTED);
	conn_arm(k);
	conn_save(k);
}

/* ---- the row ---- */

json_t *conn_subject(const struct conn *k)
{
	json_t *o = json_pack("{s:s, s:s}", "conn", k->id, "peer", k->remote);

	if (!o)
		return NULL;
	if (k->route == ROUTE_SSHD)
		(void)json_object_set_new(o, "route", json_string("sshd"));
	if (k->state != CONN_OPEN && !k->grant.credentials)
		return o;
	(void)json_object_set_new(o, "role", json_string(k->grant.role));
	(void)json_object_set_new(o, "person", json_string(k->grant.person));
	if (*k->grant.task)
		(void)json_object_set_new(o, "task", json_string(k->grant.task));
	if (k->session)
		(void)json_object_set_new(o, "session", json_string(k->session->id));
	return o;
}

void conn_save(struct conn *k)
{
	json_auto_t *o = NULL;
	char *text;

	if (!k->core->store || k->state == CONN_SPARE)
		return;
	if (k->state == CONN_ENDED) {
		(void)store_later(k->core->store, STORE_CONNECTIONS, k->id, NULL, 0);
		return;
	}
	o = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:s}", "state",
	    conn_state_name(k->state), "route", k->route == ROUTE_SSH ? "ssh" : "sshd", "peer",
	    k->remote, "local", k->local, "started_ns", (json_int_t)k->started_ns, "ends_boot_ns",
	    (json_int_t)k->ends_boot_ns, "boot", clock_boot_id(), "session",
	    k->session ? k->session->id : "");
	if (o && k->state == CONN_OPEN)
		(void)json_object_set_new(o, "grant", grant_json(&k->grant));
	text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	if (text)
		(void)store_later(k->core->store, STORE_CONNECTIONS, k->id, text, strlen(text));
	free(text);
}

/* ---- the end ---- */

static void record_end(struct conn *k, const char *why, bool by_us)
{
	json_t *body;

	if (k->unsaid && k->state == CONN_AUTH)
		return;
	body = json_pack("{s:s, s:s, s:I}", "reason", why, "by", by_us ? "core" : "peer",
	    "lasted_ms", (json_int_t)((clock_wall_ns() - k->started_ns) / 1000000));
	if (body && k->rate.refused) /* commands that were too many to be recorded one by one */
		(void)json_object_set_new(
		    body, "unsaid", json_integer((json_int_t)k->rate.refused));
	(void)note(k->core, "conn.end", k->grant.tenant, conn_subject(k), body);
}

void conn_end(struct conn *k, const char *why, bool by_us)
{
	struct core *c = k->core;
	char reason[CORE_REASON_MAX + 1];
	bool spare = k->state == CONN_SPARE;

	if (k->state == CONN_ENDED)
		return;
	(void)str_copy(reason, sizeof reason, why);
	if (k->peer && by_us && k->route == ROUTE_SSH)
		(void)peer_send(k->peer, "conn.end", 0, json_pack("{s:s}", "reason", reason));
	if (k->peer && by_us && k->route == ROUTE_SSHD && k->state == CONN_AUTH)
		(void)peer_send(k->peer, "pam.denied", 0, json_pack("{s:s}", "reason", reason));
	if (!spare)
		record_end(k, reason, by_us);
	if (k->session) {
		k->session->conn = NULL;
		session_end(k->session, reason);
		k->session = NULL;
	} else if (*k->tie && c->spawn) {
		(void)peer_send(c->spawn, "sandbox.end", 0, json_pack("{s:s}", "session", k->tie));
	}
	k->state = CONN_ENDED;
	conn_save(k);
	core_forget(c, "conn", k->id);
	conn_free(k);
}

void conn_free(struct conn *k)
{
	struct core *c = k->core;

	for (struct conn **at = &c->conns; *at; at = &(*at)->next)
		if (*at == k) {
			*at = k->next;
			break;
		}
	while (k->channels)
		channel_free(k->channels);
	/* postern-run's peers stay until they have heard; they find nobody any more */
	for (struct peer *p = c->peers; p; p = p->next)
		if (p->owner == k && p != k->peer) {
			p->owner = NULL;
			peer_close(p);
		}
	if (k->peer)
		k->peer->owner = NULL;
	peer_close(k->peer);
	loop_remove(k->timer);
	loop_remove(k->login);
	util_close(&k->login_fd);
	grant_done(&k->grant);
	free(k);
}

/* ---- channels ---- */

struct channel *channel_new(struct conn *k, struct peer *p, uint32_t id)
{
	struct channel *ch = calloc(1, sizeof *ch);

	if (!ch)
		return NULL;
	ch->conn = k;
	ch->peer = p;
	ch->id = id;
	ch->serial = ++k->core->serial;
	ch->started_ns = clock_wall_ns();
	ch->next = k->channels;
	k->channels = ch;
	k->nchannels++;
	return ch;
}

struct channel *channel_find(const struct conn *k, const struct peer *p, uint32_t id)
{
	for (struct channel *ch = k->channels; ch; ch = ch->next)
		if (ch->peer == p && ch->id == id)
			return ch;
	return NULL;
}

struct channel *channel_by_serial(struct core *c, uint64_t serial)
{
	for (struct conn *k = c->conns; k; k = k->next)
		for (struct channel *ch = k->channels; ch; ch = ch->next)
			if (ch->serial == serial)
				return ch;
	return NULL;
}

void channel_free(struct channel *ch)
{
	struct conn *k = ch->conn;

	for (struct channel **at = &k->channels; *at; at = &(*at)->next)
		if (*at == ch) {
			*at = ch->next;
			k->nchannels--;
			break;
		}
	command_done(&ch->command);
	free(ch);
}
