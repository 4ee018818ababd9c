#include <string.h>

#include "broker/core/archive.h"
#include "broker/core/config.h"
#include "broker/core/conn.h"
#include "broker/core/ctl_answers.h"
#include "broker/core/export.h"
#include "broker/core/handlers.h"
#include "broker/core/question.h"
#include "broker/core/seal.h"
#include "broker/core/session.h"
#include "broker/store/store.h"
#include "creds/key.h"
#include "lib/clock.h"
#include "lib/err.h"

/*
 * ctl.status: what the core knows, and what it asks the supervisor (processes) and spawn (the host)
 * for. Who does not answer in time is left out.
 */

static json_t *time_json(int64_t wall_ns)
{
	char text[32];

	clock_format(text, sizeof text, wall_ns);
	return json_string(text);
}

static json_t *tenants(const struct core *c)
{
	json_t *list = json_array();

	for (size_t i = 0; c->config && i < c->config->ntenants; i++) {
		const struct tenant *t = &c->config->tenant[i];
		json_t *cas = json_array(), *roles = json_array();
		char fingerprint[KEY_FINGERPRINT_LEN];

		for (size_t k = 0; k < t->ncas; k++)
			(void)json_array_append_new(
			    cas, json_string(key_fingerprint(t->ca[k], fingerprint)));
		for (size_t k = 0; k < t->nroles; k++)
			(void)json_array_append_new(roles, json_string(t->role[k].name));
		(void)json_array_append_new(
		    list, json_pack("{s:s, s:o, s:o, s:I, s:I}", "name", t->name, "cas", cas,
		              "roles", roles, "sessions", (json_int_t)session_count(c, t->name),
		              "limit", (json_int_t)t->sessions));
	}
	return list;
}

static json_t *disk(const struct core *c)
{
	struct store_usage u;

	if (!c->store || store_usage(c->store, &u) < 0)
		return json_null();
	return json_pack("{s:I, s:I, s:I, s:I, s:o}", "map_size", (json_int_t)u.map_size,
	    "map_used", (json_int_t)u.map_used, "disk_size", (json_int_t)u.disk_size, "disk_free",
	    (json_int_t)u.disk_free, "warnings", space_warnings(&u));
}

static json_t *log_state(struct core *c)
{
	struct err e = ERR_INIT;
	bool good = c->log->ops->clock_ok(c->log, &e) == 0;

	return json_pack("{s:I, s:o, s:s}", "size", (json_int_t)c->log->ops->size(c->log), "newest",
	    time_json(c->log->ops->now_ns(c->log)), "clock", good ? "good" : err_text(&e));
}

static json_t *config_state(const struct core *c)
{
	char hex[DIGEST_HEX_LEN + 1] = "";

	if (!c->config)
		return json_null();
	hex_encode(hex, c->config->digest, DIGEST_LEN);
	return json_pack("{s:s, s:o}", "digest", hex, "loaded", time_json(c->config_loaded_ns));
}

static void finish(struct question *q)
{
	struct core *c = q->core;
	unsigned open = 0;

	for (const struct conn *k = c->conns; k; k = k->next)
		open += k->state == CONN_OPEN;
	(void)peer_send(peer_find(c, q->peer), "ctl.answer", q->id,
	    json_pack(
	        "{s:{s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I}}",
	        "data", "version", POSTERN_VERSION, "boot", clock_boot_id(), "uptime_s",
	        (json_int_t)((clock_boot_ns() - c->started_boot_ns) / NSEC_PER_SEC), "processes",
	        q->processes ? json_incref(q->processes) : json_array(), "host",
	        c->host ? json_incref(c->host) : json_null(), "disk", disk(c), "log", log_state(c),
	        "seal", c->seal ? seal_status(c->seal) : json_null(), "export", export_status(c),
	        "archive", c->archive ? archive_status(c->archive) : json_null(), "config",
	        config_state(c), "tenants", tenants(c), "connections", (json_int_t)open, "sessions",
	        (json_int_t)session_count(c, NULL), "sessions_limit",
	        (json_int_t)(c->config ? c->config->host.sessions : 0)));
	question_free(q);
}

static void check(struct question *q)
{
	if (q->supervisor == 0 && q->spawn == 0)
		finish(q);
}

void status_ask(struct peer *p, uint64_t question)
{
	struct core *c = p->core;
	struct question *q = question_new(c, p->serial, question, finish);

	if (!q) {
		ctl_error(p, question, CTL_FAILED, "no memory");
		return;
	}
	if (c->supervisor) {
		q->supervisor = peer_question(c->supervisor);
		if (peer_send(c->supervisor, "status.ask", q->supervisor, NULL) < 0)
			q->supervisor = 0;
	}
	if (c->spawn) {
		q->spawn = peer_question(c->spawn);
		if (peer_send(c->spawn, "probe", q->spawn, NULL) < 0)
			q->spawn = 0;
	}
	check(q);
}

void status_told(struct core *c, uint64_t question, const json_t *processes)
{
	for (struct question *q = c->questions; q; q = q->next)
		if (q->supervisor == question && question != 0) {
			q->supervisor = 0;
			q->processes = json_deep_copy(processes);
			check(q);
			return;
		}
}

void status_probed(struct core *c, uint64_t question)
{
	for (struct question *q = c->questions; q; q = q->next)
		if (q->spawn == question && question != 0) {
			q->spawn = 0;
			check(q);
			return;
		}
}
