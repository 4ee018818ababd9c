#include "broker/core/handlers.h"

#include <errno.h>
#include <string.h>

#include "broker/core/config.h"
#include "broker/core/conn.h"
#include "broker/core/ctl_workspace.h"
#include "broker/core/exec.h"
#include "broker/core/session.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/msg.h"
#include "lib/util.h"

/*
 * Spawn: sandboxes from resolved plans.
 */

#define PREPARE_MAX      16 /* templates whose caches are warmed */
#define PREPARE_WARM_MAX 32 /* roles with a pool: POOL_SHELVES_MAX of broker/spawn/pool.h */

/* One role of any tenant that uses the template: the plan has to name somebody. */
static const struct role *user_of(
    const struct config *c, const struct template *t, const struct tenant **ret)
{
	for (size_t i = 0; i < c->ntenants; i++)
		for (size_t k = 0; k < c->tenant[i].nroles; k++)
			if (config_template(
			        c, c->tenant[i].name, c->tenant[i].role[k].template_name) == t) {
				*ret = &c->tenant[i];
				return &c->tenant[i].role[k];
			}
	return NULL;
}

static void prepare(
    struct core *c, const struct template *t, const struct tenant *tenant, const struct role *role)
{
	struct grant as = {.actions = role->actions};
	struct plan plan;

	if (t->root == PLAN_ROOT_IMAGE && !*t->image)
		return;
	(void)str_copy(as.tenant, sizeof as.tenant, tenant->name);
	(void)str_copy(as.role, sizeof as.role, role->name);
	template_plan(t, &as, &tenant->limits.group, &plan);
	(void)peer_send(c->spawn, "template.prepare", peer_question(c->spawn),
	    json_pack("{s:o}", "plan", plan_pack(&plan)));
}

/* A plan names its tenant and role, so what waits for sessions waits for those of one role. */
static void prepare_pools(struct core *c)
{
	unsigned left = PREPARE_WARM_MAX;

	for (size_t i = 0; i < c->config->ntenants; i++)
		for (size_t k = 0; k < c->config->tenant[i].nroles && left > 0; k++) {
			const struct tenant *tenant = &c->config->tenant[i];
			const struct role *role = &tenant->role[k];
			const struct template *t =
			    config_template(c->config, tenant->name, role->template_name);

			if (!t || t->warm == 0)
				continue;
			prepare(c, t, tenant, role);
			left--;
		}
}

void spawn_prepare(struct core *c)
{
	if (!c->config || !c->spawn)
		return;
	(void)peer_send(c->spawn, "template.forget", 0, NULL);
	for (size_t i = 0; i < c->config->ntemplates && i < PREPARE_MAX; i++) {
		const struct template *t = &c->config->template[i];
		const struct tenant *tenant = NULL;
		const struct role *role = user_of(c->config, t, &tenant);

		if (role && t->warm == 0)
			prepare(c, t, tenant, role);
	}
	prepare_pools(c);
}

void spawn_linked(struct core *c)
{
	(void)peer_send(c->spawn, "probe", peer_question(c->spawn), NULL);
	(void)peer_send(c->spawn, "sandbox.list", peer_question(c->spawn), NULL);
	spawn_prepare(c);
}

static int on_probe(struct peer *p, struct msg *m, struct err *e)
{
	(void)e;
	json_decref(p->core->host);
	p->core->host = json_incref(msg_obj(m, "host"));
	status_probed(p->core, m->id);
	return 0;
}

static int on_prepared(struct peer *p, struct msg *m, struct err *e)
{
	(void)p;
	(void)e;
	if (msg_str(m, "step"))
		log_warn("a template could not be prepared (%s): %s", msg_str(m, "step"),
		    msg_str(m, "reason") ? msg_str(m, "reason") : "");
	return 0;
}

static int on_started(struct peer *p, struct msg *m, struct err *e)
{
	struct session *s = session_find(p->core, msg_str(m, "session"));

	(void)e;
	if (s)
		session_started(s, msg_int(m, "pid", 0), msg_obj(m, "enforced"));
	return 0;
}

static int on_failed(struct peer *p, struct msg *m, struct err *e)
{
	struct session *s = session_find(p->core, msg_str(m, "session"));
	const char *reason = msg_str(m, "reason");

	(void)e;
	if (s && m->id != 0 && m->id == s->tie_question && s->state == SESSION_NEW)
		pam_tied(s, NULL, -1, reason);
	else if (s && (m->id == 0 || m->id == s->start_question))
		session_failed(s, msg_str(m, "step"), reason);
	else
		exec_pty_failed(p->core, m->id, reason);
	return 0;
}

static int on_pty(struct peer *p, struct msg *m, struct err *e)
{
	(void)e;
	exec_pty_opened(p->core, m->id, msg_take_fd(m, 0), msg_take_fd(m, 1));
	return 0;
}

static int on_ended(struct peer *p, struct msg *m, struct err *e)
{
	struct session *s = session_find(p->core, msg_str(m, "session"));

	(void)e;
	if (s && s->watch_peer) /* it has said its last before */
		peer_pump(s->watch_peer);
	if (s)
		session_gone(s, msg_str(m, "reason"),
		    json_pack("{s:I, s:I, s:I}", "cpu_us", (json_int_t)msg_int(m, "cpu_us", 0),
		        "memory_peak", (json_int_t)msg_int(m, "memory_peak", 0), "oom_kills",
		        (json_int_t)msg_int(m, "oom_kills", 0)));
	return 0;
}

static int on_listing(struct peer *p, struct msg *m, struct err *e)
{
	(void)e;
	core_restore_listing(p->core, msg_obj(m, "sessions"));
	return 0;
}

static int on_lease_up(struct peer *p, struct msg *m, struct err *e)
{
	struct session *s = session_find(p->core, msg_str(m, "session"));

	(void)e;
	if (!s || s->state == SESSION_ENDING)
		return 0;
	if (s->lease_peer) { /* it has died, and another one was started */
		s->lease_peer->owner = NULL;
		peer_close(s->lease_peer);
	}
	s->lease_peer = peer_new(p->core, msg_take_fd(m, 0), &class_lease, s);
	return 0;
}

static int on_watch_up(struct peer *p, struct msg *m, struct err *e)
{
	struct session *s = session_find(p->core, msg_str(m, "session"));

	(void)e;
	if (s && !s->watch_peer)
		s->watch_peer = peer_new(p->core, msg_take_fd(m, 0), &class_watch, s);
	return 0;
}

static int on_walk_up(struct peer *p, struct msg *m, struct err *e)
{
	struct session *s = session_find(p->core, msg_str(m, "session"));

	(void)e;
	if (!s || s->walk_peer)
		return 0;
	s->walked = true;
	s->walk_peer = peer_new(p->core, msg_take_fd(m, 0), &class_walk, s);
	return 0;
}

static int on_tied(struct peer *p, struct msg *m, struct err *e)
{
	struct session *s = session_find(p->core, msg_str(m, "session"));
	cleanup_close int procs = msg_take_fd(m, 0);

	(void)e;
	if (s)
		pam_tied(s, msg_str(m, "path"), procs, NULL);
	return 0;
}

/* Its sandboxes have died with it. */
static void gone(struct peer *p)
{
	struct core *c = p->core;
	struct session *s, *next;

	if (c->spawn != p)
		return;
	c->spawn = NULL;
	if (!c->stopping)
		(void)note(c, "spawn.lost", NULL, NULL,
		    json_pack("{s:I}", "sessions", (json_int_t)session_count(c, NULL)));
	for (s = c->sessions; s; s = next) {
		next = s->next;
		if (s->state != SESSION_NEW)
			session_gone(s, "spawn is gone, and its sandboxes with it", NULL);
		else if (s->tied && s->conn)
			conn_end(s->conn, "spawn is gone", true);
	}
}

static const struct peer_handler handlers[] = {
    {"probe.answer", on_probe},
    {"template.prepared", on_prepared},
    {"sandbox.started", on_started},
    {"sandbox.failed", on_failed},
    {"sandbox.pty.opened", on_pty},
    {"sandbox.ended", on_ended},
    {"sandbox.listing", on_listing},
    {"lease.up", on_lease_up},
    {"walk.up", on_walk_up},
    {"watch.up", on_watch_up},
    {"tie.made", on_tied},
    {"workspace.done", ctl_workspace_done},
    {"workspace.refused", ctl_workspace_done},
    {"workspace.stream", ctl_workspace_stream},
    {NULL, NULL},
};

const struct peer_class class_spawn = {
    .who = "spawn", .role = MSG_SPAWN, .handlers = handlers, .gone = gone};
