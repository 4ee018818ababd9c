#include "gateway/ssh/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>

#include "gateway/ssh/args.h"
#include "gateway/ssh/listener_internal.h"
#include "lib/chan.h"
#include "lib/chan_loop.h"
#include "lib/confine.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"

#include "filters.h"

static void stop(struct listener *l, int status)
{
	l->status = status;
	loop_stop(l->loop);
}

void listener_watch(struct loop_source *s, const struct chan *c)
{
	if (s && c && chan_fd(c) >= 0)
		chan_watch(c, s);
}

/* ---- workers ---- */

void listener_drop_spare(struct listener *l, struct spare *s)
{
	loop_remove(s->watch);
	s->watch = NULL;
	spare_remove(&l->spares, s);
}

/* A worker without a pair, when there is a core to ask. */
static void ask_pair(struct listener *l, struct spare *s)
{
	if (!l->core || s->state != SPARE_NEW)
		return;
	if (chan_send(l->core, "worker.pair", 0,
	        json_pack("{sI, si}", "slot", (json_int_t)s->slot, "pid", (int)s->pid), NULL,
	        0) < 0)
		listener_core_lost(l);
	else
		s->state = SPARE_ASKED;
}

static void on_timer(struct loop *loop, void *arg)
{
	(void)loop;
	listener_settle(arg);
}

/* A spare says nothing: something to read means that it is gone, or mad. */
static void on_worker(struct loop *loop, int fd, unsigned what, void *arg)
{
	struct listener *l = arg;

	(void)loop;
	if (what & LOOP_READ)
		for (struct spare *s = l->spares.first; s; s = s->next)
			if (s->link && chan_fd(s->link) == fd) {
				listener_drop_spare(l, s);
				return;
			}
}

/* ---- the core ---- */

void listener_core_lost(struct listener *l)
{
	loop_remove(l->core_watch);
	l->core_watch = NULL;
	chan_free(l->core);
	l->core = NULL;
	/* what was asked is lost; those READY stay good:
	 * their pairs are in the supervisor's store */
	for (struct spare *s = l->spares.first; s; s = s->next)
		if (s->state == SPARE_ASKED)
			s->state = SPARE_NEW;
	listener_accept_or_not(l);
}

static void paired(struct listener *l, struct msg *m)
{
	struct spare *s = spare_find(&l->spares, (uint32_t)msg_int(m, "slot", 0));
	int fd;

	if (!s || s->state != SPARE_ASKED)
		return;
	fd = msg_take_fd(m, 0);
	if (!str_copy(s->conn, sizeof s->conn, msg_str(m, "conn")) ||
	    chan_send(s->link, "worker.core", 0, json_pack("{ss}", "conn", s->conn), &fd, 1) < 0 ||
	    chan_wants_write(s->link))
		listener_drop_spare(l, s);
	else
		s->state = SPARE_READY;
	util_close(&fd);
}

static void on_core(struct loop *loop, int fd, unsigned what, void *arg)
{
	struct listener *l = arg;
	struct err e = ERR_INIT;

	(void)loop;
	(void)fd;
	if (what & LOOP_WRITE && chan_flush(l->core) < 0) {
		listener_core_lost(l);
		return;
	}
	while (l->core) {
		struct msg m = MSG_INIT;
		int r = chan_recv(l->core, &m, &e);

		if (r == -EAGAIN)
			break;
		if (r <= 0) {
			if (r < 0)
				log_error("the core broke a rule: %s", err_text(&e));
			listener_core_lost(l);
			break;
		}
		if (msg_is(&m, "worker.paired"))
			paired(l, &m);
		msg_done(&m);
	}
	listener_settle(l);
}

static void core_linked(struct listener *l, int fd)
{
	listener_core_lost(l);
	l->core = chan_new(fd, MSG_LISTENER, MSG_CORE);
	if (l->core)
		l->core_watch = loop_fd(l->loop, fd, LOOP_READ, on_core, l);
	if (!l->core || !l->core_watch) {
		log_error("no memory");
		listener_core_lost(l);
		return;
	}
	for (struct spare *s = l->spares.first; s && l->core; s = s->next)
		ask_pair(l, s);
}

/* ---- the supervisor ---- */

static void new_spare(struct listener *l, struct msg *m)
{
	struct chan *link = chan_new(msg_take_fd(m, 0), MSG_LISTENER, MSG_WORKER);
	struct spare *s =
	    link ? spare_add(&l->spares, (uint32_t)msg_int(m, "slot", 0), link) : NULL;

	if (s) {
		s->pid = (pid_t)msg_int(m, "pid", 0);
		s->watch = loop_fd(l->loop, chan_fd(s->link), LOOP_READ, on_worker, l);
	}
	if (!s || !s->watch) {
		log_error("a spare worker cannot be used: %m");
		if (s)
			listener_drop_spare(l, s);
		return;
	}
	ask_pair(l, s);
}

static void worker_gone(struct listener *l, const struct msg *m)
{
	struct spare *s = spare_find(&l->spares, (uint32_t)msg_int(m, "slot", 0));

	if (!s)
		return;
	if (msg_int(m, "signal", 0) != 0)
		log_warn("worker %u ended by signal %d", s->slot, (int)msg_int(m, "signal", 0));
	if (s->state == SPARE_BUSY)
		limit_give(l->limit, s->source);
	listener_drop_spare(l, s);
}

static void reload(struct listener *l)
{
	struct err e = ERR_INIT;

	if (gateway_config_load(l->config_fd, &l->config, &e) < 0) {
		log_error("reload: %s; nothing is changed", err_text(&e));
		return;
	}
	limit_set(l->limit, (size_t)l->config.max_connections, (size_t)l->config.max_per_source);
}

static void handle(struct listener *l, struct msg *m)
{
	if (msg_is(m, "core.link"))
		core_linked(l, msg_take_fd(m, 0));
	else if (msg_is(m, "listen") && strcmp(msg_str(m, "kind"), "ssh") == 0)
		listener_new_socket(l, msg_take_fd(m, 0));
	else if (msg_is(m, "worker.spare"))
		new_spare(l, m);
	else if (msg_is(m, "worker.gone"))
		worker_gone(l, m);
	else if (msg_is(m, "reload"))
		reload(l);
	else if (msg_is(m, "shutdown"))
		stop(l, 0);
}

static void on_supervisor(struct loop *loop, int fd, unsigned what, void *arg)
{
	struct listener *l = arg;
	struct err e = ERR_INIT;

	(void)loop;
	(void)fd;
	if (what & LOOP_WRITE)
		(void)chan_flush(l->supervisor);
	for (;;) {
		struct msg m = MSG_INIT;
		int r = chan_recv(l->supervisor, &m, &e);

		if (r == -EAGAIN)
			break;
		if (r <= 0) { /* nobody outlives the supervisor */
			if (r < 0)
				log_error("the supervisor broke a rule: %s", err_text(&e));
			stop(l, r < 0 ? 1 : 0);
			return;
		}
		handle(l, &m);
		msg_done(&m);
	}
	listener_watch(l->supervisor_watch, l->supervisor);
	listener_settle(l);
}

/* ---- start ---- */

static int confine(const struct gateway_args *a, struct err *e)
{
	const int keep[] = {GATEWAY_LINK_FD, a->config};
	const struct confine_path paths[] = {{a->config, 0}};
	static const struct confine_limits limits = {.open_files = 8192, .file_bytes = UINT64_MAX};
	int abi = 0, r;

	if ((r = confine_basics()) < 0 || (r = confine_fds(keep, ARRAY_LEN(keep))) < 0 ||
	    (r = confine_limits(&limits)) < 0 ||
	    (r = confine_caps(UINT64_C(1) << CAP_SETUID | UINT64_C(1) << CAP_SETGID)) < 0 ||
	    (r = confine_ids((uid_t)a->uid, (gid_t)a->gid)) < 0 || (r = confine_caps(0)) < 0 ||
	    ((r = confine_landlock(paths, 1, &abi)) < 0 && r != -ENOSYS && r != -EOPNOTSUPP))
		return err_set(e, r, "confinement: %s", strerrordesc_np(-r));
	return 0;
}

int listener_main(const struct gateway_args *a)
{
	static struct listener l;
	struct err e = ERR_INIT;
	int r;

	if (a->uid < 0 || a->gid < 0 || a->config < 0) {
		log_error("listener: needs uid, gid and config");
		return 1;
	}
	l.config_fd = a->config;
	if (gateway_config_load(a->config, &l.config, &e) < 0 || confine(a, &e) < 0) {
		log_error("listener: %s", err_text(&e));
		return 1;
	}
	l.loop = loop_new();
	l.limit = limit_new((size_t)l.config.max_connections, (size_t)l.config.max_per_source);
	l.supervisor = chan_new(GATEWAY_LINK_FD, MSG_LISTENER, MSG_SUPERVISOR);
	if (!l.loop || !l.limit || !l.supervisor ||
	    !(l.timer = loop_timer(l.loop, -1, on_timer, &l)) ||
	    !(l.supervisor_watch =
	            loop_fd(l.loop, GATEWAY_LINK_FD, LOOP_READ, on_supervisor, &l))) {
		log_error("listener: no memory");
		return 1;
	}
	if ((r = confine_seccomp(filter_listener, FILTER_LISTENER_LEN)) < 0) {
		log_error("listener: seccomp: %s", strerrordesc_np(-r));
		return 1;
	}
	(void)chan_send(l.supervisor, "ready", 0, NULL, NULL, 0);
	r = loop_run(l.loop);
	return r < 0 ? 1 : l.status;
}
