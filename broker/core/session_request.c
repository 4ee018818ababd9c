/* The core's end of init's request socket: made, kept while the core is away, written to. */
#include "broker/core/session.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "broker/core/exec.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/fdio.h"
#include "lib/loop.h"
#include "lib/util.h"

#define FDS_MAX 4

/* Our end is deaf from birth: what init would send, a descriptor above all, has nowhere to go. */
int session_socket(struct session *s)
{
	int pair[2], r = fd_seqpacket_pair(pair);

	if (r < 0)
		return r;
	if (shutdown(pair[0], SHUT_RD) < 0) {
		r = -errno;
		util_close(&pair[0]);
		util_close(&pair[1]);
		return r;
	}
	/* init waits in recvmsg(2) */
	(void)fd_set_nonblock(pair[1], false);
	s->init_fd = pair[0];
	s->inner_fd = pair[1];
	return 0;
}

/* ---- an init that is slow ---- */

/* Descriptors in flight count against us (unix(7), ETOOMANYREFS), so an init that does not read
 * gets no more of them. The kernel calls a socket writable while a quarter of its buffer is in use:
 * some forty requests. */
static bool init_is_slow(const struct session *s)
{
	struct pollfd p = {s->init_fd, POLLOUT, 0};

	return poll(&p, 1, 0) == 0;
}

void session_request_done(struct session *s)
{
	loop_remove(s->room);
	loop_remove(s->patience);
	s->room = s->patience = NULL;
}

static void has_room(struct loop *l, int fd, unsigned what, void *arg)
{
	struct session *s = arg;

	(void)l;
	(void)fd;
	(void)what;
	session_request_done(s);
	exec_resume(s, NULL);
}

static void never_has_room(struct loop *l, void *arg)
{
	struct session *s = arg;

	(void)l;
	session_request_done(s);
	exec_resume(s, "the sandbox does not take requests any more");
}

static int await_room(struct session *s)
{
	struct core *c = s->core;

	if (!s->room)
		s->room = loop_fd(c->loop, s->init_fd, LOOP_WRITE, has_room, s);
	if (!s->patience)
		s->patience = loop_timer(c->loop, c->patience_ns, never_has_room, s);
	if (s->room && s->patience)
		return -EAGAIN;
	session_request_done(s);
	return -ENOMEM;
}

/* ---- asking ---- */

int session_request(struct session *s, const struct buf *b, const int *fds, size_t nfds)
{
	union {
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct iovec iov = {b->data, b->len};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *cm = &control.align;
	ssize_t n;
	int r;

	if (s->init_fd < 0 && s->state == SESSION_NEW && (r = session_socket(s)) < 0)
		return r;
	if (s->init_fd < 0)
		return -EPIPE;
	if (nfds > FDS_MAX)
		return -EINVAL;
	if (nfds > 0 && init_is_slow(s))
		return await_room(s);
	if (nfds > 0) {
		h.msg_control = control.bytes;
		h.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(cm), fds, nfds * sizeof(int));
	}
	do
		n = sendmsg(s->init_fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}
