/* The core's end of init's request socket: made, kept while the core is away, written to. */
#include "broker/core/session.h"

#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "lib/buf.h"
#include "lib/fdio.h"
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

/* What init has not read yet. Descriptors in flight count against us (unix(7), ETOOMANYREFS), so an
 * init that does not read gets no more of them. */
static bool init_is_slow(const struct session *s)
{
	int unread = 0;

	return ioctl(s->init_fd, SIOCOUTQ, &unread) < 0 || unread > SESSION_REQUESTS;
}

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
	if (init_is_slow(s))
		return -EAGAIN;
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
