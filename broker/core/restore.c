#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/config.h"
#include "broker/core/conn.h"
#include "broker/core/handlers.h"
#include "broker/core/lease.h"
#include "broker/core/session.h"
#include "broker/store/store.h"
#include "lib/chan.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"

/*
 * The core that comes back. Three witnesses are compared: the rows in the store, the descriptors
 * that the supervisor kept, and spawn's list of sandboxes. What all three know goes on; the rest is
 * ended, and recorded either way.
 */

static int take_fd(struct core *c, const char *kind, const char *id)
{
	size_t n = strlen(kind);

	for (struct core_restored *r = c->restored; r; r = r->next)
		if (strncmp(r->name, kind, n) == 0 && r->name[n] == ':' &&
		    strcmp(r->name + n + 1, id) == 0)
			return steal_fd(&r->fd);
	return -1;
}

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static int64_t number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

/* A row of an earlier boot has nothing behind it. */
static bool of_this_boot(const json_t *o)
{
	return strcmp(text(o, "boot"), clock_boot_id()) == 0;
}

/* ---- connections ---- */

static void lost_conn(struct core *c, const char *id, const json_t *o)
{
	(void)note(c, "conn.end", text(json_object_get(o, "grant"), "tenant"),
	    json_pack("{s:s, s:s}", "conn", id, "peer", text(o, "peer")),
	    json_pack("{s:s}", "reason", "lost while the core was away"));
	(void)store_later(c->store, STORE_CONNECTIONS, id, NULL, 0);
}

static bool fill_conn(struct conn *k, const json_t *o)
{
	const json_t *grant = json_object_get(o, "grant");

	k->state = grant ? CONN_OPEN : CONN_AUTH;
	(void)str_copy(k->remote, sizeof k->remote, text(o, "peer"));
	(void)str_copy(k->local, sizeof k->local, text(o, "local"));
	k->started_ns = number(o, "started_ns");
	k->ends_boot_ns = number(o, "ends_boot_ns");
	return !grant || grant_parse(grant, &k->grant, NULL) == 0;
}

static int on_conn_row(const void *key, size_t klen, const void *value, size_t len, void *arg)
{
	json_auto_t *o = json_loadb(value, len, JSON_REJECT_DUPLICATES, NULL);
	bool sshd = strcmp(text(o, "route"), "sshd") == 0;
	char id[CORE_ID_MAX + 1] = "";
	struct core *c = arg;
	struct conn *k;
	int fd;

	if (klen > CORE_ID_MAX)
		return 0;
	memcpy(id, key, klen);
	fd = of_this_boot(o) ? take_fd(c, "conn", id) : -1;
	if (fd < 0) {
		lost_conn(c, id, o);
		return 0;
	}
	k = conn_new(c, sshd ? ROUTE_SSHD : ROUTE_SSH, id);
	if (!k || !fill_conn(k, o) ||
	    !(k->peer = peer_new(c, steal_fd(&fd), sshd ? &class_pam : &class_worker, k))) {
		util_close(&fd);
		if (k)
			conn_free(k);
		lost_conn(c, id, o);
		return 0;
	}
	if (sshd && pam_watch(k) < 0) {
		conn_free(k);
		lost_conn(c, id, o);
		return 0;
	}
	conn_set_phase(k);
	if (k->state == CONN_OPEN)
		conn_arm(k);
	return 0;
}

/* Workers without a client have no row: nothing is known of them but their socket. */
static void restore_spare(struct core *c)
{
	for (struct core_restored *r = c->restored; r; r = r->next) {
		struct conn *k;

		if (r->fd < 0 || strncmp(r->name, "conn:", 5) != 0)
			continue;
		k = conn_new(c, ROUTE_SSH, r->name + 5);
		if (!k)
			continue;
		k->peer = peer_new(c, steal_fd(&r->fd), &class_worker, k);
		if (k->peer)
			conn_set_phase(k);
		else
			conn_free(k);
	}
}

/* ---- sessions ---- */

static int fill_session(struct session *s, const json_t *o)
{
	const json_t *totals = json_object_get(o, "totals");
	int state = session_state_find(text(o, "state"));

	if (state < 0 || grant_parse(json_object_get(o, "grant"), &s->grant, NULL) < 0 ||
	    plan_parse(json_object_get(o, "plan"), &s->plan, NULL) < 0)
		return -EBADMSG;
	s->state = (enum session_state)state;
	s->sshd = strcmp(text(o, "route"), "sshd") == 0;
	(void)str_copy(s->conn_id, sizeof s->conn_id, text(o, "conn"));
	(void)str_copy(s->remote, sizeof s->remote, text(o, "peer"));
	(void)str_copy(s->tie_path, sizeof s->tie_path, text(o, "tie"));
	s->tied = *s->tie_path != '\0';
	s->started_ns = number(o, "started_ns");
	s->ends_boot_ns = number(o, "ends_boot_ns");
	s->pid = number(o, "pid");
	s->enforced = json_incref(json_object_get(o, "enforced"));
	s->channels = (uint64_t)number(totals, "channels");
	s->leases = (uint64_t)number(totals, "leases");
	s->bytes_in = (uint64_t)number(totals, "bytes_in");
	s->bytes_out = (uint64_t)number(totals, "bytes_out");
	s->bytes_err = (uint64_t)number(totals, "bytes_err");
	/* numbers given before are not used again */
	s->next_channel = (uint32_t)s->channels + (1u << 20);
	return 0;
}

static int on_session_row(const void *key, size_t klen, const void *value, size_t len, void *arg)
{
	json_auto_t *o = json_loadb(value, len, JSON_REJECT_DUPLICATES, NULL);
	struct core *c = arg;
	struct session *s;

	if (klen > CORE_ID_MAX || strcmp(text(o, "state"), "ended") == 0)
		return 0;
	s = calloc(1, sizeof *s);
	if (!s)
		return 0;
	memcpy(s->id, key, klen);
	s->core = c;
	s->init_fd = s->inner_fd = -1;
	s->next = c->sessions;
	c->sessions = s;
	if (fill_session(s, o) < 0) {
		session_forget(s);
		return 0;
	}
	s->init_fd = take_fd(c, "init", s->id);
	if (!of_this_boot(o)) {
		s->state = SESSION_LIVE;
		session_gone(s, "the host was started again", NULL);
		return 0;
	}
	s->conn = conn_find(c, s->conn_id);
	if (s->conn)
		s->conn->session = s;
	session_arm(s);
	return 0;
}

/* One without a connection, or without the way to its init, has no future. */
static unsigned end_orphans(struct core *c)
{
	struct session *s, *next;
	unsigned n = 0;

	for (s = c->sessions; s; s = next) {
		next = s->next;
		if (s->conn && (s->init_fd >= 0 || (s->state == SESSION_NEW && s->tied)))
			continue;
		if (s->state == SESSION_ENDING) {
			(void)peer_send(
			    c->spawn, "sandbox.end", 0, json_pack("{s:s}", "session", s->id));
			continue;
		}
		n++;
		(void)note(c, "session.lost", s->grant.tenant, session_subject(s),
		    json_pack("{s:s}", "reason",
		        s->conn ? "its request socket is gone" : "its connection is gone"));
		if (s->conn)
			s->conn->session = NULL;
		s->conn = NULL;
		session_end(s, "lost while the core was away");
	}
	return n;
}

void core_restore_listing(struct core *c, const json_t *sessions)
{
	struct session *s, *next;

	if (!c->ready) /* nothing to compare it with yet; it is asked again */
		return;
	for (s = c->sessions; s; s = s->next)
		s->listed = false;
	for (size_t i = 0; i < json_array_size(sessions); i++) {
		const char *id = json_string_value(json_array_get(sessions, i));

		s = session_find(c, id);
		if (s) {
			s->listed = true;
			continue;
		}
		(void)note(c, "sandbox.orphan", NULL, NULL, json_pack("{s:s}", "session", id));
		(void)peer_send(c->spawn, "sandbox.end", 0, json_pack("{s:s}", "session", id));
	}
	for (s = c->sessions; s; s = next) {
		next = s->next;
		/* what was ordered after the question was asked is not in the answer */
		if (s->listed || s->state == SESSION_NEW || s->start_question != 0)
			continue;
		(void)note(c, "session.lost", s->grant.tenant, session_subject(s),
		    json_pack("{s:s}", "reason", "spawn does not know it"));
		session_gone(s, "lost while the core was away", NULL);
	}
}

/* ---- all of it ---- */

static void listen_now(struct core *c)
{
	c->ready = true;
	for (size_t i = 0; i < CORE_LISTENERS; i++)
		if (c->listeners[i].source)
			loop_fd_watch(c->listeners[i].source, LOOP_READ);
	(void)peer_send(c->supervisor, "ready", 0, NULL);
}

static void drop_rest(struct core *c)
{
	while (c->restored) {
		struct core_restored *r = c->restored;

		c->restored = r->next;
		if (r->fd >= 0) {
			(void)peer_send(
			    c->supervisor, "store.drop", 0, json_pack("{s:s}", "name", r->name));
			util_close(&r->fd);
		}
		free(r);
	}
}

static unsigned ask_workers(struct core *c)
{
	unsigned n = 0;

	for (struct conn *k = c->conns; k; k = k->next) {
		if (k->state != CONN_OPEN)
			continue;
		n++;
		if (k->route != ROUTE_SSH)
			continue;
		k->restored = true;
		/* no core before us asked with this number */
		k->who_question = (uint64_t)clock_mono_ns();
		(void)peer_send(k->peer, "conn.who", k->who_question, NULL);
	}
	return n;
}

void core_restore(struct core *c)
{
	bool again = c->restored != NULL;
	unsigned conns, sessions, lost;

	if (!c->config && !again) {
		/* a first start with a wrong configuration is the operator's to mend */
		c->status = 78; /* EX_CONFIG */
		core_quit(c);
		return;
	}
	if (c->store) {
		(void)store_walk(
		    c->store, STORE_CONNECTIONS, "", 0, STORE_WALK_MAX, on_conn_row, c);
		restore_spare(c);
		(void)store_walk(
		    c->store, STORE_SESSIONS, "", 0, STORE_WALK_MAX, on_session_row, c);
		lease_restore(c);
	}
	conns = ask_workers(c);
	sessions = session_count(c, NULL);
	lost = end_orphans(c);
	drop_rest(c);
	if (again || sessions)
		(void)note(c, "core.restored", NULL, NULL,
		    json_pack("{s:I, s:I, s:I}", "connections", (json_int_t)conns, "sessions",
		        (json_int_t)sessions, "lost", (json_int_t)lost));
	if (c->spawn) /* the first list came before there was anything to compare it with */
		(void)peer_send(c->spawn, "sandbox.list", peer_question(c->spawn), NULL);
	listen_now(c);
}
