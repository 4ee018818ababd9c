#include "broker/vm/bridge.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/init/proto.h"
#include "lib/clock.h"
#include "lib/str.h"
#include "lib/util.h"

#define CRED_PORT 4712 /* PLAN_CRED_PORT */
#define SIZE_MS   200  /* nobody tells us of a terminal's new size: it is looked at */
#define FDS_MAX   4

/* ---- requests ---- */

static void refuse(int status, int error)
{
	uint8_t record[2 * INIT_STATUS_LEN];

	init_put_status(record, INIT_FAILED, (uint32_t)error);
	init_put_status(record + INIT_STATUS_LEN, INIT_EXITED, 126);
	(void)!write(status, record, sizeof record);
}

static size_t count(const struct bridge *b, bool tcp)
{
	size_t n = 0;

	for (size_t i = 0; i < MUX_CHANNELS_MAX; i++)
		n += b->mux.channels[i].used && b->mux.channels[i].tcp == tcp;
	return n;
}

static void put_size(struct bridge *b, struct mux_channel *c, const struct winsize *w)
{
	const uint16_t v[4] = {w->ws_row, w->ws_col, w->ws_xpixel, w->ws_ypixel};
	uint8_t be[16] = {0};

	for (size_t i = 0; i < 4; i++) {
		be[4 * i + 2] = (uint8_t)(v[i] >> 8);
		be[4 * i + 3] = (uint8_t)v[i];
	}
	mux_put(&b->mux, MUX_RESIZE, c->number, 0, be, sizeof be);
}

static void put_sizes(struct bridge *b, bool all)
{
	static struct winsize last[MUX_CHANNELS_MAX];

	for (size_t i = 0; i < MUX_CHANNELS_MAX; i++) {
		struct mux_channel *c = &b->mux.channels[i];
		struct winsize w;

		if (!c->used || !c->tty || c->stream[0].fd < 0 ||
		    ioctl(c->stream[0].fd, TIOCGWINSZ, &w) < 0)
			continue;
		if (all || memcmp(&w, &last[i], sizeof w) != 0)
			put_size(b, c, &w);
		last[i] = w;
	}
}

/* fds are taken over. */
static void command(struct bridge *b, const struct init_request *q, const void *data, size_t len,
    int *fds, size_t n)
{
	bool tty = q->flags & INIT_PTY;
	struct mux_channel *c;
	int again = -1;

	if (n != (tty ? 2u : 4u))
		return;
	c = count(b, false) < BRIDGE_COMMANDS_MAX ? mux_open(&b->mux, b->next) : NULL;
	if (tty && c && (again = fcntl(fds[0], F_DUPFD_CLOEXEC, 3)) < 0) {
		c->used = false;
		c = NULL;
	}
	if (!c) {
		refuse(fds[n - 1], EBUSY);
		return;
	}
	b->next = (b->next + 1) & ~MUX_GUEST;
	c->tty = tty;
	mux_put(&b->mux, MUX_REQUEST, c->number, 0, data, len);
	mux_send(&b->mux, c, 0, steal_fd(&fds[0]));
	if (tty) {
		mux_take(&b->mux, c, 1, again);
		mux_take(&b->mux, c, 3, steal_fd(&fds[1]));
		put_sizes(b, true);
		return;
	}
	for (unsigned k = 1; k < MUX_STREAMS; k++)
		mux_take(&b->mux, c, k, steal_fd(&fds[k]));
}

/* One request of the core. 0; -ESHUTDOWN at the end. */
static int receive(struct bridge *b)
{
	static uint8_t data[INIT_REQUEST_MAX];
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = {data, sizeof data};
	struct msghdr m = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.bytes,
	    .msg_controllen = sizeof control.bytes};
	int fds[FDS_MAX] = {-1, -1, -1, -1};
	ssize_t n = recvmsg(b->requests, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	struct init_request q;
	size_t nfds = 0;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		nfds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		nfds = nfds > FDS_MAX ? FDS_MAX : nfds;
		memcpy(fds, CMSG_DATA(c), nfds * sizeof(int));
	}
	if (n == 0 && nfds == 0)
		return -ESHUTDOWN;
	if (!(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		if (init_parse(&q, data, (size_t)n) == 0) {
			if (q.type == INIT_EXEC)
				command(b, &q, data, (size_t)n, fds, nfds);
			else
				mux_put(&b->mux, MUX_REQUEST, 0, 0, data, (size_t)n);
		}
		init_request_done(&q);
	}
	for (size_t i = 0; i < FDS_MAX; i++)
		util_close(&fds[i]);
	return buf_status(&b->mux.out);
}

/* ---- the guest ---- */

/* The session's credential listener lies in our network namespace (broker/spawn/netns.h). */
static int on_open(struct bridge *b, const struct mux_frame *f)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
	    .sin_port = htons(CRED_PORT),
	    .sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct mux_channel *c;
	int fd, again;

	if (!b->ready || !b->credentials || !(f->channel & MUX_GUEST) || f->body.left ||
	    count(b, true) >= BRIDGE_CONNECTIONS_MAX || !(c = mux_open(&b->mux, f->channel)))
		return -EPROTO;
	c->tcp = true;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) < 0 && errno != EINPROGRESS)
		util_close(&fd);
	again = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (again < 0)
		util_close(&fd);
	/* the one that takes first: a channel whose streams have all ended is gone */
	mux_take(&b->mux, c, 1, fd);
	mux_send(&b->mux, c, 0, again);
	return 0;
}

static void note(struct bridge *b, struct reader *r)
{
	const uint8_t *p;
	size_t len;

	if (reader_string(r, sizeof b->why / 2, &p, &len) == 0)
		(void)str_escape(b->why, sizeof b->why, (const char *)p, len);
}

static int control(void *arg, struct mux_frame *f)
{
	struct bridge *b = arg;
	uint32_t version;

	switch (f->type) {
	case MUX_HELLO:
		if (b->hello || reader_u32(&f->body, &version) < 0 || version != MUX_VERSION)
			return -EPROTO;
		b->hello = true;
		note(b, &f->body);
		mux_put(&b->mux, MUX_CONFIG, 0, 0, b->config, b->config_len);
		return 0;
	case MUX_READY:
		if (!b->hello || b->ready || f->body.left)
			return -EPROTO;
		b->ready = true;
		return 0;
	case MUX_FAIL:
		note(b, &f->body);
		return -EIO;
	case MUX_OPEN:
		return on_open(b, f);
	default:
		return -EPROTO;
	}
}

/* ---- the whole ---- */

void bridge_init(struct bridge *b, int port, int requests, bool credentials, const void *config,
    size_t config_len)
{
	memset(b, 0, sizeof *b);
	b->requests = requests;
	b->credentials = credentials;
	b->config = config;
	b->config_len = config_len;
	b->next = 1;
	mux_init(&b->mux, port, BRIDGE_FRAME_MAX, control, b);
}

void bridge_done(struct bridge *b)
{
	mux_done(&b->mux);
}

static bool has_tty(const struct bridge *b)
{
	for (size_t i = 0; i < MUX_CHANNELS_MAX; i++)
		if (b->mux.channels[i].used && b->mux.channels[i].tty)
			return true;
	return false;
}

int bridge_run(struct bridge *b, bool probe, int ready_ms)
{
	static struct pollfd p[MUX_POLL_MAX + 1];
	int64_t end = clock_mono_ns() + (int64_t)ready_ms * (NSEC_PER_SEC / 1000);
	int r;

	for (;;) {
		size_t n = mux_poll(&b->mux, p);
		int64_t left = (end - clock_mono_ns()) / (NSEC_PER_SEC / 1000);
		int wait = !b->ready ? (left < 0 ? 0 : (int)left) : has_tty(b) ? SIZE_MS : -1;

		if (!b->ready && left <= 0)
			return -ETIMEDOUT;
		/* what comes before the guest is ready waits in the socket */
		p[n] =
		    (struct pollfd){mux_roomy(&b->mux) && b->ready ? b->requests : -1, POLLIN, 0};
		if (poll(p, n + 1, wait) < 0 && errno != EINTR)
			return -errno;
		if ((r = mux_serve(&b->mux, p)) < 0)
			return r;
		if (probe && b->hello)
			return 0;
		if (p[n].revents && (r = receive(b)) < 0)
			return r == -ESHUTDOWN ? 0 : r;
		put_sizes(b, false);
	}
}
