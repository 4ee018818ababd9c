#include "broker/core/peer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "broker/core/core.h"
#include "lib/chan.h"
#include "lib/chan_loop.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"

#define PUMP_MAX 64                    /* messages of one peer in one turn */
#define PUMP_NS  (NSEC_PER_SEC / 1000) /* for the same: large ones take longer to read */

static void on_ready(struct loop *l, int fd, unsigned what, void *arg);

/* No event may come for a descriptor that chan has closed, least of all when its number is used
 * again. */
static void unwatch(struct peer *p)
{
	loop_remove(p->source);
	p->source = NULL;
}

struct peer *peer_new(struct core *c, int fd, const struct peer_class *cls, void *owner)
{
	struct peer *p = calloc(1, sizeof *p);

	if (!p) {
		util_close(&fd);
		return NULL;
	}
	p->chan = chan_new(fd, MSG_CORE, cls->role);
	if (p->chan)
		p->source = loop_fd(c->loop, fd, LOOP_READ, on_ready, p);
	if (!p->source) {
		log_error("no link to a %s: %m", cls->who);
		chan_free(p->chan);
		free(p);
		return NULL;
	}
	if (cls->urgent)
		loop_fd_urgent(p->source);
	(void)chan_peercred(p->chan, &p->pid, &p->uid, &p->gid);
	p->core = c;
	p->cls = cls;
	p->owner = owner;
	p->serial = ++c->serial;
	p->next = c->peers;
	c->peers = p;
	return p;
}

struct peer *peer_find(struct core *c, uint64_t serial)
{
	for (struct peer *p = c->peers; p; p = p->next)
		if (p->serial == serial && !p->closed)
			return p;
	return NULL;
}

void peer_close(struct peer *p)
{
	if (!p || p->closed)
		return;
	p->closed = true;
	/* what is still queued is sent now or never; the descriptor is closed at the end of the
	 * turn, but the supervisor may have a copy, so the peer is told */
	if (chan_flush(p->chan) == 0)
		(void)shutdown(chan_fd(p->chan), SHUT_RDWR);
	unwatch(p);
	loop_defer_arm(p->core->reap);
}

/* The link is dead: tells the owner, once. */
static void lose(struct peer *p)
{
	if (p->closed)
		return;
	p->closed = true;
	unwatch(p);
	loop_defer_arm(p->core->reap);
	if (p->cls->gone)
		p->cls->gone(p);
}

static void update(struct peer *p)
{
	if (p->closed)
		return;
	if (chan_fd(p->chan) < 0) {
		/* not here: the sender may be in the middle of something */
		unwatch(p);
		p->lost = true;
		loop_defer_arm(p->core->reap);
		return;
	}
	chan_watch(p->chan, p->source);
}

int peer_send_fds(
    struct peer *p, const char *type, uint64_t id, json_t *body, const int *fds, size_t nfds)
{
	int r;

	if (!p || p->closed || p->lost) {
		json_decref(body);
		return -EPIPE;
	}
	r = chan_send(p->chan, type, id, body, fds, nfds);
	if (r == -EINVAL)
		log_error("cannot send %s to a %s: %s", type, p->cls->who, chan_why(p->chan));
	update(p);
	return r;
}

int peer_send(struct peer *p, const char *type, uint64_t id, json_t *body)
{
	return peer_send_fds(p, type, id, body, NULL, 0);
}

uint64_t peer_question(struct peer *p)
{
	return chan_next_id(p->chan);
}

bool peer_rude(struct core *c, unsigned *ret_unsaid)
{
	int64_t now = clock_mono_ns();

	if (now - c->rude_ns >= NSEC_PER_SEC) {
		c->rude_ns = now;
		c->rude = 0;
	}
	if (c->rude >= PEER_RUDE_MAX) {
		c->unsaid++;
		return false;
	}
	c->rude++;
	*ret_unsaid = c->unsaid;
	c->unsaid = 0;
	return true;
}

static void drop(struct peer *p, const struct err *why)
{
	char shown[ERR_TEXT_MAX];
	unsigned unsaid;

	str_escape(shown, sizeof shown, err_text(why), strlen(err_text(why)));
	if (peer_rude(p->core, &unsaid)) {
		log_warn("a %s (pid %d) broke a rule and is dropped: %s", p->cls->who, (int)p->pid,
		    shown);
		(void)note(p->core, "peer.dropped", NULL,
		    json_pack("{s:s, s:i, s:I}", "peer", p->cls->who, "pid", (int)p->pid, "uid",
		        (json_int_t)p->uid),
		    json_pack("{s:s, s:I}", "rule", shown, "unsaid", (json_int_t)unsaid));
	}
	lose(p);
}

static int handle(struct peer *p, struct msg *m, struct err *e)
{
	for (const struct peer_handler *h = p->cls->handlers; h->type; h++)
		if (msg_is(m, h->type))
			return h->fn(p, m, e);
	return err_set(e, -EPERM, "%s is nothing that a %s says", m->type->name, p->cls->who);
}

void peer_pump(struct peer *p)
{
	int64_t end_ns = clock_mono_ns() + PUMP_NS;

	for (int i = 0; i < PUMP_MAX && !p->closed && !p->lost; i++) {
		struct msg m = MSG_INIT;
		struct err e = ERR_INIT;
		int r;

		/* those that everybody waits for are read as far as they go */
		if (i > 0 && !p->cls->urgent && clock_mono_ns() >= end_ns)
			break;
		if (p->cls->before && !p->cls->before(p))
			break;
		if (p->closed || p->lost)
			return;
		r = chan_recv(p->chan, &m, &e);
		if (r == -EAGAIN)
			break;
		if (r == 0) {
			lose(p);
			return;
		}
		if (r > 0) {
			r = handle(p, &m, &e);
			msg_done(&m);
		}
		if (r < 0) {
			drop(p, &e);
			return;
		}
	}
	update(p);
}

static void on_ready(struct loop *l, int fd, unsigned what, void *arg)
{
	struct peer *p = arg;

	(void)l;
	(void)fd;
	if (what & LOOP_WRITE)
		(void)chan_flush(p->chan);
	if (what & LOOP_READ)
		peer_pump(p);
	else
		update(p);
}

/* Which peer is lost and not yet told? Its gone() may add and close others, so start again each
 * time. */
static struct peer *next_lost(struct core *c)
{
	for (struct peer *p = c->peers; p; p = p->next)
		if (p->lost && !p->closed)
			return p;
	return NULL;
}

void peers_reap(struct core *c)
{
	struct peer *p, **at = &c->peers;

	while ((p = next_lost(c)))
		lose(p);
	while ((p = *at)) {
		if (!p->closed) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		chan_free(p->chan);
		free(p);
	}
}

void peers_abandon(struct core *c)
{
	for (struct peer *p = c->peers; p; p = p->next) {
		if (!p->closed)
			unwatch(p);
		p->closed = true;
	}
}

void peers_free(struct core *c)
{
	peers_abandon(c);
	peers_reap(c);
}
