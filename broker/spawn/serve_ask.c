/* What the core asks of spawn: one function for each message. */
#include "broker/spawn/serve_internal.h"

#include <string.h>
#include <unistd.h>

#include "broker/spawn/cgroup.h"
#include "lib/err.h"
#include "lib/loop.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"

static void tell_failed(
    struct serve *s, uint64_t id, const char *session, const char *step, const char *reason)
{
	char text[512];

	(void)str_escape(text, sizeof text, reason, strlen(reason));
	serve_tell(s, "sandbox.failed", id,
	    json_pack("{s:s,s:s,s:s}", "session", session, "step", step, "reason", text), NULL, 0);
}

static void on_probe(struct serve *s, struct msg *m)
{
	serve_tell(
	    s, "probe.answer", m->id, json_pack("{s:o}", "host", s->ops->probe(s->c->b)), NULL, 0);
}

static void on_forget(struct serve *s, struct msg *m)
{
	(void)m;
	if (s->ops->forget)
		s->ops->forget(s->c->b);
	loop_timer_set(s->idle, SERVE_IDLE_NS);
}

static void on_prepare(struct serve *s, struct msg *m)
{
	struct backend_failure f = {"plan"};
	struct err e = ERR_INIT;
	char text[512];
	struct plan p;
	int r = plan_parse(msg_obj(m, "plan"), &p, &e);

	if (r == 0 && s->ops->prepare)
		r = s->ops->prepare(s->c->b, &p, &f, &e);
	if (r == 0)
		serve_tell(s, "template.prepared", m->id, json_object(), NULL, 0);
	else {
		(void)str_escape(text, sizeof text, err_text(&e), strlen(err_text(&e)));
		serve_tell(s, "template.prepared", m->id,
		    json_pack("{s:s,s:s}", "step", f.step, "reason", text), NULL, 0);
	}
	loop_timer_set(s->idle, SERVE_IDLE_NS);
}

static bool id_valid(const char *id)
{
	size_t n = strlen(id);

	return n > 0 && n <= CGROUP_ID_MAX &&
	       strspn(id, "0123456789abcdefghijklmnopqrstuvwxyz-") == n;
}

static void on_start(struct serve *s, struct msg *m)
{
	const char *id = msg_str(m, "session");
	struct backend_failure f = {"plan"};
	struct err e = ERR_INIT;
	json_t *enforced = NULL;
	struct live *v;
	struct plan p;

	v = live_find(s->live, id);
	if (!id_valid(id) || (v && v->sandbox) || live_find(s->leaving, id)) {
		tell_failed(s, m->id, id, "session", "its name is no name, or in use");
		return;
	}
	if (!v && !(v = live_new(&s->live, s, id))) {
		tell_failed(s, m->id, id, "memory", "no memory");
		return;
	}
	if (plan_parse(msg_obj(m, "plan"), &p, &e) < 0 ||
	    s->ops->start(s->c->b, id, &p, m->fds[0], &v->sandbox, &enforced, &f, &e) < 0) {
		tell_failed(s, m->id, id, f.step, err_text(&e));
		if (!v->tied) /* a tie without a sandbox waits for sandbox.end */
			live_remove(&s->live, v);
		return;
	}
	if (!serve_watch(s, v)) {
		s->ops->kill(v->sandbox);
		json_decref(enforced);
		tell_failed(s, m->id, id, "memory", "no memory");
		serve_ended(s, v, "failed");
		return;
	}
	serve_tell(s, "sandbox.started", m->id,
	    json_pack("{s:s,s:i,s:o}", "session", id, "pid", (int)s->ops->pid(v->sandbox),
	        "enforced", enforced),
	    NULL, 0);
	watch_tell(s, v);
	loop_timer_set(s->idle, SERVE_IDLE_NS);
}

static void on_pty(struct serve *s, struct msg *m)
{
	const char *id = msg_str(m, "session");
	struct live *v = live_find(s->live, id);
	struct err e = ERR_INIT;
	int fds[2];

	if (!v || !v->sandbox) {
		tell_failed(s, m->id, id, "pty", "there is no such sandbox");
		return;
	}
	if (s->ops->open_pty(v->sandbox, &fds[0], &fds[1], &e) < 0) {
		tell_failed(s, m->id, id, "pty", err_text(&e));
		return;
	}
	serve_tell(s, "sandbox.pty.opened", m->id, json_pack("{s:s}", "session", id), fds, 2);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

static void on_end(struct serve *s, struct msg *m)
{
	const char *id = msg_str(m, "session");
	struct live *v = live_find(s->live, id);

	if (!v) {
		/* the core must hear an end for each that it asked for */
		serve_tell(s, "sandbox.ended", 0,
		    json_pack("{s:s,s:s,s:i,s:i,s:i}", "session", id, "reason",
		        "there is no such sandbox", "cpu_us", 0, "memory_peak", 0, "oom_kills", 0),
		    NULL, 0);
		return;
	}
	v->asked = true;
	if (v->sandbox)
		s->ops->kill(v->sandbox); /* its pidfd becomes readable */
	else
		serve_ended(s, v, "ended");
}

static void on_list(struct serve *s, struct msg *m)
{
	json_t *a = json_array();

	for (struct live *v = s->live; v; v = v->next)
		(void)json_array_append_new(a, json_string(v->id));
	serve_tell(s, "sandbox.listing", m->id, json_pack("{s:o}", "sessions", a), NULL, 0);
	for (struct live *v = s->live; v; v = v->next)
		watch_tell(s, v);
}

static void on_tie(struct serve *s, struct msg *m)
{
	const char *id = msg_str(m, "session");
	struct live *v = live_find(s->live, id);
	char path[CGROUP_PATH_MAX];
	struct err e = ERR_INIT;

	if (!s->c->tie || !id_valid(id) || (!v && !(v = live_new(&s->live, s, id)))) {
		tell_failed(s, m->id, id, "tie", "not possible");
		return;
	}
	cleanup_close int fd = s->c->tie(s->c->arg, id, path, sizeof path, &e);
	if (fd < 0) {
		tell_failed(s, m->id, id, "tie", err_text(&e));
		if (!v->sandbox && !v->tied)
			live_remove(&s->live, v);
		return;
	}
	v->tied = true;
	serve_tell(
	    s, "tie.made", m->id, json_pack("{s:s,s:s}", "session", id, "path", path), &fd, 1);
}

static const struct handler {
	const char *type;
	void (*fn)(struct serve *s, struct msg *m);
} handlers[] = {
    {"probe", on_probe},
    {"template.forget", on_forget},
    {"template.prepare", on_prepare},
    {"sandbox.start", on_start},
    {"sandbox.charge", serve_charge},
    {"sandbox.pty", on_pty},
    {"sandbox.end", on_end},
    {"sandbox.list", on_list},
    {"tie.make", on_tie},
    {"workspace.do", serve_workspace},
};

void serve_ask(struct serve *s, struct msg *m)
{
	for (size_t i = 0; i < ARRAY_LEN(handlers); i++)
		if (msg_is(m, handlers[i].type))
			handlers[i].fn(s, m);
}
