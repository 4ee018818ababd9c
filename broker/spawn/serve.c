#include "broker/spawn/serve.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "broker/spawn/serve_internal.h"
#include "lib/chan.h"
#include "lib/chan_loop.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/msg.h"

#define REAP_NS     (10 * SERVE_MSEC) /* between two looks at what has not gone yet */
#define REAP_MAX_NS NSEC_PER_SEC
#define FAREWELL_NS NSEC_PER_SEC

/* ---- links ---- */

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
		chan_watch(l->chan, l->source);
}

/* Takes over body. */
void serve_tell(
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

/* ---- the end of a sandbox ---- */

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
void serve_ended(struct serve *s, struct live *v, const char *reason)
{
	struct backend_usage u = {0};

	loop_remove(v->exit);
	loop_remove(v->knock);
	v->exit = v->knock = NULL;
	lease_end(v);
	watch_forget(v);
	walk_stop(v);
	if (v->sandbox)
		s->ops->stat(v->sandbox, &u);
	if (u.oom_kills && !v->asked)
		reason = "out of memory";
	serve_tell(s, "sandbox.ended", 0,
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
	loop_remove(v->exit);
	v->exit = NULL;
	if (!watch_finish(v))
		serve_over(v);
}

void serve_over(struct live *v)
{
	const char *what_ended = v->watch_died ? "its watch process has ended"
	                         : v->asked    ? "ended"
	                                       : "init has exited";

	if (!walk_begin(v->serve, v, what_ended))
		serve_ended(v->serve, v, what_ended);
}

bool serve_watch(struct serve *s, struct live *v)
{
	int listener = s->ops->cred_listener(v->sandbox);

	v->exit = loop_fd(s->loop, s->ops->pidfd(v->sandbox), LOOP_READ, on_exit_of_init, v);
	if (v->exit && listener >= 0 && s->c->lease_start)
		v->knock = loop_fd(s->loop, listener, LOOP_READ, lease_knock, v);
	return watch_begin(s, v) && v->exit && (listener < 0 || !s->c->lease_start || v->knock);
}

/* ---- the core ---- */

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
		serve_ask(s, &m);
		msg_done(&m);
	}
	if (r < 0 && r != -EAGAIN)
		log_error("the core's link: %s", err_text(&e));
	if (r != -EAGAIN && s->core.chan)
		link_close(&s->core); /* it comes back by core.link */
	watch(&s->core);
}

/* ---- the supervisor ---- */

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

/* ---- the whole ---- */

static void on_idle(struct loop *l, void *arg)
{
	struct serve *s = arg;
	int r = s->ops->idle ? s->ops->idle(s->c->b) : 0;

	(void)l;
	if (r > 0)
		loop_timer_set(s->idle, r == 1 ? 0 : r * SERVE_MSEC);
}

/* Killing is enough, but waiting for it leaves nothing to the next one. */
static void farewell(struct serve *s)
{
	int64_t end = clock_mono_ns() + FAREWELL_NS;

	look_stop_all(s);
	for (struct live *v = s->live; v; v = v->next)
		if (v->sandbox)
			s->ops->kill(v->sandbox);
	while (s->live)
		serve_ended(s, s->live, "spawn ends");
	while (s->leaving && clock_mono_ns() < end) {
		on_reap(s->loop, s);
		if (s->leaving)
			(void)poll(NULL, 0, 2);
	}
	while (s->leaving)
		live_remove(&s->leaving, s->leaving);
}

static void on_event(struct loop *l, int fd, unsigned what, void *arg)
{
	struct serve *s = arg;

	(void)l;
	(void)fd;
	(void)what;
	s->ops->event(s->c->b);
}

static int run(struct serve *s)
{
	int fd = s->ops->event_fd ? s->ops->event_fd(s->c->b) : -1, r;

	if (fd >= 0 && !(s->event = loop_fd(s->loop, fd, LOOP_READ, on_event, s)))
		return -ENOMEM;
	s->idle = loop_timer(s->loop, SERVE_IDLE_NS, on_idle, s);
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
	loop_remove(s.event);
	loop_remove(s.idle);
	loop_remove(s.reap);
	loop_free(s.loop);
	return r;
}
