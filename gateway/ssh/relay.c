#include "gateway/ssh/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <libssh/libssh.h>
#include <string.h>
#include <unistd.h>

#include "gateway/ssh/channel.h"
#include "gateway/ssh/conn.h"
#include "lib/err.h"
#include "lib/util.h"

#define PIPE_ROOM (256 * 1024) /* asked for once a pipe was found full */

void relay_init(struct channel *ch)
{
	ch->in.fd = ch->out[0].fd = ch->out[1].fd = -1;
	buf_init(&ch->in.pending, 2 * RELAY_WINDOW_MAX);
	for (unsigned i = 0; i < 2; i++)
		buf_init(&ch->out[i].tail, RELAY_TAIL_MAX);
}

void relay_done(struct channel *ch)
{
	relay_close_in(ch);
	relay_close_out(ch);
	buf_done(&ch->in.pending);
	tap_chain_done(&ch->in.taps);
	for (unsigned i = 0; i < 2; i++) {
		buf_done(&ch->out[i].tail);
		tap_chain_done(&ch->out[i].taps);
	}
}

/* A terminal's master is one descriptor in both directions: out[0] owns it. */
void relay_close_in(struct channel *ch)
{
	if (ch->pty)
		ch->in.fd = -1;
	util_close(&ch->in.fd);
	buf_done(&ch->in.pending);
}

void relay_close_out(struct channel *ch)
{
	if (ch->pty && ch->out[0].fd >= 0)
		relay_close_in(ch);
	util_close(&ch->out[0].fd);
	util_close(&ch->out[1].fd);
}

/* ---- towards the command ---- */

static void tap_failed(struct channel *ch, const struct err *e)
{
	conn_end(ch->conn, WORKER_PROTOCOL, err_text(e));
}

/* As write(2); a command that does not read any more is no error: what comes is dropped. */
static size_t write_some(struct channel *ch, const uint8_t *data, size_t len)
{
	size_t done = 0;

	while (done < len && ch->in.fd >= 0) {
		ssize_t n = write(ch->in.fd, data + done, len - done);

		if (n > 0)
			done += (size_t)n;
		else if (n < 0 && errno == EINTR)
			continue;
		else if (n < 0 && errno == EAGAIN)
			break;
		else
			relay_close_in(ch);
	}
	return ch->in.fd >= 0 ? done : len;
}

static bool transparent(const struct tap_chain *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (!c->taps[i]->ops->transparent || !c->taps[i]->ops->transparent(c->taps[i]))
			return false;
	return true;
}

static void seen(struct tap_chain *c, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < c->n; i++)
		c->taps[i]->ops->seen(c->taps[i], data, len);
}

/* Through the taps into pending, as a whole. */
static void feed(struct channel *ch, const uint8_t *data, size_t len)
{
	cleanup_buf struct buf scratch;
	const uint8_t *out = NULL;
	struct err e = ERR_INIT;
	size_t n = 0;

	buf_init(&scratch, 2 * RELAY_WINDOW_MAX);
	if ((len ? tap_chain_bytes(&ch->in.taps, data, len, &scratch, &out, &n, &e)
	         : tap_chain_end(&ch->in.taps, &scratch, &out, &n, &e)) < 0) {
		tap_failed(ch, &e);
		return;
	}
	if (n)
		buf_put(&ch->in.pending, out, n);
	if (buf_status(&ch->in.pending) < 0)
		conn_fail(ch->conn, WORKER_INTERNAL, "no memory");
}

static void flush_pending(struct channel *ch)
{
	struct buf *b = &ch->in.pending;

	if (!b->len)
		return;
	buf_consume(b, write_some(ch, b->data, b->len));
	if (!b->len)
		buf_done(b);
}

size_t relay_take(struct channel *ch, const void *data, size_t len)
{
	struct inflow *in = &ch->in;
	size_t n;

	/* libssh frees its buffer when it finds no memory and goes on: never with our client's
	 * bytes */
	if (len < in->unread) {
		conn_fail(ch->conn, WORKER_INTERNAL, "bytes were lost for want of memory");
		return len;
	}
	if (len > RELAY_WINDOW_MAX) {
		conn_fail(ch->conn, WORKER_PROTOCOL, "more bytes than the window allows");
		return len;
	}
	in->unread = len;
	if (ch->state < CHANNEL_RUNNING || in->pending.len)
		return 0;
	if (ch->state == CHANNEL_RUNNING && in->fd >= 0) {
		if (transparent(&in->taps)) {
			n = write_some(ch, data, len);
			seen(&in->taps, data, n);
			in->unread -= n;
			return n;
		}
		feed(ch, data, len);
		flush_pending(ch);
	}
	in->unread = 0;
	return len;
}

/* The whole rest in one read: see relay.h. */
static void take_rest(struct channel *ch)
{
	cleanup_free uint8_t *rest = malloc(ch->in.unread);
	int n;

	if (!rest) {
		conn_fail(ch->conn, WORKER_INTERNAL, "no memory");
		return;
	}
	n = ssh_channel_read_nonblocking(ch->ssh, rest, (uint32_t)ch->in.unread, 0);
	if (n < 0 || (size_t)n != ch->in.unread) {
		conn_fail(
		    ch->conn, WORKER_INTERNAL, "libssh gave %d of %zu bytes", n, ch->in.unread);
		return;
	}
	ch->in.unread = 0;
	if (ch->in.fd < 0)
		return;
	if (transparent(&ch->in.taps)) {
		size_t done = write_some(ch, rest, (size_t)n);

		seen(&ch->in.taps, rest, (size_t)n);
		if (done < (size_t)n)
			buf_put(&ch->in.pending, rest + done, (size_t)n - done);
		if (buf_status(&ch->in.pending) < 0)
			conn_fail(ch->conn, WORKER_INTERNAL, "no memory");
		return;
	}
	feed(ch, rest, (size_t)n);
	flush_pending(ch);
}

void relay_in(struct channel *ch)
{
	if (ch->state != CHANNEL_RUNNING)
		return;
	flush_pending(ch);
	if (!ch->in.pending.len && ch->in.unread)
		take_rest(ch);
	if (ch->in.eof && !ch->in.unread && !ch->in.pending.len && ch->in.fd >= 0 && !ch->pty) {
		if (ch->in.taps.n && !transparent(&ch->in.taps)) {
			feed(ch, NULL, 0);
			flush_pending(ch);
			tap_chain_done(&ch->in.taps);
			if (ch->in.pending.len)
				return;
		}
		relay_close_in(ch);
	}
}

/* ---- towards the client ---- */

/* Sends, and keeps what the session would not take. */
static void send_some(struct channel *ch, unsigned stream, const uint8_t *data, size_t len)
{
	struct buf *tail = &ch->out[stream].tail;
	int n;

	n = stream ? ssh_channel_write_stderr(ch->ssh, data, (uint32_t)len)
	           : ssh_channel_write(ch->ssh, data, (uint32_t)len);
	if (n < 0)
		n = (int)len; /* the channel is closed, or the session at its end: that shows
		                 elsewhere */
	if ((size_t)n < len)
		buf_put(tail, data + n, len - (size_t)n);
	if (buf_status(tail) < 0)
		conn_fail(ch->conn, WORKER_INTERNAL, "no memory");
}

static bool may_send(const struct channel *ch)
{
	return !ch->client_closed && !ch->conn->over &&
	       !(ssh_get_status(ch->conn->ssh) &
	           (SSH_WRITE_PENDING | SSH_CLOSED | SSH_CLOSED_ERROR)) &&
	       ssh_channel_window_size(ch->ssh) > 0;
}

static bool send_tail(struct channel *ch, unsigned stream)
{
	struct buf mine = ch->out[stream].tail;

	if (!mine.len || !may_send(ch))
		return false;
	/* our own copy meanwhile: the write may leave a new tail */
	buf_init(&ch->out[stream].tail, RELAY_TAIL_MAX);
	send_some(ch, stream, mine.data, mine.len);
	buf_done(&mine);
	return true;
}

static void out_ended(struct channel *ch, unsigned stream)
{
	struct outflow *o = &ch->out[stream];
	cleanup_buf struct buf scratch;
	const uint8_t *out = NULL;
	struct err e = ERR_INIT;
	size_t n = 0;

	if (ch->pty)
		relay_close_in(ch);
	util_close(&o->fd);
	buf_init(&scratch, RELAY_TAIL_MAX);
	if (tap_chain_end(&o->taps, &scratch, &out, &n, &e) < 0)
		tap_failed(ch, &e);
	else if (n)
		buf_put(&o->tail, out, n);
}

static void pass_on(struct channel *ch, unsigned stream, const uint8_t *data, size_t len)
{
	struct outflow *o = &ch->out[stream];
	cleanup_buf struct buf scratch;
	const uint8_t *out = data;
	struct err e = ERR_INIT;

	buf_init(&scratch, RELAY_TAIL_MAX);
	if (tap_chain_bytes(&o->taps, data, len, &scratch, &out, &len, &e) < 0) {
		tap_failed(ch, &e);
		return;
	}
	if (len)
		send_some(ch, stream, out, len);
}

bool relay_out(struct channel *ch, unsigned stream)
{
	struct outflow *o = &ch->out[stream];
	struct conn *c = ch->conn;
	uint32_t room;
	ssize_t n;

	if (send_tail(ch, stream))
		return true;
	if (o->fd < 0 || o->tail.len || !may_send(ch))
		return false;
	room = ssh_channel_window_size(ch->ssh);
	n = read(o->fd, c->block, room < CONN_BLOCK ? room : CONN_BLOCK);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		o->dry = errno == EAGAIN;
		o->wake = false;
		return false;
	}
	o->dry = false;
	o->wake = n > 0 && (size_t)n == (room < CONN_BLOCK ? room : CONN_BLOCK);
	if (n <= 0) { /* a terminal whose other side is closed answers EIO */
		out_ended(ch, stream);
		return true;
	}
	if (!o->grown && n >= 65536 && !ch->pty) {
		o->grown = true;
		(void)fcntl(o->fd, F_SETPIPE_SZ, PIPE_ROOM);
	}
	if (ch->ended_ns)
		ch->ended_bytes += (uint64_t)n;
	pass_on(ch, stream, c->block, (size_t)n);
	return true;
}

void relay_say(struct channel *ch, const char *text)
{
	buf_put(&ch->out[1].tail, text, strlen(text));
	if (ch->pty)
		buf_put(&ch->out[1].tail, "\r", 1);
	buf_put(&ch->out[1].tail, "\n", 1);
}

bool relay_tails(const struct channel *ch)
{
	return ch->out[0].tail.len || ch->out[1].tail.len;
}

size_t relay_poll(const struct channel *ch, bool may_write, struct pollfd *p)
{
	size_t n = 0;

	if (ch->in.fd >= 0 && (ch->in.pending.len || ch->in.unread))
		p[n++] = (struct pollfd){ch->in.fd, POLLOUT, 0};
	for (unsigned i = 0; i < 2; i++)
		if (ch->out[i].fd >= 0 && !ch->out[i].tail.len && may_write && may_send(ch))
			p[n++] = (struct pollfd){ch->out[i].fd, POLLIN, 0};
	return n;
}

void relay_woken(struct channel *ch, const struct pollfd *p, size_t n)
{
	for (size_t k = 0; k < n; k++)
		for (unsigned i = 0; i < 2; i++)
			if (p[k].events == POLLIN && p[k].revents && p[k].fd == ch->out[i].fd)
				ch->out[i].wake = true;
}
