#include "lib/seqpacket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "lib/util.h"

union control {
	char bytes[CMSG_SPACE(SEQPACKET_FDS_MAX * sizeof(int))];
	struct cmsghdr align;
};

int seqpacket_send(int fd, const void *data, size_t len, const int *fds, size_t nfds)
{
	union control control;
	struct iovec iov = {.iov_len = len};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (nfds > SEQPACKET_FDS_MAX)
		return -EINVAL;
	memset(&control, 0, sizeof control);
	memcpy(&iov.iov_base, &data, sizeof data); /* sendmsg does not write to it */
	if (nfds > 0) {
		struct cmsghdr *cm = &control.align;

		h.msg_control = control.bytes;
		h.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(cm), fds, nfds * sizeof(int));
	}
	do
		n = sendmsg(fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return 0;
	return errno == ECONNRESET ? -EPIPE : -errno;
}

static void collect_fds(struct seqpacket *p, struct msghdr *h)
{
	p->nfds = 0;
	for (struct cmsghdr *cm = CMSG_FIRSTHDR(h); cm; cm = CMSG_NXTHDR(h, cm)) {
		size_t n;

		if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
			continue;
		n = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		if (n >
		    SEQPACKET_FDS_MAX - p->nfds) /* cannot be: the buffer has room for no more */
			n = SEQPACKET_FDS_MAX - p->nfds;
		memcpy(p->fds + p->nfds, CMSG_DATA(cm), n * sizeof(int));
		p->nfds += n;
	}
}

static void close_all(struct seqpacket *p)
{
	for (size_t i = 0; i < p->nfds; i++)
		util_close(&p->fds[i]);
	p->nfds = 0;
}

/* Takes one record of at most size bytes; 1, 0 or -errno. */
static int take(int fd, void *data, size_t size, struct seqpacket *p)
{
	union control control;
	struct iovec iov = {data, size};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	do {
		h.msg_control = control.bytes;
		h.msg_controllen = sizeof control.bytes;
		n = recvmsg(fd, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	collect_fds(p, &h);
	p->len = (size_t)n;
	if (n > 0 && !(h.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return 1;
	close_all(p); /* an empty record may carry some too */
	return n == 0 ? 0 : h.msg_flags & MSG_TRUNC ? -EMSGSIZE : -EPROTO;
}

int seqpacket_recv(int fd, size_t max, struct seqpacket *ret)
{
	struct seqpacket p = {.nfds = 0};
	size_t room = 1; /* of a record beyond max the first byte is enough */
	ssize_t size;
	int r;

	/* Its size first, so that nobody needs a large buffer while idle. A peer that closed
	 * without reading all of ours leaves ECONNRESET, told once,
	 * in front of what it had sent. */
	do
		size = recv(fd, NULL, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
	while (size < 0 && (errno == EINTR || errno == ECONNRESET));
	if (size < 0)
		return -errno;
	if (size > 0 && (size_t)size <= max)
		room = (size_t)size;
	cleanup_free uint8_t *data = malloc(room);
	if (!data)
		return -ENOMEM;
	if ((r = take(fd, data, room, &p)) != 1)
		return r;
	if (p.len > max) { /* only with max == 0 */
		close_all(&p);
		return -EMSGSIZE;
	}
	*ret = p;
	ret->data = steal_ptr(&data);
	return 1;
}
