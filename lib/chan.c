#include "lib/chan.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/msg.h"
#include "lib/seqpacket.h"
#include "lib/util.h"

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83 /* Linux 6.16, asm-generic/socket.h */
#endif

/* What waits costs at least this much of the queue, so that tiny records are bounded as well. */
#define RECORD_COST 256

struct record {
	struct record *next;
	size_t len, nfds;
	int fds[MSG_FDS_MAX];
	uint8_t data[];
};

_Static_assert(SEQPACKET_FDS_MAX == MSG_FDS_MAX, "a record must fit");

struct kept {
	struct kept *next;
	struct msg m;
};

struct chan {
	int fd;
	unsigned self, peer, phase;
	bool gone; /* the peer takes no more; what it had said may still be read */
	uint64_t last_id;
	struct record *first, **last;
	size_t queued, queued_fds;
	struct kept *kept, **kept_last;
	size_t nkept;
	struct err why;
};

static bool peer_sends_fds(unsigned self, unsigned peer)
{
	for (const struct msg_type *t = msg_types; t->name; t++)
		if ((t->from & peer) && (t->to & self) && t->fds_max > 0)
			return true;
	return false;
}

void chan_refuse_fds(int fd)
{
	const int off = 0;

	(void)setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &off, sizeof off);
}

struct chan *chan_new(int fd, unsigned self, unsigned peer)
{
	const int room = 2 * (int)MSG_MAX;
	int have = 0, r = fd_set_nonblock(fd, true);
	socklen_t size = sizeof have;
	struct chan *c = r < 0 ? NULL : calloc(1, sizeof *c);

	if (!c) {
		if (r < 0)
			errno = -r;
		util_close(&fd);
		return NULL;
	}
	/* a record has to fit the sender's buffer as a whole; the default is enough unless it was
	 * lowered */
	if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &have, &size) == 0 && have < room)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
	if (!peer_sends_fds(self, peer))
		chan_refuse_fds(fd);
	c->fd = fd;
	c->self = self;
	c->peer = peer;
	c->phase = MSG_PHASE_OPEN;
	c->last = &c->first;
	c->kept_last = &c->kept;
	return c;
}

static void record_free(struct record *q)
{
	for (size_t i = 0; i < q->nfds; i++)
		util_close(&q->fds[i]);
	free(q);
}

static struct record *record_pop(struct chan *c)
{
	struct record *q = c->first;

	c->first = q->next;
	if (!c->first)
		c->last = &c->first;
	c->queued -= q->len + RECORD_COST;
	c->queued_fds -= q->nfds;
	return q;
}

static void drop_queue(struct chan *c)
{
	while (c->first)
		record_free(record_pop(c));
}

/* The peer sees a close; what it was still owed is dropped. What chan_call() kept aside came before
 * and may still be read. */
static void shut(struct chan *c)
{
	util_close(&c->fd);
	drop_queue(c);
}

void chan_free(struct chan *c)
{
	int saved = errno;

	if (!c)
		return;
	shut(c);
	while (c->kept) {
		struct kept *k = c->kept;

		c->kept = k->next;
		msg_done(&k->m);
		free(k);
	}
	free(c);
	errno = saved;
}

int chan_fd(const struct chan *c)
{
	return c->fd;
}

void chan_set_phase(struct chan *c, unsigned phase)
{
	c->phase = phase;
}

unsigned chan_phase(const struct chan *c)
{
	return c->phase;
}

int chan_peercred(const struct chan *c, pid_t *ret_pid, uid_t *ret_uid, gid_t *ret_gid)
{
	struct ucred u;
	socklen_t size = sizeof u;

	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &u, &size) < 0)
		return -errno;
	if (ret_pid)
		*ret_pid = u.pid;
	if (ret_uid)
		*ret_uid = u.uid;
	if (ret_gid)
		*ret_gid = u.gid;
	return 0;
}

uint64_t chan_next_id(struct chan *c)
{
	return ++c->last_id;
}

const char *chan_why(const struct chan *c)
{
	return c->why.text;
}

/* ---- out ---- */

static int enqueue(struct chan *c, const struct buf *b, const int *fds, size_t nfds)
{
	struct record *q;

	if (c->queued + b->len + RECORD_COST > CHAN_QUEUE_MAX ||
	    c->queued_fds + nfds > CHAN_QUEUE_FDS_MAX)
		return -ENOBUFS;
	q = malloc(sizeof *q + b->len);
	if (!q)
		return -ENOBUFS;
	q->next = NULL;
	q->len = b->len;
	q->nfds = 0;
	memcpy(q->data, b->data, b->len);
	for (size_t i = 0; i < nfds; i++) {
		q->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
		if (q->fds[i] < 0) {
			record_free(q);
			return -ENOBUFS;
		}
		q->nfds++;
	}
	*c->last = q;
	c->last = &q->next;
	c->queued += q->len + RECORD_COST;
	c->queued_fds += q->nfds;
	return 0;
}

/* The record to send, checked as its receiver will. */
static int prepare(
    struct chan *c, struct buf *b, const char *type, uint64_t id, json_t *body, size_t nfds)
{
	const struct msg_type *t = msg_type_find(type);

	c->why = (struct err)ERR_INIT;
	if (!t || !(t->from & c->self) || !(t->to & c->peer))
		return err_set(&c->why, -EINVAL, "%s: not ours to send to this peer", type);
	if (!body)
		return err_set(&c->why, -EINVAL, "%s: no body", type);
	return msg_encode(b, type, id, body, nfds, &c->why) < 0 ? -EINVAL : 0;
}

/* A peer that has gone may have said something first, so then the descriptor stays open for
 * reading. */
static int send_failed(struct chan *c, int r)
{
	if (r == -EPIPE) {
		c->gone = true;
		drop_queue(c);
		return r;
	}
	shut(c);
	return r == -ENOBUFS ? r : -EPIPE;
}

int chan_send(
    struct chan *c, const char *type, uint64_t id, json_t *body, const int *fds, size_t nfds)
{
	cleanup_buf struct buf b;
	const struct msg_type *t = body ? NULL : msg_type_find(type);
	json_auto_t *owned = body;
	int r;

	buf_init(&b, MSG_MAX);
	/* for a type that has fields no body means that json_pack() found no memory */
	if (t && !t->fields[0].name)
		owned = json_object();
	if ((r = prepare(c, &b, type, id, owned, nfds)) < 0)
		return r;
	if (c->fd < 0 || c->gone)
		return -EPIPE;
	r = c->first ? -EAGAIN : seqpacket_send(c->fd, b.data, b.len, fds, nfds);
	if (r == -EAGAIN)
		r = enqueue(c, &b, fds, nfds);
	if (r == 0)
		return 0;
	if (r == -EBADF) /* not one of the caller's descriptors */
		return err_set(&c->why, -EINVAL, "%s: not a descriptor", type);
	return send_failed(c, r);
}

bool chan_wants_write(const struct chan *c)
{
	return c->first != NULL;
}

int chan_flush(struct chan *c)
{
	if (c->fd < 0 || c->gone)
		return -EPIPE;
	while (c->first) {
		const struct record *q = c->first;
		int r = seqpacket_send(c->fd, q->data, q->len, q->fds, q->nfds);

		if (r == -EAGAIN)
			return 0;
		if (r < 0)
			return send_failed(c, r);
		record_free(record_pop(c));
	}
	return 0;
}

/* ---- in ---- */

/* One record from the socket; as chan_recv(), without shutting down. */
static int receive_msg(struct chan *c, struct msg *m, struct err *e)
{
	struct seqpacket p;
	int r = seqpacket_recv(c->fd, MSG_MAX, &p);

	if (r == -EMSGSIZE)
		return err_set(e, r, "a record of more than %u bytes", MSG_MAX);
	if (r == -EPROTO)
		return err_set(e, r, "a record with more than %d descriptors", SEQPACKET_FDS_MAX);
	if (r < 0 && r != -EAGAIN)
		return err_set(e, r, "%s", strerrordesc_np(-r));
	if (r <= 0)
		return r;
	r = msg_decode(m, c->peer, c->self, c->phase, p.data, p.len, p.fds, p.nfds, e);
	free(p.data);
	return r < 0 ? r : 1;
}

static int recv_socket(struct chan *c, struct msg *m, struct err *e)
{
	int r;

	if (c->fd < 0)
		return 0;
	r = receive_msg(c, m, e);
	if (r != 1 && r != -EAGAIN)
		shut(c);
	return r;
}

int chan_recv(struct chan *c, struct msg *m, struct err *e)
{
	struct kept *k = c->kept;

	if (!k)
		return recv_socket(c, m, e);
	c->kept = k->next;
	if (!c->kept)
		c->kept_last = &c->kept;
	c->nkept--;
	*m = k->m;
	free(k);
	return 1;
}

bool chan_pending(const struct chan *c)
{
	return c->kept != NULL;
}

/* Waits for the socket until deadline_ns. 0, or -ETIMEDOUT. */
static int wait_for(struct chan *c, int64_t deadline_ns)
{
	int64_t left = deadline_ns - clock_mono_ns();
	struct pollfd p = {c->fd, POLLIN, 0};
	struct timespec t;
	int n;

	if (left <= 0)
		return -ETIMEDOUT;
	if (c->first)
		p.events |= POLLOUT;
	t.tv_sec = left / NSEC_PER_SEC;
	t.tv_nsec = left % NSEC_PER_SEC;
	n = ppoll(&p, 1, &t, NULL);
	if (n < 0 && errno != EINTR)
		return -errno;
	if (n > 0 && (p.revents & POLLOUT))
		(void)chan_flush(c); /* a peer that is gone shows when we read */
	return 0;
}

/* A message for somebody else, until chan_recv() asks. Takes m over. */
static int keep(struct chan *c, struct msg *m, struct err *e)
{
	struct kept *k = c->nkept < CHAN_KEPT_MAX ? malloc(sizeof *k) : NULL;

	if (!k) {
		msg_done(m);
		shut(c);
		return err_set(e, -ENOBUFS, "more messages than can be kept while waiting");
	}
	k->next = NULL;
	k->m = *m;
	*c->kept_last = k;
	c->kept_last = &k->next;
	c->nkept++;
	return 0;
}

int chan_call(struct chan *c, const char *type, json_t *body, const int *fds, size_t nfds,
    int64_t deadline_ns, struct msg *ret, struct err *e)
{
	uint64_t id = chan_next_id(c);
	struct msg m = MSG_INIT;
	int r = chan_send(c, type, id, body, fds, nfds);

	if (r == -EPIPE)
		return err_set(e, -ECONNRESET, "%s: the peer has closed", type);
	if (r < 0)
		return err_set(
		    e, r, "%s: cannot be sent%s%s", type, c->why.text[0] ? ": " : "", c->why.text);
	for (;;) {
		r = recv_socket(c, &m, e);
		if (r == 0)
			return err_set(e, -ECONNRESET, "%s: the peer has closed", type);
		if (r == 1 && m.id == id) {
			*ret = m;
			return 0;
		}
		if (r == 1)
			r = keep(c, &m, e);
		else if (r == -EAGAIN && (r = wait_for(c, deadline_ns)) < 0)
			return err_set(e, r, "%s: no answer in time", type);
		if (r < 0)
			return r;
	}
}
