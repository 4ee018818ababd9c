#include "broker/core/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/config.h"
#include "broker/core/conn.h"
#include "broker/core/core_seal.h"
#include "broker/core/exec.h"
#include "broker/core/lease.h"
#include "broker/core/peer.h"
#include "broker/store/store.h"
#include "creds/scope.h"
#include "lib/chan.h"
#include "lib/clock.h"
#include "lib/fdio.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/str.h"
#include "lib/util.h"

struct session *session_find(struct core *c, const char *id)
{
	for (struct session *s = c->sessions; s; s = s->next)
		if (strcmp(s->id, id) == 0)
			return s;
	return NULL;
}

unsigned session_count(const struct core *c, const char *tenant)
{
	unsigned n = 0;

	for (const struct session *s = c->sessions; s; s = s->next)
		n += !tenant || strcmp(s->grant.tenant, tenant) == 0;
	return n;
}

static int apply(struct session *s, enum session_event e)
{
	int next = session_next(s->state, e);

	if (next < 0)
		return -EPERM;
	s->state = (enum session_state)next;
	return 0;
}

/* ---- the beginning ---- */

/* A session more than allowed is refused; those that are ending still hold their ids. */
static bool within_quotas(struct core *c, const struct grant *g, char *why, size_t size)
{
	const struct tenant *t = config_tenant(c->config, g->tenant);
	unsigned most = c->config->host.sessions, blocks = c->idcount / HOST_IDS_BLOCK;

	if (blocks > 0 && most > blocks - 1)
		most = blocks - 1;
	if (!t) {
		(void)snprintf(why, size, "tenant %s is not configured any more", g->tenant);
		return false;
	}
	if (session_count(c, g->tenant) >= t->sessions) {
		(void)snprintf(
		    why, size, "tenant %s has all of its %u sessions", g->tenant, t->sessions);
		return false;
	}
	if (session_count(c, NULL) >= most) {
		(void)snprintf(why, size, "this host has all of its %u sessions", most);
		return false;
	}
	return true;
}

struct session *session_new(struct conn *k, char *why, size_t size)
{
	struct core *c = k->core;
	const struct template *t;
	struct session *s;
	int64_t cert_left;

	if (!c->config) {
		(void)snprintf(why, size, "the configuration is wrong, so nothing new starts");
		return NULL;
	}
	if (!core_may_start(c, why, size) || !within_quotas(c, &k->grant, why, size))
		return NULL;
	t = config_template(c->config, k->grant.tenant, k->grant.template_name);
	if (!t) {
		(void)snprintf(
		    why, size, "template %s is not configured any more", k->grant.template_name);
		return NULL;
	}
	if (t->root == PLAN_ROOT_IMAGE && !*t->image) {
		(void)snprintf(why, size, "the image of template %s is not built", t->name);
		return NULL;
	}
	s = calloc(1, sizeof *s);
	if (!s || grant_copy(&k->grant, &s->grant) < 0) {
		free(s);
		(void)snprintf(why, size, "no memory");
		return NULL;
	}
	s->core = c;
	s->init_fd = s->inner_fd = -1;
	s->conn = k;
	s->sshd = k->route == ROUTE_SSHD;
	core_id(s->id, 's');
	(void)str_copy(s->conn_id, sizeof s->conn_id, k->id);
	(void)str_copy(s->remote, sizeof s->remote, k->remote);
	template_plan(
	    t, &k->grant, &config_tenant(c->config, k->grant.tenant)->limits.group, &s->plan);
	s->started_ns = clock_wall_ns();
	s->ends_boot_ns =
	    clock_boot_ns() +
	    scope_narrow_s(s->grant.lifetime_s, (int64_t)t->limits.wall_s) * NSEC_PER_SEC;
	cert_left = k->ends_boot_ns;
	if (s->ends_boot_ns > cert_left)
		s->ends_boot_ns = cert_left;
	s->next_channel = 1;
	s->next = c->sessions;
	c->sessions = s;
	k->session = s;
	return s;
}

json_t *session_subject(const struct session *s)
{
	json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s}", "session", s->id, "conn", s->conn_id,
	    "peer", s->remote, "role", s->grant.role, "person", s->grant.person);

	if (o && *s->grant.task)
		(void)json_object_set_new(o, "task", json_string(s->grant.task));
	return o;
}

static void digest_of(const json_t *o, char hex[DIGEST_HEX_LEN + 1])
{
	char *text = o ? json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	uint8_t digest[DIGEST_LEN] = {0};

	if (text)
		digest_sha256(text, strlen(text), digest);
	free(text);
	hex_encode(hex, digest, DIGEST_LEN);
}

int session_record_start(struct session *s, record_fn done, void *arg)
{
	char plan_hex[DIGEST_HEX_LEN + 1], grant_hex[DIGEST_HEX_LEN + 1];
	json_t *plan = plan_pack(&s->plan);
	uint8_t digest[DIGEST_LEN];

	digest_of(plan, plan_hex);
	grant_digest(&s->grant, digest);
	hex_encode(grant_hex, digest, DIGEST_LEN);
	session_save(s);
	return note_then(s->core, "session.start", s->grant.tenant, session_subject(s),
	    json_pack("{s:s, s:I, s:o*, s:s}", "grant", grant_hex, "revision",
	        (json_int_t)s->grant.revision, "plan", plan, "plan_digest", plan_hex),
	    done, arg);
}

int session_order(struct session *s)
{
	struct core *c = s->core;
	int r;

	if (!c->spawn)
		return -EPIPE;
	if (s->inner_fd < 0 && (r = session_socket(s)) < 0)
		return r;
	s->start_question = peer_question(c->spawn);
	r = peer_send_fds(c->spawn, "sandbox.start", s->start_question,
	    json_pack("{s:s, s:o}", "session", s->id, "plan", plan_pack(&s->plan)), &s->inner_fd,
	    1);
	if (r < 0)
		return r;
	util_close(&s->inner_fd);
	(void)apply(s, SESSION_ORDERED);
	core_keep(c, "init", s->id, s->init_fd);
	session_arm(s);
	session_save(s);
	return 0;
}

/* ---- time ---- */

static void on_timer(struct loop *l, void *arg)
{
	struct session *s = arg;

	(void)l;
	if (clock_boot_ns() < s->ends_boot_ns)
		session_arm(s);
	else if (s->conn)
		conn_end(s->conn, "the session's lifetime is over", true);
	else
		session_end(s, "the session's lifetime is over");
}

void session_arm(struct session *s)
{
	int64_t left = s->ends_boot_ns - clock_boot_ns();

	if (left < 0)
		left = 0;
	if (s->timer)
		loop_timer_set(s->timer, left);
	else
		s->timer = loop_timer(s->core->loop, left, on_timer, s);
}

/* ---- what spawn says ---- */

void session_started(struct session *s, int64_t pid, json_t *enforced)
{
	if (apply(s, SESSION_STARTED) < 0)
		return;
	s->pid = pid;
	json_decref(s->enforced);
	s->enforced = json_incref(enforced);
	(void)note(s->core, "session.enforced", s->grant.tenant, session_subject(s),
	    json_pack("{s:I, s:O}", "pid", (json_int_t)pid, "enforced", enforced));
	if (s->conn && s->conn->worker > 0)
		(void)peer_send(s->core->spawn, "sandbox.charge", 0,
		    json_pack("{s:s, s:i}", "session", s->id, "pid", (int)s->conn->worker));
	session_save(s);
}

/* Nothing of it is there any more: the record, the row, the memory. */
static void close_session(struct session *s, const char *reason, json_t *totals)
{
	struct core *c = s->core;

	lease_end_all(s, reason);
	s->state = SESSION_ENDED;
	if (!*s->reason)
		(void)str_copy(s->reason, sizeof s->reason, reason);
	if (!totals)
		totals = json_object();
	(void)json_object_set_new(totals, "channels", json_integer((json_int_t)s->channels));
	(void)json_object_set_new(totals, "leases", json_integer((json_int_t)s->leases));
	(void)json_object_set_new(totals, "bytes_in", json_integer((json_int_t)s->bytes_in));
	(void)json_object_set_new(totals, "bytes_out", json_integer((json_int_t)s->bytes_out));
	(void)json_object_set_new(totals, "bytes_err", json_integer((json_int_t)s->bytes_err));
	if (s->walked)
		(void)json_object_set_new(totals, "files",
		    s->files ? json_incref(s->files) : json_pack("{s:b}", "incomplete", 1));
	if (s->plan.watch) {
		(void)json_object_set_new(
		    totals, "programs", json_integer((json_int_t)s->programs));
		(void)json_object_set_new(
		    totals, "programs_lost", json_integer((json_int_t)s->programs_lost));
	}
	if (s->rate.refused) /* questions for credentials, too many to be recorded one by one */
		(void)json_object_set_new(
		    totals, "leases_unsaid", json_integer((json_int_t)s->rate.refused));
	(void)json_object_set_new(totals, "lasted_ms",
	    json_integer((json_int_t)((clock_wall_ns() - s->started_ns) / 1000000)));
	session_save(s);
	core_seal_after(c, "session.end", s->grant.tenant, session_subject(s),
	    json_pack("{s:s, s:s, s:o}", "reason", s->reason, "spawn", reason, "totals", totals));
	core_forget(c, "init", s->id);
	if (s->conn) {
		exec_session_gone(s->conn, s, s->reason);
		s->conn->session = NULL;
		/* a login is tied to this one session's cgroup */
		s->conn->spent = s->sshd;
		conn_save(s->conn);
	}
	session_free(s);
}

void session_failed(struct session *s, const char *step, const char *reason)
{
	char why[SESSION_REASON_MAX + 1];

	if (apply(s, SESSION_FAILED) < 0)
		return;
	/* the login has yet to hear why; what it is tied by goes with it */
	if (s->conn && s->tied)
		(void)str_copy(s->conn->tie, sizeof s->conn->tie, s->id);
	(void)snprintf(why, sizeof why, "the sandbox could not be made (%s): %s", step, reason);
	close_session(s, why, NULL);
}

void session_gone(struct session *s, const char *reason, json_t *totals)
{
	/* what it left in its files comes first: who read them is dead by now, but may have said
	 * more than has been heard */
	if (s->walk_peer && !s->gone_totals) {
		(void)str_copy(s->gone_reason, sizeof s->gone_reason, reason);
		s->gone_totals = totals ? totals : json_object();
		peer_pump(s->walk_peer);
		return;
	}
	if (apply(s, SESSION_GONE) < 0) {
		json_decref(totals);
		return;
	}
	close_session(s, reason, totals);
}

void session_walked(struct session *s)
{
	json_t *totals = s->gone_totals;

	s->gone_totals = NULL;
	if (totals && apply(s, SESSION_GONE) == 0)
		close_session(s, s->gone_reason, totals);
	else
		json_decref(totals);
}

void session_end(struct session *s, const char *reason)
{
	bool known = s->state != SESSION_NEW || s->tied;

	if (apply(s, SESSION_END) < 0)
		return;
	(void)str_copy(s->reason, sizeof s->reason, reason);
	lease_end_all(s, reason);
	if (!known || !s->core->spawn) {
		close_session(s, reason, NULL);
		return;
	}
	s->state = SESSION_ENDING; /* of a tie without a sandbox as well: spawn has to answer */
	(void)peer_send(s->core->spawn, "sandbox.end", 0, json_pack("{s:s}", "session", s->id));
	session_save(s);
}

void session_forget(struct session *s)
{
	if (s->core->store)
		(void)store_later(s->core->store, STORE_SESSIONS, s->id, NULL, 0);
	session_free(s);
}

void session_free(struct session *s)
{
	struct core *c = s->core;

	for (struct session **at = &c->sessions; *at; at = &(*at)->next)
		if (*at == s) {
			*at = s->next;
			break;
		}
	if (s->lease_peer) {
		s->lease_peer->owner = NULL;
		peer_close(s->lease_peer);
	}
	if (s->walk_peer) {
		s->walk_peer->owner = NULL;
		peer_close(s->walk_peer);
	}
	if (s->watch_peer) {
		s->watch_peer->owner = NULL;
		peer_close(s->watch_peer);
	}
	json_decref(s->files);
	json_decref(s->gone_totals);
	lease_free_all(s);
	if (c->stopping) /* it may have been the last */
		loop_defer_arm(c->reap);
	loop_remove(s->timer);
	session_request_done(s);
	util_close(&s->init_fd);
	util_close(&s->inner_fd);
	json_decref(s->enforced);
	grant_done(&s->grant);
	free(s);
}
