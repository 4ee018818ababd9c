#include "broker/core/handlers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/chain.h"
#include "broker/audit/record_store.h"
#include "broker/core/config.h"
#include "broker/core/conn.h"
#include "broker/core/ctl_answers.h"
#include "broker/core/ctl_jwks.h"
#include "broker/core/ctl_sessions.h"
#include "broker/core/session.h"
#include "broker/core/who.h"
#include "broker/store/store.h"
#include "lib/err.h"
#include "lib/msg.h"
#include "lib/reader.h"
#include "lib/str.h"

/*
 * Operators. Who they are was checked when they connected (accept.c); every question is recorded
 * with the person who asked, but for the further pages of one reading of the log, which would never
 * end.
 */

#define PAGE_BYTES (96u * 1024) /* of base64 in one page */

void ctl_error(struct peer *p, uint64_t question, int code, const char *reason)
{
	(void)peer_send(p, "ctl.error", question,
	    json_pack("{s:i, s:s}", "code", code, "reason", reason ? reason : "failed"));
}

static void answer(struct peer *p, uint64_t question, json_t *data)
{
	if (peer_send(p, "ctl.answer", question, json_pack("{s:o}", "data", data)) == -EINVAL)
		ctl_error(p, question, CTL_FAILED, "the answer is too long");
}

static json_t *asker(const struct peer *p)
{
	return who_json(p->core->proc_fd, p->core->etc_fd, p->uid, p->pid);
}

static void record(struct peer *p, const struct msg *m)
{
	(void)note(p->core, "ctl", NULL, asker(p),
	    json_pack("{s:s, s:O}", "asked", m->type->name, "with", m->body));
}

static int on_status(struct peer *p, struct msg *m, struct err *e)
{
	(void)e;
	record(p, m);
	status_ask(p, m->id);
	return 0;
}

static int on_sessions(struct peer *p, struct msg *m, struct err *e)
{
	(void)e;
	record(p, m);
	answer(p, m->id, ctl_sessions(p->core, msg_str(m, "tenant"), msg_bool(m, "all")));
	return 0;
}

static int on_session(struct peer *p, struct msg *m, struct err *e)
{
	json_t *o = ctl_session(p->core, msg_str(m, "session"));

	(void)e;
	record(p, m);
	if (o)
		answer(p, m->id, o);
	else
		ctl_error(p, m->id, CTL_NOT_FOUND, "there is no such session");
	return 0;
}

/* ---- what changes something: recorded, then done ---- */

struct order {
	struct core *core;
	uint64_t peer, question;
	char session[CORE_ID_MAX + 1];
	char reason[CORE_REASON_MAX + 1];
};

static void on_kill_recorded(int r, uint64_t seq, void *arg)
{
	struct order *o = arg;
	struct peer *p = peer_find(o->core, o->peer);
	struct session *s = session_find(o->core, o->session);

	(void)seq;
	if (r < 0) {
		ctl_error(p, o->question, CTL_FAILED, "the log cannot be written");
	} else if (!s) {
		ctl_error(p, o->question, CTL_NOT_FOUND, "the session has ended meanwhile");
	} else {
		if (s->conn)
			conn_end(s->conn, o->reason, true);
		else
			session_end(s, o->reason);
		answer(p, o->question,
		    json_pack("{s:s, s:s}", "session", o->session, "state", "ending"));
	}
	free(o);
}

static int on_kill(struct peer *p, struct msg *m, struct err *e)
{
	const char *why = msg_str(m, "reason");
	struct order *o;
	char name[64];

	(void)e;
	if (!session_find(p->core, msg_str(m, "session"))) {
		record(p, m);
		ctl_error(p, m->id, CTL_NOT_FOUND, "there is no such live session");
		return 0;
	}
	o = calloc(1, sizeof *o);
	if (!o) {
		ctl_error(p, m->id, CTL_FAILED, "no memory");
		return 0;
	}
	o->core = p->core;
	o->peer = p->serial;
	o->question = m->id;
	(void)str_copy(o->session, sizeof o->session, msg_str(m, "session"));
	(void)who_name(p->core->etc_fd, p->uid, name, sizeof name);
	(void)snprintf(
	    o->reason, sizeof o->reason, "killed by %s%s%s", name, why ? ": " : "", why ? why : "");
	if (note_then(p->core, "ctl", NULL, asker(p),
	        json_pack("{s:s, s:O}", "asked", m->type->name, "with", m->body), on_kill_recorded,
	        o) < 0) {
		free(o);
		ctl_error(p, m->id, CTL_FAILED, "the log cannot be written");
	}
	return 0;
}

static int on_reload(struct peer *p, struct msg *m, struct err *e)
{
	char hex[DIGEST_HEX_LEN + 1], name[64];
	struct err why = ERR_INIT;

	(void)e;
	record(p, m);
	(void)who_name(p->core->etc_fd, p->uid, name, sizeof name);
	if (core_reload(p->core, name, &why) < 0) {
		ctl_error(p, m->id, CTL_CONFIG, err_text(&why));
		return 0;
	}
	hex_encode(hex, p->core->config->digest, DIGEST_LEN);
	answer(p, m->id,
	    json_pack("{s:s, s:I, s:I}", "digest", hex, "tenants",
	        (json_int_t)p->core->config->ntenants, "templates",
	        (json_int_t)p->core->config->ntemplates));
	return 0;
}

static int on_clock(struct peer *p, struct msg *m, struct err *e)
{
	(void)e;
	record(p, m);
	if (p->core->log->ops->clock_accept(p->core->log) < 0) {
		ctl_error(p, m->id, CTL_FAILED, "the log cannot be written");
		return 0;
	}
	p->core->clock_bad = false;
	answer(p, m->id, json_pack("{s:s}", "clock", "good"));
	return 0;
}

static int on_jwks(struct peer *p, struct msg *m, struct err *e)
{
	const char *tenant = msg_str(m, "tenant");

	(void)e;
	record(p, m);
	if (!p->core->config || !config_tenant(p->core->config, tenant))
		ctl_error(p, m->id, CTL_NOT_FOUND, "there is no such tenant");
	else
		ctl_jwks_ask(p, m->id, tenant);
	return 0;
}

/* ---- the log ---- */

struct page {
	json_t *records;
	size_t bytes;
};

static int on_record(const void *key, size_t klen, const void *value, size_t len, void *arg)
{
	struct page *page = arg;

	(void)key;
	(void)klen;
	page->bytes += B64_LEN(len) + 4;
	if (page->bytes > PAGE_BYTES && json_array_size(page->records) > 0)
		return 1;
	return json_array_append_new(page->records, msg_json_bytes(value, len)) < 0 ? -ENOMEM : 0;
}

static int on_records(struct peer *p, struct msg *m, struct err *e)
{
	uint64_t from = (uint64_t)msg_int(m, "from", 1);
	size_t max = (size_t)msg_int(m, "max", 1024);
	struct page page = {.records = json_array()};
	struct core *c = p->core;
	uint8_t key[8], head[DIGEST_LEN];

	(void)e;
	if (!p->owner) { /* the first page of this reader */
		p->owner = p;
		record(p, m);
	}
	chain_key(from ? from : 1, key);
	if (!c->store || (max > 0 && store_walk(c->store, STORE_RECORDS, key, sizeof key, max,
	                                 on_record, &page) < 0)) {
		json_decref(page.records);
		ctl_error(p, m->id, CTL_FAILED, "the log cannot be read");
		return 0;
	}
	record_store_digest(c->log, head);
	(void)peer_send(p, "ctl.page", m->id,
	    json_pack("{s:I, s:I, s:o, s:o}", "from", (json_int_t)(from ? from : 1), "size",
	        (json_int_t)c->log->ops->size(c->log), "records", page.records, "head",
	        msg_json_bytes(head, sizeof head)));
	return 0;
}

static const struct peer_handler handlers[] = {
    {"ctl.status", on_status},
    {"ctl.sessions", on_sessions},
    {"ctl.session", on_session},
    {"ctl.kill", on_kill},
    {"ctl.reload", on_reload},
    {"ctl.clock", on_clock},
    {"ctl.jwks", on_jwks},
    {"ctl.records", on_records},
    {NULL, NULL},
};

const struct peer_class class_ctl = {.who = "operator", .role = MSG_CTL, .handlers = handlers};
