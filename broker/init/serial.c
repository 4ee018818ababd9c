#include "broker/init/serial.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "broker/init/guest.h"
#include "broker/init/mux.h"
#include "broker/init/proto.h"
#include "broker/init/run.h"

#define CONNECTIONS_MAX 16

struct serial {
	struct mux mux;
	const struct serial_ops *ops;
	int listener;
	bool ready;
	uint32_t next; /* connection */
};

static struct serial serial = {.listener = -1, .next = MUX_GUEST};
static struct pollfd polled[MUX_POLL_MAX + 2];

static void shut(int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (fds[i] >= 0)
			(void)close(fds[i]);
}

static void say(struct mux *m, enum mux_type type, const char *text)
{
	struct buf b;

	buf_init(&b, 1024);
	if (type == MUX_HELLO)
		buf_put_u32(&b, MUX_VERSION);
	buf_put_cstring(&b, text);
	mux_put(m, type, 0, 0, b.data, b.len);
	buf_done(&b);
}

/* ---- commands ---- */

/* ours[]: what the streams get; its[]: what the command gets, as broker/init/proto.h has it. */
static int make_pipes(int *ours, int *its)
{
	for (size_t i = 0; i < MUX_STREAMS; i++) {
		int p[2];

		if (pipe2(p, O_CLOEXEC) < 0)
			return -1;
		ours[i] = p[i == 0];
		its[i] = p[i != 0];
	}
	return 0;
}

static int make_tty(int *ours, int *its)
{
	int p[2], unlock = 0;

	if ((ours[0] = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0 ||
	    ioctl(ours[0], TIOCSPTLCK, &unlock) < 0 ||
	    (its[0] = ioctl(ours[0], TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0 ||
	    (ours[1] = fcntl(ours[0], F_DUPFD_CLOEXEC, 3)) < 0 || pipe2(p, O_CLOEXEC) < 0)
		return -1;
	ours[3] = p[0];
	its[1] = p[1];
	return 0;
}

static void refuse(struct mux *m, uint32_t channel, int error)
{
	uint8_t record[2 * INIT_STATUS_LEN];

	init_put_status(record, INIT_FAILED, (uint32_t)error);
	init_put_status(record + INIT_STATUS_LEN, INIT_EXITED, 126);
	mux_put(m, MUX_DATA, channel, 3, record, sizeof record);
}

static void resize(struct mux_channel *c, struct reader *r)
{
	uint32_t v[4];
	struct winsize w;

	for (size_t i = 0; i < 4; i++)
		if (reader_u32(r, &v[i]) < 0)
			return;
	w = (struct winsize){
	    (unsigned short)v[0], (unsigned short)v[1], (unsigned short)v[2], (unsigned short)v[3]};
	if (c && c->tty && c->stream[0].fd >= 0)
		(void)ioctl(c->stream[0].fd, TIOCSWINSZ, &w);
}

static int exec_request(struct serial *s, uint32_t number, const struct init_request *q)
{
	int ours[MUX_STREAMS] = {-1, -1, -1, -1}, its[MUX_STREAMS] = {-1, -1, -1, -1};
	bool tty = q->flags & INIT_PTY;
	struct mux_channel *c = mux_open(&s->mux, number);

	if (!c)
		return -EPROTO; /* the host counts as we do */
	if ((tty ? make_tty(ours, its) : make_pipes(ours, its)) < 0) {
		refuse(&s->mux, number, errno);
		shut(ours, MUX_STREAMS);
		shut(its, MUX_STREAMS);
		memset(ours, -1, sizeof ours);
		memset(its, -1, sizeof its);
	}
	c->tty = tty;
	/* the one that takes first: a channel whose streams have all ended is gone */
	mux_take(&s->mux, c, 0, ours[0]);
	for (unsigned k = 1; k < MUX_STREAMS; k++)
		if (!(tty && k == 2))
			mux_send(&s->mux, c, k, ours[k]);
	if (its[0] >= 0)
		s->ops->handle(q, its, tty ? 2 : 4);
	shut(its, MUX_STREAMS);
	return 0;
}

static int request(struct serial *s, struct mux_frame *f)
{
	struct init_request q;
	int r = init_parse(&q, f->body.p, f->body.left);

	if (r == 0 && q.type == INIT_EXEC)
		r = exec_request(s, f->channel, &q);
	else if (r == 0)
		s->ops->handle(&q, NULL, 0);
	init_request_done(&q);
	return r;
}

static int control(void *arg, struct mux_frame *f)
{
	struct serial *s = arg;
	struct guest_config c;
	const char *step;
	char text[128];
	int e;

	switch (f->type) {
	case MUX_CONFIG:
		if (s->ready || guest_config(&c, &f->body) < 0)
			return -EPROTO;
		step = guest_enter(&c, &s->listener);
		e = errno;
		if (step) {
			(void)snprintf(text, sizeof text, "%s: %s", step, strerror(e));
			say(&s->mux, MUX_FAIL, text);
			return 0;
		}
		s->ready = true;
		mux_put(&s->mux, MUX_READY, 0, 0, NULL, 0);
		return 0;
	case MUX_REQUEST:
		return s->ready ? request(s, f) : -EPROTO;
	case MUX_RESIZE:
		resize(mux_find(&s->mux, f->channel), &f->body);
		return 0;
	default:
		return -EPROTO;
	}
}

/* ---- credentials ---- */

static size_t connections(const struct mux *m)
{
	size_t n = 0;

	for (size_t i = 0; i < MUX_CHANNELS_MAX; i++)
		n += m->channels[i].used && m->channels[i].tcp;
	return n;
}

static void knock(struct serial *s)
{
	int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), again;
	struct mux_channel *c;

	if (fd < 0)
		return;
	again = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	c = again < 0 ? NULL : mux_open(&s->mux, s->next);
	if (!c) {
		(void)close(fd);
		if (again >= 0)
			(void)close(again);
		return;
	}
	s->next = MUX_GUEST | (s->next + 1);
	c->tcp = true;
	mux_put(&s->mux, MUX_OPEN, c->number, 0, NULL, 0);
	mux_take(&s->mux, c, 0, fd);
	mux_send(&s->mux, c, 1, again);
}

/* ---- the loop ---- */

static int turn(struct serial *s, int child)
{
	size_t n = mux_poll(&s->mux, polled), at = n;
	struct signalfd_siginfo info;
	int r;

	polled[n++] = (struct pollfd){child, POLLIN, 0};
	polled[n++] =
	    (struct pollfd){connections(&s->mux) < CONNECTIONS_MAX ? s->listener : -1, POLLIN, 0};
	if (poll(polled, n, s->ops->timeout()) < 0)
		return errno == EINTR ? 0 : -errno;
	if (polled[at].revents) {
		while (read(child, &info, sizeof info) > 0)
			;
		(void)s->ops->reap();
	}
	if ((r = mux_serve(&s->mux, polled)) < 0)
		return r;
	if (polled[at + 1].revents)
		knock(s);
	return s->ops->over() ? -ESHUTDOWN : 0;
}

int serial_main(const struct serial_ops *ops, int child)
{
	struct serial *s = &serial;
	const char *step;
	struct utsname u;
	int fd = guest_boot(&step), r;

	if (fd < 0) {
		(void)fprintf(stderr, "postern-init: %s: %s\n", step, strerror(errno));
		return 1;
	}
	s->ops = ops;
	mux_init(&s->mux, fd, INIT_REQUEST_MAX + MUX_HEAD, control, s);
	say(&s->mux, MUX_HELLO, uname(&u) == 0 ? u.release : "unknown");
	while ((r = turn(s, child)) == 0)
		;
	/* the kernel has nothing left to run, and stops the machine */
	return r == -ESHUTDOWN ? 0 : 1;
}
