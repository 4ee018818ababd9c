#include "broker/init/claim.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int claim_wait(int fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
	struct iovec iov = {&byte, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *c;
	int given = -1, r = 0;
	ssize_t n;

	do {
		m.msg_control = control.bytes;
		m.msg_controllen = sizeof(control.bytes);
		n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	c = n == 1 ? CMSG_FIRSTHDR(&m) : NULL;
	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
	    c->cmsg_len != CMSG_LEN(sizeof(int)))
		return -ECONNRESET;
	memcpy(&given, CMSG_DATA(c), sizeof(given));
	if (dup3(given, fd, O_CLOEXEC) < 0)
		r = -errno;
	(void)close(given);
	return r;
}
