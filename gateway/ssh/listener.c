#include "gateway/ssh/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "gateway/ssh/args.h"
#include "gateway/ssh/config.h"
#include "gateway/ssh/limit.h"
#include "gateway/ssh/refusal.h"
#include "gateway/ssh/spare.h"
#include "lib/chan.h"
#include "lib/clock.h"
#include "lib/confine.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"

#include "filters.h"

#define ADDRESS_MAX 64

struct waiting { /* accepted, without a worker yet */
	int fd;
	int64_t until_ns;
	struct source source;
	char peer[ADDRESS_MAX], local[ADDRESS_MAX];
};

struct listener {
	struct loop *loop;
	struct gateway_config config;
	int config_fd;
	struct chan *supervisor, *core;
	struct loop_source *supervisor_watch, *core_watch, *timer;
	struct loop_source *accepting[LISTENER_SOCKETS_MAX];
	int sockets[LISTENER_SOCKETS_MAX];
	size_t nsockets;
	struct spares spares;
	struct limit *limit;
	struct refusals refusals;
	struct waiting queue[LISTENER_QUEUE_MAX]; /* in order, the oldest first */
	size_t nqueue;
	int status;
};

static void on_worker(struct loop *loop, int fd, unsigned what, void *arg);

static void stop(struct listener *l, int status)
{
	l->status = status;
	loop_stop(l->loop);
}

static void watch_chan(struct loop_source *s, const struct chan *c)
{
	if (s && c && chan_fd(c) >= 0)
		loop_fd_watch(s, LOOP_READ | (chan_wants_write(c) ? LOOP_WRITE : 0));
}

/* ---- workers ---- */

static void drop_spare(struct listener *l, struct spare *s)
{
	loop_remove(s->watch);
	s->watch = NULL;
	spare_remove(&l->spares, s);
}

static void core_lost(struct listener *l);

/* A worker without a pair, when there is a core to ask. */
static void ask_pair(struct listener *l, struct spare *s)
{
	if (!l->core || s->state != SPARE_NEW)
		return;
	if (chan_send(l->core, "worker.pair", 0, json_pack("{sI}", "slot", (json_int_t)s->slot),
	        NULL, 0) < 0)
		core_lost(l);
	else
		s->state = SPARE_ASKED;
}

static void accept_or_not(struct listener *l)
{
	unsigned what = l->core && l->nqueue < LISTENER_QUEUE_MAX ? LOOP_READ : 0;

	for (size_t i = 0; i < l->nsockets; i++)
		loop_fd_watch(l->accepting[i], what);
}

/* Hands the connection on. False: this worker is no good; it has been dropped. */
static bool hand_over(struct listener *l, struct spare *s, const struct waiting *w)
{
	if (chan_send(l->core, "conn.accepted", 0,
	        json_pack("{ss ss ss}", "conn", s->conn, "peer", w->peer, "local", w->local), NULL,
	        0) < 0) {
		core_lost(l);
		return false;
	}
	if (chan_send(s->link, "worker.go", 0,
	        json_pack("{ss ss}", "peer", w->peer, "local", w->local), &w->fd, 1) < 0 ||
	    chan_wants_write(s->link)) {
		drop_spare(l, s);
		return false;
	}
	loop_remove(s->watch);
	s->watch = NULL;
	chan_free(s->link);
	s->link = NULL;
	s->state = SPARE_BUSY;
	s->source = w->source;
	(void)chan_send(l->supervisor, "worker.used", 0,
	    json_pack("{sI}", "slot", (json_int_t)s->slot), NULL, 0);
	watch_chan(l->supervisor_watch, l->supervisor);
	return true;
}

static void queue_drop(struct listener *l, size_t n)
{
	memmove(l->queue, l->queue + n, (l->nqueue - n) * sizeof l->queue[0]);
	l->nqueue -= n;
}

static void refuse(struct listener *l, int fd, enum refusal_reason why, const char *peer)
{
	char line[80];
	int n = snprintf(line, sizeof line, "postern: %s\r\n", refusal_text(why));

	/* lines before the version string are allowed (RFC 4253 section 4.2) */
	(void)send(fd, line, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
	(void)close(fd);
	refusal_note(&l->refusals, why, peer);
}

/* Everything that may be due: connections for workers, workers for connections, refusals. */
static void settle(struct listener *l)
{
	int64_t now_ns = clock_mono_ns(), next;
	struct spare *s;

	while (l->core && l->nqueue && (s = spare_ready(&l->spares))) {
		if (!hand_over(l, s, &l->queue[0]))
			continue;
		(void)close(l->queue[0].fd);
		queue_drop(l, 1);
	}
	while (l->nqueue && now_ns >= l->queue[0].until_ns) {
		limit_give(l->limit, l->queue[0].source);
		refuse(l, l->queue[0].fd, REFUSAL_NO_WORKER, l->queue[0].peer);
		queue_drop(l, 1);
	}
	next = refusal_tell(&l->refusals, l->core, now_ns);
	if (l->nqueue && l->queue[0].until_ns < next)
		next = l->queue[0].until_ns;
	loop_timer_set(l->timer, next == INT64_MAX ? -1 : next > now_ns ? next - now_ns : 0);
	accept_or_not(l);
	watch_chan(l->core_watch, l->core);
}

static void on_timer(struct loop *loop, void *arg)
{
	(void)loop;
	settle(arg);
}

/* A spare says nothing: something to read means that it is gone, or mad. */
static void on_worker(struct loop *loop, int fd, unsigned what, void *arg)
{
	struct listener *l = arg;

	(void)loop;
	if (what & LOOP_READ)
		for (struct spare *s = l->spares.first; s; s = s->next)
			if (s->link && chan_fd(s->link) == fd) {
				drop_spare(l, s);
				return;
			}
}

/* ---- connections ---- */

/* The address alone, as certificates' source-address is compared with it. */
static void address(char *dst, const struct sockaddr_storage *ss)
{
	const struct sockaddr_in *in = (const void *)ss;
	const struct sockaddr_in6 *in6 = (const void *)ss;
	const char *p = NULL;

	if (ss->ss_family == AF_INET)
		p = inet_ntop(AF_INET, &in->sin_addr, dst, ADDRESS_MAX);
	else if (ss->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
		p = inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], dst, ADDRESS_MAX);
	else if (ss->ss_family == AF_INET6)
		p = inet_ntop(AF_INET6, &in6->sin6_addr, dst, ADDRESS_MAX);
	if (!p)
		(void)str_copy(dst, ADDRESS_MAX, "unknown");
}

static void take(struct listener *l, int fd, const struct sockaddr_storage *from)
{
	struct waiting *w = &l->queue[l->nqueue];
	struct sockaddr_storage here = {0};
	socklen_t len = sizeof here;
	int r, one = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	memset(w, 0, sizeof *w);
	address(w->peer, from);
	(void)getsockname(fd, (struct sockaddr *)&here, &len);
	address(w->local, &here);
	w->source = limit_source((const struct sockaddr *)from);
	r = limit_take(l->limit, w->source);
	if (r < 0) {
		refuse(l, fd,
		    r == -EBUSY    ? REFUSAL_TOTAL
		    : r == -EDQUOT ? REFUSAL_SOURCE
		                   : REFUSAL_MEMORY,
		    w->peer);
		return;
	}
	w->fd = fd;
	w->until_ns = clock_mono_ns() + LISTENER_WAIT_S * NSEC_PER_SEC;
	l->nqueue++;
}

static void on_accept(struct loop *loop, int fd, unsigned what, void *arg)
{
	struct listener *l = arg;

	(void)loop;
	(void)what;
	while (l->core && l->nqueue < LISTENER_QUEUE_MAX) {
		struct sockaddr_storage from = {0};
		socklen_t len = sizeof from;
		int s = accept4(fd, (struct sockaddr *)&from, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (s < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (s < 0)
			break; /* EAGAIN; or EMFILE and the like: the next event tries again */
		take(l, s, &from);
	}
	settle(l);
}

/* ---- the core ---- */

static void core_lost(struct listener *l)
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
	accept_or_not(l);
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
		drop_spare(l, s);
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
		core_lost(l);
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
			core_lost(l);
			break;
		}
		if (msg_is(&m, "worker.paired"))
			paired(l, &m);
		msg_done(&m);
	}
	settle(l);
}

static void core_linked(struct listener *l, int fd)
{
	core_lost(l);
	l->core = chan_new(fd, MSG_LISTENER, MSG_CORE);
	if (l->core)
		l->core_watch = loop_fd(l->loop, fd, LOOP_READ, on_core, l);
	if (!l->core || !l->core_watch) {
		log_error("no memory");
		core_lost(l);
		return;
	}
	for (struct spare *s = l->spares.first; s && l->core; s = s->next)
		ask_pair(l, s);
}

/* ---- the supervisor ---- */

static void new_socket(struct listener *l, int fd)
{
	struct loop_source *s;

	if (l->nsockets == LISTENER_SOCKETS_MAX ||
	    !(s = loop_fd(l->loop, fd, LOOP_READ, on_accept, l))) {
		log_error("cannot listen on another socket");
		util_close(&fd);
		return;
	}
	l->sockets[l->nsockets] = fd;
	l->accepting[l->nsockets++] = s;
}

static void new_spare(struct listener *l, struct msg *m)
{
	struct chan *link = chan_new(msg_take_fd(m, 0), MSG_LISTENER, MSG_WORKER);
	struct spare *s =
	    link ? spare_add(&l->spares, (uint32_t)msg_int(m, "slot", 0), link) : NULL;

	if (s)
		s->watch = loop_fd(l->loop, chan_fd(s->link), LOOP_READ, on_worker, l);
	if (!s || !s->watch) {
		log_error("a spare worker cannot be used: %m");
		if (s)
			drop_spare(l, s);
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
	drop_spare(l, s);
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
		new_socket(l, msg_take_fd(m, 0));
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
	watch_chan(l->supervisor_watch, l->supervisor);
	settle(l);
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
