#include "gateway/ssh/listener_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/chan.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"

void listener_accept_or_not(struct listener *l)
{
	unsigned what = l->core && l->nqueue < LISTENER_QUEUE_MAX ? LOOP_READ : 0;

	for (size_t i = 0; i < l->nsockets; i++)
		loop_fd_watch(l->accepting[i], what);
}

/* ---- to a worker ---- */

/* Hands the connection on. False: this worker is no good; it has been dropped. */
static bool hand_over(struct listener *l, struct spare *s, const struct waiting *w)
{
	if (chan_send(l->core, "conn.accepted", 0,
	        json_pack("{ss ss ss}", "conn", s->conn, "peer", w->peer, "local", w->local), NULL,
	        0) < 0) {
		listener_core_lost(l);
		return false;
	}
	if (chan_send(s->link, "worker.go", 0,
	        json_pack("{ss ss}", "peer", w->peer, "local", w->local), &w->fd, 1) < 0 ||
	    chan_wants_write(s->link)) {
		listener_drop_spare(l, s);
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
	listener_watch(l->supervisor_watch, l->supervisor);
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

void listener_settle(struct listener *l)
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
	listener_accept_or_not(l);
	listener_watch(l->core_watch, l->core);
}

/* ---- from the network ---- */

/* The address alone, as certificates' source-address is compared with it. */
static void address(char *dst, const struct sockaddr_storage *ss)
{
	const struct sockaddr_in *in = (const void *)ss;
	const struct sockaddr_in6 *in6 = (const void *)ss;
	const char *p = NULL;

	if (ss->ss_family == AF_INET)
		p = inet_ntop(AF_INET, &in->sin_addr, dst, LISTENER_ADDRESS_MAX);
	else if (ss->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
		p = inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], dst, LISTENER_ADDRESS_MAX);
	else if (ss->ss_family == AF_INET6)
		p = inet_ntop(AF_INET6, &in6->sin6_addr, dst, LISTENER_ADDRESS_MAX);
	if (!p)
		(void)str_copy(dst, LISTENER_ADDRESS_MAX, "unknown");
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
	listener_settle(l);
}

void listener_new_socket(struct listener *l, int fd)
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
