#include "broker/core/ctl_workspace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/config.h"
#include "broker/core/core.h"
#include "broker/core/ctl_answers.h"
#include "broker/core/handlers.h"
#include "broker/core/question.h"
#include "broker/core/who.h"
#include "lib/err.h"
#include "lib/msg.h"
#include "lib/util.h"

static const char *const changes[] = {"create", "snapshot", "fork", "rollback", "delete"};

/* Asked, and being recorded. */
struct order {
	struct core *core;
	uint64_t peer, question;
	json_t *body; /* of workspace.do */
};

static void finish(struct question *q, json_t *data, int code, const char *reason)
{
	struct peer *p = peer_find(q->core, q->peer);

	if (data)
		(void)peer_send(p, "ctl.answer", q->id, json_pack("{s:O}", "data", data));
	else
		ctl_error(p, q->id, code, reason);
	question_free(q);
}

static void on_late(struct question *q)
{
	finish(q, NULL, CTL_FAILED, "spawn does not answer: see workspace list");
}

static int code_of(int64_t error)
{
	return error == ENOENT ? CTL_NOT_FOUND : error == EINVAL ? CTL_USAGE : CTL_FAILED;
}

int ctl_workspace_done(struct peer *spawn, struct msg *m, struct err *e)
{
	(void)e;
	for (struct question *q = spawn->core->questions; q; q = q->next)
		if (q->spawn == m->id && m->id != 0) {
			finish(q, msg_obj(m, "data"), code_of(msg_int(m, "code", 0)),
			    msg_str(m, "reason"));
			break;
		}
	return 0;
}

int ctl_workspace_stream(struct peer *spawn, struct msg *m, struct err *e)
{
	(void)e;
	for (struct question *q = spawn->core->questions; q; q = q->next)
		if (q->spawn == m->id && m->id != 0) {
			struct peer *p = peer_find(q->core, q->peer);

			if (p && m->nfds == 2)
				leave_begin(p, msg_take_fd(m, 1), q->asked);
			(void)peer_send_fds(p, "ctl.stream", q->id, NULL, m->fds, 1);
			question_free(q);
			break;
		}
	return 0;
}

/* Takes over body. */
static void ask_spawn(struct core *c, uint64_t peer, uint64_t question, json_t *body)
{
	struct question *q = c->spawn ? question_new(c, peer, question, on_late) : NULL;

	if (!q) {
		json_decref(body);
		ctl_error(peer_find(c, peer), question, CTL_FAILED, "spawn cannot be reached");
		return;
	}
	q->spawn = peer_question(c->spawn);
	q->asked = json_incref(body);
	if (peer_send(c->spawn, "workspace.do", q->spawn, body) < 0)
		finish(q, NULL, CTL_FAILED, "spawn cannot be reached");
}

static void on_recorded(int r, uint64_t seq, void *arg)
{
	struct order *o = arg;

	(void)seq;
	if (r < 0) {
		json_decref(o->body);
		ctl_error(peer_find(o->core, o->peer), o->question, CTL_FAILED, note_why(r));
	} else {
		ask_spawn(o->core, o->peer, o->question, o->body);
	}
	free(o);
}

/* The one that was named, or the only one; NULL with the reason told. */
static const char *tenant_of(struct peer *p, const struct msg *m)
{
	const struct config *c = p->core->config;
	const char *tenant = msg_str(m, "tenant");

	if (!tenant && c && c->ntenants == 1)
		return c->tenant[0].name;
	if (!tenant)
		ctl_error(p, m->id, CTL_USAGE, "of which tenant? (--tenant)");
	return tenant;
}

/* Recorded with the operator as its subject, then done. */
static void change(struct peer *p, struct msg *m, const char *tenant)
{
	struct core *c = p->core;
	struct order *o = calloc(1, sizeof *o);
	json_t *body = json_deep_copy(m->body);
	char class_name[32];
	json_t *told;

	if (!o || !body || json_object_set_new(body, "tenant", json_string(tenant)) < 0) {
		free(o);
		json_decref(body);
		ctl_error(p, m->id, CTL_FAILED, "no memory");
		return;
	}
	*o = (struct order){c, p->serial, m->id, body};
	told = json_deep_copy(m->body);
	(void)json_object_del(told, "op");
	(void)json_object_del(told, "tenant");
	(void)snprintf(class_name, sizeof class_name, "workspace.%s", msg_str(m, "op"));
	if (note_then(c, class_name, tenant, who_json(c->proc_fd, c->etc_fd, p->uid, p->pid), told,
	        on_recorded, o) < 0) {
		json_decref(body);
		free(o);
		ctl_error(p, m->id, CTL_FAILED, "the log cannot be written");
	}
}

/* Nothing changes. */
static void look(struct peer *p, struct msg *m, const char *tenant)
{
	json_t *body = json_deep_copy(m->body);

	if (!body || json_object_set_new(body, "tenant", json_string(tenant)) < 0) {
		json_decref(body);
		ctl_error(p, m->id, CTL_FAILED, "no memory");
		return;
	}
	ctl_record(p, m);
	ask_spawn(p->core, p->serial, m->id, body);
}

int ctl_workspace(struct peer *p, struct msg *m, struct err *e)
{
	const char *op = msg_str(m, "op"), *tenant;

	(void)e;
	if (strcmp(op, "list") == 0) {
		ctl_record(p, m);
		ask_spawn(p->core, p->serial, m->id, json_incref(m->body));
		return 0;
	}
	if (strcmp(op, "diff") == 0 || strcmp(op, "export") == 0) {
		if ((tenant = tenant_of(p, m)))
			look(p, m, tenant);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
		if (strcmp(op, changes[i]) != 0)
			continue;
		if (!(tenant = tenant_of(p, m)))
			return 0;
		/* what is left of a tenant that has gone can still be deleted */
		if (strcmp(op, "delete") != 0 &&
		    (!p->core->config || !config_tenant(p->core->config, tenant)))
			ctl_error(p, m->id, CTL_NOT_FOUND, "there is no such tenant");
		else
			change(p, m, tenant);
		return 0;
	}
	ctl_error(p, m->id, CTL_USAGE, "there is no such operation");
	return 0;
}
