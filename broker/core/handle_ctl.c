#include "broker/core/handlers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/config.h"
#include "broker/core/conn.h"
#include "broker/core/core_seal.h"
#include "broker/core/ctl_answers.h"
#include "broker/core/ctl_body.h"
#include "broker/core/ctl_erase.h"
#include "broker/core/ctl_jwks.h"
#include "broker/core/ctl_log.h"
#include "broker/core/ctl_notes.h"
#include "broker/core/ctl_prove.h"
#include "broker/core/ctl_sessions.h"
#include "broker/core/ctl_workspace.h"
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

void ctl_record(struct peer *p, const struct msg *m)
{
	(void)note(p->core, "ctl", NULL, asker(p),
	    json_pack("{s:s, s:O}", "asked", m->type->name, "with", m->body));
}

int ctl_record_then(struct peer *p, const struct msg *m, record_fn done, void *arg)
{
	return note_then(p->core, "ctl", NULL, asker(p),
	    json_pack("{s:s, s:O}", "asked", m->type->name, "with", m->body), done, arg);
}

/* A peer of this class stands for nothing: its owner says what of its reading is on record. */
static char read_some, read_values;

void ctl_reading(struct peer *p, const struct msg *m)
{
	bool values = msg_bool(m, "private");

	if (p->owner == &read_values || (p->owner && !values))
		return;
	p->owner = values ? &read_values : &read_some;
	if (values)
		(void)note(p->core, "log.read", NULL, asker(p),
		    json_pack("{s:s, s:O}", "asked", m->type->name, "with", m->body));
	else
		ctl_record(p, m);
}

static int on_status(struct peer *p, struct msg *m, struct err *e)
{
	(void)e;
	ctl_record(p, m);
	status_ask(p, m->id);
	return 0;
}

static int on_sessions(struct peer *p, struct msg *m, struct err *e)
{
	(void)e;
	ctl_record(p, m);
	answer(p, m->id, ctl_sessions(p->core, msg_str(m, "tenant"), msg_bool(m, "all")));
	return 0;
}

static int on_session(struct peer *p, struct msg *m, struct err *e)
{
	json_t *o = ctl_session(p->core, msg_str(m, "session"));

	(void)e;
	ctl_record(p, m);
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
		ctl_record(p, m);
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
	if (ctl_record_then(p, m, on_kill_recorded, o) < 0) {
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
	ctl_record(p, m);
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
	int r;

	(void)e;
	ctl_record(p, m);
	if ((r = p->core->log->ops->clock_accept(p->core->log)) < 0) {
		ctl_error(p, m->id, CTL_FAILED,
		    r == -ERANGE ? "the clock is before 1970" : "the log cannot be written");
		return 0;
	}
	p->core->clock_bad = false;
	answer(p, m->id, json_pack("{s:s}", "clock", "good"));
	return 0;
}

static int on_epoch(struct peer *p, struct msg *m, struct err *e)
{
	(void)e;
	ctl_record(p, m);
	ctl_seal_epoch(p, m->id);
	return 0;
}

static int on_rollback(struct peer *p, struct msg *m, struct err *e)
{
	(void)e;
	ctl_record(p, m);
	ctl_seal_accept(p, m->id);
	return 0;
}

static int on_keys(struct peer *p, struct msg *m, struct err *e)
{
	(void)e;
	ctl_record(p, m);
	ctl_seal_keys(p, m->id);
	return 0;
}

static int on_jwks(struct peer *p, struct msg *m, struct err *e)
{
	const char *tenant = msg_str(m, "tenant");

	(void)e;
	ctl_record(p, m);
	if (!p->core->config || !config_tenant(p->core->config, tenant))
		ctl_error(p, m->id, CTL_NOT_FOUND, "there is no such tenant");
	else
		ctl_jwks_ask(p, m->id, tenant);
	return 0;
}

static const struct peer_handler handlers[] = {
    {"ctl.status", on_status},
    {"ctl.sessions", on_sessions},
    {"ctl.session", on_session},
    {"ctl.kill", on_kill},
    {"ctl.reload", on_reload},
    {"ctl.clock", on_clock},
    {"ctl.epoch", on_epoch},
    {"ctl.rollback", on_rollback},
    {"ctl.keys", on_keys},
    {"ctl.jwks", on_jwks},
    {"ctl.records", ctl_log_records},
    {"ctl.logs", ctl_log_list},
    {"ctl.notes", ctl_notes},
    {"ctl.body", ctl_body},
    {"ctl.prove", ctl_prove},
    {"ctl.erase", ctl_erase},
    {"ctl.workspace", ctl_workspace},
    {NULL, NULL},
};

const struct peer_class class_ctl = {.who = "operator", .role = MSG_CTL, .handlers = handlers};
