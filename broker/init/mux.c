#include "broker/init/mux.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK 32768

void mux_init(struct mux *m, int fd, size_t frame_max,
    int (*control)(void *arg, struct mux_frame *f), void *arg)
{
	memset(m, 0, sizeof *m);
	m->fd = fd;
	m->frame_max = frame_max;
	m->control = control;
	m->arg = arg;
	buf_init(&m->in, frame_max + 4 + CHUNK);
	buf_init(&m->out, MUX_OUT_MAX);
	for (size_t i = 0; i < MUX_CHANNELS_MAX; i++)
		for (size_t k = 0; k < MUX_STREAMS; k++)
			m->channels[i].stream[k].fd = -1;
}

static void drop(struct mux_stream *s)
{
	if (s->fd >= 0)
		(void)close(s->fd);
	free(s->held);
	s->fd = -1;
	s->held = NULL;
	s->off = s->len = 0;
}

void mux_done(struct mux *m)
{
	for (size_t i = 0; i < MUX_CHANNELS_MAX; i++)
		for (size_t k = 0; k < MUX_STREAMS; k++)
			drop(&m->channels[i].stream[k]);
	buf_done(&m->in);
	buf_done(&m->out);
}

/* ---- frames out ---- */

void mux_put(struct mux *m, enum mux_type type, uint32_t channel, unsigned stream, const void *data,
    size_t len)
{
	buf_put_u32(&m->out, (uint32_t)(MUX_HEAD + len));
	buf_put_u8(&m->out, (uint8_t)type);
	buf_put_u32(&m->out, channel);
	buf_put_u8(&m->out, (uint8_t)stream);
	buf_put(&m->out, data, len);
}

void mux_put_u32(struct mux *m, enum mux_type type, uint32_t channel, unsigned stream, uint32_t v)
{
	const uint8_t be[4] = {
	    (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};

	mux_put(m, type, channel, stream, be, sizeof be);
}

bool mux_roomy(const struct mux *m)
{
	return m->out.len < MUX_OUT_FULL;
}

/* ---- channels ---- */

struct mux_channel *mux_find(struct mux *m, uint32_t number)
{
	for (size_t i = 0; i < MUX_CHANNELS_MAX; i++)
		if (m->channels[i].used && m->channels[i].number == number)
			return &m->channels[i];
	return NULL;
}

struct mux_channel *mux_open(struct mux *m, uint32_t number)
{
	if (mux_find(m, number))
		return NULL;
	for (size_t i = 0; i < MUX_CHANNELS_MAX; i++) {
		struct mux_channel *c = &m->channels[i];

		if (c->used)
			continue;
		memset(c, 0, sizeof *c);
		c->used = true;
		c->number = number;
		for (size_t k = 0; k < MUX_STREAMS; k++)
			c->stream[k].fd = -1;
		return c;
	}
	return NULL;
}

static void settle(struct mux_channel *c)
{
	for (size_t k = 0; k < MUX_STREAMS; k++)
		if (c->stream[k].dir != MUX_NONE)
			return;
	c->used = false;
}

static unsigned index_of(const struct mux_channel *c, const struct mux_stream *s)
{
	return (unsigned)(s - c->stream);
}

/* Nothing more is sent. */
static void finish(struct mux *m, struct mux_channel *c, struct mux_stream *s)
{
	if (s->dir != MUX_SENDS)
		return;
	drop(s);
	s->dir = MUX_NONE;
	mux_put(m, MUX_END, c->number, index_of(c, s), NULL, 0);
	settle(c);
}

/* Nobody reads any more; what comes is dropped until END. */
static void forsake(struct mux *m, struct mux_channel *c, struct mux_stream *s)
{
	if (s->fd < 0)
		return;
	drop(s);
	mux_put(m, MUX_GONE, c->number, index_of(c, s), NULL, 0);
}

/* A terminal hangs up in both directions at once. */
static void hang_up(struct mux *m, struct mux_channel *c)
{
	for (unsigned k = 0; k < 2; k++) {
		if (c->stream[k].dir == MUX_SENDS)
			finish(m, c, &c->stream[k]);
		else if (c->stream[k].dir == MUX_TAKES)
			forsake(m, c, &c->stream[k]);
	}
}

void mux_send(struct mux *m, struct mux_channel *c, unsigned stream, int fd)
{
	struct mux_stream *s = &c->stream[stream];

	*s = (struct mux_stream){.dir = MUX_SENDS, .fd = fd, .credit = MUX_WINDOW};
	if (fd < 0)
		finish(m, c, s);
	else
		(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

void mux_take(struct mux *m, struct mux_channel *c, unsigned stream, int fd)
{
	struct mux_stream *s = &c->stream[stream];

	*s = (struct mux_stream){.dir = MUX_TAKES, .fd = fd, .credit = MUX_WINDOW};
	if (fd < 0)
		mux_put(m, MUX_GONE, c->number, stream, NULL, 0);
	else
		(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/* ---- what is taken ---- */

static void credit(struct mux *m, struct mux_channel *c, struct mux_stream *s, size_t n)
{
	s->taken += (uint32_t)n;
	if (s->taken < MUX_WINDOW / 2 || s->ended)
		return;
	mux_put_u32(m, MUX_CREDIT, c->number, index_of(c, s), s->taken);
	s->credit += s->taken;
	s->taken = 0;
}

/* The last byte has been written and END has come. */
static void taken_all(struct mux *m, struct mux_channel *c, struct mux_stream *s)
{
	if (!s->ended || s->len > 0)
		return;
	if (c->tcp && s->fd >= 0)
		(void)shutdown(s->fd, SHUT_WR);
	drop(s);
	s->dir = MUX_NONE;
	if (c->tty)
		hang_up(m, c);
	settle(c);
}

/* How much of it went out; all of it where nobody reads. */
static size_t write_some(
    struct mux *m, struct mux_channel *c, struct mux_stream *s, const uint8_t *data, size_t len)
{
	size_t done = 0;

	while (s->fd >= 0 && done < len) {
		ssize_t n = write(s->fd, data + done, len - done);

		if (n > 0) {
			done += (size_t)n;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return done;
		/* a terminal's end is seen by who reads it, after the last output */
		if (!c->tty)
			forsake(m, c, s);
		return len;
	}
	return s->fd < 0 ? len : done;
}

static int take_data(
    struct mux *m, struct mux_channel *c, struct mux_stream *s, const uint8_t *data, size_t len)
{
	size_t n = 0;

	if (len > MUX_DATA_MAX || len > s->credit || len == 0)
		return -EPROTO;
	s->credit -= (uint32_t)len;
	if (s->len == 0) {
		n = write_some(m, c, s, data, len);
		credit(m, c, s, n);
	}
	if (n == len)
		return 0;
	if (s->fd < 0)
		return 0;
	if (!s->held && !(s->held = malloc(MUX_WINDOW)))
		return -ENOMEM;
	if (s->off + s->len + (len - n) > MUX_WINDOW) {
		memmove(s->held, s->held + s->off, s->len);
		s->off = 0;
	}
	/* fits: what is held is part of a window whose credit is not given back */
	memcpy(s->held + s->off + s->len, data + n, len - n);
	s->len += len - n;
	return 0;
}

static void write_held(struct mux *m, struct mux_channel *c, struct mux_stream *s)
{
	size_t n = write_some(m, c, s, s->held + s->off, s->len);

	if (s->fd < 0)
		n = s->len;
	s->off += n;
	s->len -= n;
	credit(m, c, s, n);
	if (s->len == 0) {
		free(s->held);
		s->held = NULL;
		s->off = 0;
	}
	taken_all(m, c, s);
}

/* ---- what is sent ---- */

static void send_some(struct mux *m, struct mux_channel *c, struct mux_stream *s)
{
	uint8_t data[MUX_DATA_MAX];

	while (s->dir == MUX_SENDS && s->credit > 0 && mux_roomy(m)) {
		size_t want = s->credit < sizeof data ? s->credit : sizeof data;
		ssize_t n = read(s->fd, data, want);

		if (n > 0) {
			s->credit -= (uint32_t)n;
			mux_put(m, MUX_DATA, c->number, index_of(c, s), data, (size_t)n);
			if ((size_t)n < want)
				return;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (c->tty)
			hang_up(m, c);
		else
			finish(m, c, s);
		return;
	}
}

/* ---- frames in ---- */

static int stream_frame(struct mux *m, struct mux_frame *f)
{
	struct mux_channel *c = mux_find(m, f->channel);
	struct mux_stream *s;
	uint32_t n;

	if (f->stream >= MUX_STREAMS)
		return -EPROTO;
	s = c ? &c->stream[f->stream] : NULL;
	switch (f->type) {
	case MUX_DATA:
		return s && s->dir == MUX_TAKES && !s->ended
		           ? take_data(m, c, s, f->body.p, f->body.left)
		           : -EPROTO;
	case MUX_END:
		if (!s || s->dir != MUX_TAKES || s->ended || f->body.left)
			return -EPROTO;
		s->ended = true;
		taken_all(m, c, s);
		return 0;
	case MUX_CREDIT:
		if (reader_u32(&f->body, &n) < 0 || reader_end(&f->body) < 0 || n > MUX_WINDOW)
			return -EPROTO;
		if (!s || s->dir != MUX_SENDS)
			return 0; /* it crossed our END */
		if (n > MUX_WINDOW - s->credit)
			return -EPROTO;
		s->credit += n;
		return 0;
	default:
		if (f->body.left)
			return -EPROTO;
		if (s)
			finish(m, c, s);
		return 0;
	}
}

/* One frame at data[len]; its size, 0 if it is not whole yet. */
static ssize_t one_frame(struct mux *m, const uint8_t *data, size_t len)
{
	struct mux_frame f;
	struct reader r;
	uint32_t size;
	int e;

	reader_init(&r, data, len);
	if (reader_u32(&r, &size) < 0)
		return 0;
	if (size < MUX_HEAD || size > m->frame_max)
		return -EPROTO;
	if (r.left < size)
		return 0;
	r.left = size;
	if (reader_u8(&r, &f.type) < 0 || reader_u32(&r, &f.channel) < 0 ||
	    reader_u8(&r, &f.stream) < 0 || f.type == 0 || f.type >= MUX_TYPES)
		return -EPROTO;
	f.body = r;
	e = f.type >= MUX_DATA ? stream_frame(m, &f) : m->control(m->arg, &f);
	if (e == 0)
		e = buf_status(&m->out);
	return e < 0 ? e : (ssize_t)(size + 4);
}

int mux_feed(struct mux *m, const void *data, size_t len)
{
	size_t done = 0;
	ssize_t n = 0;

	buf_put(&m->in, data, len);
	if (buf_status(&m->in) < 0)
		return buf_status(&m->in);
	while ((n = one_frame(m, m->in.data + done, m->in.len - done)) > 0)
		done += (size_t)n;
	buf_consume(&m->in, done);
	return (int)n;
}

/* ---- the port ---- */

static int receive(struct mux *m)
{
	uint8_t data[CHUNK];
	ssize_t n = read(m->fd, data, sizeof data);

	if (n > 0)
		return mux_feed(m, data, (size_t)n);
	return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -EPIPE;
}

static int flush(struct mux *m)
{
	while (m->out.len > 0) {
		ssize_t n = write(m->fd, m->out.data, m->out.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n <= 0)
			return -EPIPE;
		buf_consume(&m->out, (size_t)n);
	}
	return 0;
}

static short wanted(const struct mux *m, const struct mux_channel *c, const struct mux_stream *s)
{
	if (s->fd < 0)
		return -1;
	if (s->dir == MUX_SENDS)
		return s->credit > 0 && mux_roomy(m) ? POLLIN : -1;
	if (s->len > 0)
		return POLLOUT;
	return c->tty || c->tcp ? -1 : 0; /* 0: tells that the reader has gone */
}

size_t mux_poll(struct mux *m, struct pollfd *p)
{
	size_t n = 1;

	p[0] = (struct pollfd){m->fd, (short)(POLLIN | (m->out.len ? POLLOUT : 0)), 0};
	for (size_t i = 0; i < MUX_CHANNELS_MAX; i++)
		for (size_t k = 0; k < MUX_STREAMS; k++) {
			struct mux_stream *s = &m->channels[i].stream[k];
			short events = m->channels[i].used && s->dir != MUX_NONE
			                   ? wanted(m, &m->channels[i], s)
			                   : -1;

			s->polled = events < 0 ? 0 : n;
			if (events >= 0)
				p[n++] = (struct pollfd){s->fd, events, 0};
		}
	return n;
}

static void serve_stream(
    struct mux *m, struct mux_channel *c, struct mux_stream *s, const struct pollfd *p)
{
	if (!s->polled || s->fd < 0 || !p[s->polled].revents)
		return;
	if (s->dir == MUX_SENDS)
		send_some(m, c, s);
	else if (s->len > 0)
		write_held(m, c, s);
	else
		forsake(m, c, s);
}

int mux_serve(struct mux *m, const struct pollfd *p)
{
	int r;

	for (size_t i = 0; i < MUX_CHANNELS_MAX; i++)
		for (size_t k = 0; k < MUX_STREAMS && m->channels[i].used; k++)
			serve_stream(m, &m->channels[i], &m->channels[i].stream[k], p);
	/* after the streams: what comes now may open channels that were not polled */
	if (p[0].revents & ~POLLOUT && (r = receive(m)) < 0)
		return r;
	if ((r = buf_status(&m->out)) < 0)
		return r;
	return flush(m);
}
