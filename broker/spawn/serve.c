#include "broker/spawn/serve.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/spawn/backend.h"
#include "broker/spawn/cgroup.h"
#include "broker/spawn/live.h"
#include "lib/chan.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"

#define MSEC        (NSEC_PER_SEC / 1000)
#define IDLE_NS     (2 * MSEC)  /* after an answer: whoever asked goes first */
#define REAP_NS     (10 * MSEC) /* between two looks at what has not gone yet */
#define REAP_MAX_NS NSEC_PER_SEC
#define FAREWELL_NS NSEC_PER_SEC

struct link {
	struct chan *chan;
	struct loop_source *source;
};

struct serve {
	const struct serve_config *c;
	const struct backend_ops *ops;
	struct loop *loop;
	struct link supervisor, core;
	struct live *live;    /* running */
	struct live *leaving; /* init has exited; cgroup, mounts or a tie are left */
	struct loop_source *idle, *reap;
	int64_t reap_ns;
	int result;
};

/* ---- links
 * --------------------------------------------------------------------------------------- */

static void link_close(struct link *l)
{
	loop_remove(l->source);
	chan_free(l->chan);
	*l = (struct link){NULL, NULL};
}

static void watch(struct link *l)
{
	if (!l->chan)
		return;
	if (chan_fd(l->chan) < 0)
		link_close(l);
	else
		loop_fd_watch(l->source, LOOP_READ | (chan_wants_write(l->chan) ? LOOP_WRITE : 0));
}

/* Takes over body. */
static void tell(
    struct serve *s, const char *type, uint64_t id, json_t *body, const int *fds, size_t n)
{
	int r;

	if (!s->core.chan) {
		json_decref(body);
		return;
	}
	if ((r = chan_send(s->core.chan, type, id, body, fds, n)) < 0)
		log_warn("cannot send %s: %s %s", type, strerror(-r), chan_why(s->core.chan));
	watch(&s->core);
}

static void tell_failed(
    struct serve *s, uint64_t id, const char *session, const char *step, const char *reason)
{
	char text[512];

	(void)str_escape(text, sizeof(text), reason, strlen(reason));
	tell(s, "sandbox.failed", id,
	    json_pack("{s:s,s:s,s:s}", "session", session, "step", step, "reason", text), NULL, 0);
}

/* ---- the end of a sandbox
 * ------------------------------------------------------------------------ */

/* True when there is none, or it has exited and been waited for. */
static bool lease_gone(struct live *v)
{
	siginfo_t info = {0};

	if (v->lease < 0)
		return true;
	if (waitid(P_PIDFD, (id_t)v->lease, &info, WEXITED | WNOHANG) == 0 && info.si_pid == 0)
		return false;
	util_close(&v->lease);
	return true;
}

/* Without its session it has nothing to do; it is waited for like the rest, as it may hang on a
 * socket that the agent made. */
static void end_lease(struct live *v)
{
	loop_remove(v->lease_source);
	v->lease_source = NULL;
	if (v->lease >= 0)
		(void)syscall(SYS_pidfd_send_signal, v->lease, SIGKILL, NULL, 0);
}

/* 0 when nothing is left. */
static int settle(struct serve *s, struct live *v)
{
	if (v->sandbox && s->ops->reap(v->sandbox, NULL) == 0)
		v->sandbox = NULL;
	if (v->tied && (!s->c->untie || s->c->untie(s->c->arg, v->id) == 0))
		v->tied = false;
	return !lease_gone(v) || v->sandbox || v->tied ? -EAGAIN : 0;
}

static void on_reap(struct loop *l, void *arg)
{
	struct serve *s = arg;

	(void)l;
	for (struct live *v = s->leaving, *next; v; v = next) {
		next = v->next;
		if (settle(s, v) == 0)
			live_remove(&s->leaving, v);
	}
	if (!s->leaving)
		return;
	s->reap_ns = 2 * s->reap_ns < REAP_MAX_NS ? 2 * s->reap_ns : REAP_MAX_NS;
	loop_timer_set(s->reap, s->reap_ns);
}

/* Init has exited, or there never was one. */
static void ended(struct serve *s, struct live *v, const char *reason)
{
	struct backend_usage u = {0};

	loop_remove(v->exit);
	loop_remove(v->knock);
	v->exit = v->knock = NULL;
	end_lease(v);
	if (v->sandbox)
		s->ops->stat(v->sandbox, &u);
	tell(s, "sandbox.ended", 0,
	    json_pack("{s:s,s:s,s:I,s:I,s:I}", "session", v->id, "reason", reason, "cpu_us",
	        (json_int_t)u.cpu_us, "memory_peak", (json_int_t)u.memory_peak, "oom_kills",
	        (json_int_t)u.oom_kills),
	    NULL, 0);
	live_unlink(&s->live, v);
	if (settle(s, v) == 0) {
		live_free(v);
		return;
	}
	live_add(&s->leaving, v);
	s->reap_ns = REAP_NS;
	loop_timer_set(s->reap, REAP_NS);
}

static void on_exit_of_init(struct loop *l, int fd, unsigned what, void *arg)
{
	struct live *v = arg;

	(void)l;
	(void)fd;
	(void)what;
	/* what init leaves behind cannot outlive its pid namespace, but killing is cheap */
	v->serve->ops->kill(v->sandbox);
	ended(v->serve, v, v->asked ? "ended" : "init has exited");
}

/* ---- credentials
 * ---------------------------------------------------------------------------------- */

static void on_lease_exit(struct loop *l, int fd, unsigned what, void *arg)
{
	struct live *v = arg;

	(void)l;
	(void)fd;
	(void)what;
	loop_remove(v->lease_source);
	v->lease_source = NULL;
	(void)lease_gone(v);
	if (v->knock)
		loop_fd_watch(v->knock, LOOP_READ);
}

/* Somebody in the sandbox connects to its credential listener and nobody serves it. */
static void on_knock(struct loop *l, int fd, unsigned what, void *arg)
{
	struct live *v = arg;
	struct serve *s = v->serve;
	struct err e = ERR_INIT;
	int pair[2];

	(void)what;
	loop_fd_watch(v->knock, 0);
	if (!s->core.chan || fd_seqpacket_pair(pair) < 0)
		return;
	v->lease = s->c->lease_start(s->c->arg, pair[1], fd, &e);
	(void)close(pair[1]);
	if (v->lease < 0 ||
	    !(v->lease_source = loop_fd(l, v->lease, LOOP_READ, on_lease_exit, v))) {
		log_error("postern-lease: %s", err_text(&e));
		util_close(&v->lease);
	} else {
		tell(s, "lease.up", 0, json_pack("{s:s}", "session", v->id), &pair[0], 1);
	}
	(void)close(pair[0]);
}

/* ---- what the core asks
 * --------------------------------------------------------------------------- */

static void on_probe(struct serve *s, struct msg *m)
{
	tell(s, "probe.answer", m->id, json_pack("{s:o}", "host", s->ops->probe(s->c->b)), NULL, 0);
}

static void on_prepare(struct serve *s, struct msg *m)
{
	struct backend_failure f = {"plan"};
	struct err e = ERR_INIT;
	struct plan p;
	int r = plan_parse(msg_obj(m, "plan"), &p, &e);

	if (r == 0 && s->ops->prepare)
		r = s->ops->prepare(s->c->b, &p, &f, &e);
	if (r == 0)
		tell(s, "template.prepared", m->id, json_object(), NULL, 0);
	else
		tell(s, "template.prepared", m->id,
		    json_pack("{s:s,s:s}", "step", f.step, "reason", err_text(&e)), NULL, 0);
	loop_timer_set(s->idle, IDLE_NS);
}

static bool watch_sandbox(struct serve *s, struct live *v)
{
	int listener = s->ops->cred_listener(v->sandbox);

	v->exit = loop_fd(s->loop, s->ops->pidfd(v->sandbox), LOOP_READ, on_exit_of_init, v);
	if (v->exit && listener >= 0 && s->c->lease_start)
		v->knock = loop_fd(s->loop, listener, LOOP_READ, on_knock, v);
	return v->exit && (listener < 0 || !s->c->lease_start || v->knock);
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
	if (!watch_sandbox(s, v)) {
		s->ops->kill(v->sandbox);
		json_decref(enforced);
		tell_failed(s, m->id, id, "memory", "no memory");
		ended(s, v, "failed");
		return;
	}
	tell(s, "sandbox.started", m->id,
	    json_pack("{s:s,s:i,s:o}", "session", id, "pid", (int)s->ops->pid(v->sandbox),
	        "enforced", enforced),
	    NULL, 0);
	loop_timer_set(s->idle, IDLE_NS);
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
	tell(s, "sandbox.pty.opened", m->id, json_pack("{s:s}", "session", id), fds, 2);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

static void on_end(struct serve *s, struct msg *m)
{
	const char *id = msg_str(m, "session");
	struct live *v = live_find(s->live, id);

	if (!v) {
		/* the core must hear an end for each that it asked for */
		tell(s, "sandbox.ended", 0,
		    json_pack("{s:s,s:s,s:i,s:i,s:i}", "session", id, "reason",
		        "there is no such sandbox", "cpu_us", 0, "memory_peak", 0, "oom_kills", 0),
		    NULL, 0);
		return;
	}
	v->asked = true;
	if (v->sandbox)
		s->ops->kill(v->sandbox); /* its pidfd becomes readable */
	else
		ended(s, v, "ended");
}

static void on_list(struct serve *s, struct msg *m)
{
	json_t *a = json_array();

	for (struct live *v = s->live; v; v = v->next)
		(void)json_array_append_new(a, json_string(v->id));
	tell(s, "sandbox.listing", m->id, json_pack("{s:o}", "sessions", a), NULL, 0);
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
	cleanup_close int fd = s->c->tie(s->c->arg, id, path, sizeof(path), &e);
	if (fd < 0) {
		tell_failed(s, m->id, id, "tie", err_text(&e));
		if (!v->sandbox && !v->tied)
			live_remove(&s->live, v);
		return;
	}
	v->tied = true;
	tell(s, "tie.made", m->id, json_pack("{s:s,s:s}", "session", id, "path", path), &fd, 1);
}

static const struct handler {
	const char *type;
	void (*fn)(struct serve *s, struct msg *m);
} handlers[] = {
    {"probe", on_probe},
    {"template.prepare", on_prepare},
    {"sandbox.start", on_start},
    {"sandbox.pty", on_pty},
    {"sandbox.end", on_end},
    {"sandbox.list", on_list},
    {"tie.make", on_tie},
};

static void on_core(struct loop *l, int fd, unsigned what, void *arg)
{
	struct serve *s = arg;
	struct err e = ERR_INIT;
	struct msg m = MSG_INIT;
	int r = 0;

	(void)l;
	(void)fd;
	if (what & LOOP_WRITE)
		(void)chan_flush(s->core.chan);
	while (s->core.chan && (r = chan_recv(s->core.chan, &m, &e)) > 0) {
		for (size_t i = 0; i < ARRAY_LEN(handlers); i++)
			if (msg_is(&m, handlers[i].type))
				handlers[i].fn(s, &m);
		msg_done(&m);
	}
	if (r < 0 && r != -EAGAIN)
		log_error("the core's link: %s", err_text(&e));
	if (r != -EAGAIN && s->core.chan)
		link_close(&s->core); /* it comes back by core.link */
	watch(&s->core);
}

/* ---- the supervisor
 * ------------------------------------------------------------------------------- */

static int link_open(struct serve *s, struct link *k, int fd, unsigned peer, loop_fd_fn fn)
{
	link_close(k);
	k->chan = chan_new(fd, MSG_SPAWN, peer);
	k->source = k->chan ? loop_fd(s->loop, chan_fd(k->chan), LOOP_READ, fn, s) : NULL;
	if (k->source)
		return 0;
	link_close(k);
	return -ENOMEM;
}

static void on_supervisor(struct loop *l, int fd, unsigned what, void *arg)
{
	struct serve *s = arg;
	struct err e = ERR_INIT;
	struct msg m = MSG_INIT;
	int r;

	(void)fd;
	if (what & LOOP_WRITE)
		(void)chan_flush(s->supervisor.chan);
	while ((r = chan_recv(s->supervisor.chan, &m, &e)) > 0) {
		if (msg_is(&m, "shutdown"))
			loop_stop(l);
		else if (msg_is(&m, "core.link") &&
		         link_open(s, &s->core, msg_take_fd(&m, 0), MSG_CORE, on_core) < 0)
			log_error("no memory for the core's link");
		msg_done(&m);
	}
	if (r == -EAGAIN) {
		watch(&s->supervisor);
		return;
	}
	if (r < 0) {
		log_error("the supervisor's link: %s", err_text(&e));
		s->result = r;
	}
	loop_stop(l);
}

/* ---- the whole
 * ------------------------------------------------------------------------------------ */

static void on_idle(struct loop *l, void *arg)
{
	struct serve *s = arg;

	(void)l;
	if (s->ops->idle && s->ops->idle(s->c->b) > 0)
		loop_timer_set(s->idle, 0);
}

/* Killing is enough, but waiting for it leaves nothing to the next one. */
static void farewell(struct serve *s)
{
	int64_t end = clock_mono_ns() + FAREWELL_NS;

	for (struct live *v = s->live; v; v = v->next)
		if (v->sandbox)
			s->ops->kill(v->sandbox);
	while (s->live)
		ended(s, s->live, "spawn ends");
	while (s->leaving && clock_mono_ns() < end) {
		on_reap(s->loop, s);
		if (s->leaving)
			(void)poll(NULL, 0, 2);
	}
	while (s->leaving)
		live_remove(&s->leaving, s->leaving);
}

static int run(struct serve *s)
{
	int r;

	s->idle = loop_timer(s->loop, IDLE_NS, on_idle, s);
	s->reap = loop_timer(s->loop, -1, on_reap, s);
	if (!s->idle || !s->reap ||
	    link_open(s, &s->supervisor, s->c->supervisor, MSG_SUPERVISOR, on_supervisor) < 0)
		return -ENOMEM;
	if ((r = chan_send(s->supervisor.chan, "ready", 0, NULL, NULL, 0)) < 0)
		return r;
	watch(&s->supervisor);
	if ((r = loop_run(s->loop)) == 0)
		r = s->result;
	farewell(s);
	return r;
}

int serve_run(const struct serve_config *c)
{
	struct serve s = {.c = c, .ops = c->b->ops, .loop = loop_new(), .reap_ns = REAP_NS};
	int r;

	if (!s.loop)
		return -errno;
	r = run(&s);
	link_close(&s.core);
	link_close(&s.supervisor);
	loop_remove(s.idle);
	loop_remove(s.reap);
	loop_free(s.loop);
	return r;
}
