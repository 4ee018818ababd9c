#include "broker/spawn/claim.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fdio.h"

int claim_pair(int *ret_ours, int *ret_inits)
{
	int pair[2], r;

	if ((r = fd_seqpacket_pair(pair)) < 0)
		return r;
	(void)shutdown(pair[0], SHUT_RD);
	*ret_ours = pair[0];
	*ret_inits = pair[1];
	return 0;
}

int claim_send(int ours, int init_fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	char byte = 'c';
	struct iovec iov = {&byte, 1};
	struct msghdr m = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.bytes,
	    .msg_controllen = sizeof control.bytes};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &init_fd, sizeof init_fd);
	return sendmsg(ours, &m, MSG_NOSIGNAL | MSG_DONTWAIT) == 1 ? 0 : -errno;
}
