#include "broker/walk/opaque.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/util.h"

union control {
	struct cmsghdr head;
	char bytes[CMSG_SPACE(sizeof(int))];
};

int opaque_look(int dirfd)
{
	char value = 0;
	ssize_t n = fgetxattr(dirfd, "trusted.overlay.opaque", &value, 1);

	if (n == 1)
		return value == 'y';
	return n >= 0 || errno == ENODATA || errno == EOPNOTSUPP || errno == ERANGE ? 0 : -errno;
}

static int receive(int link)
{
	union control control = {.bytes = {0}};
	char byte;
	struct iovec iov = {&byte, 1};
	struct msghdr m = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.bytes,
	    .msg_controllen = sizeof control.bytes};
	const struct cmsghdr *c;
	ssize_t n;
	int fd;

	do
		n = recvmsg(link, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	c = n == 1 ? CMSG_FIRSTHDR(&m) : NULL;
	if (!c || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof fd))
		return -EBADMSG;
	memcpy(&fd, CMSG_DATA(c), sizeof fd);
	return fd;
}

void opaque_serve(int link)
{
	for (;;) {
		cleanup_close int fd = receive(link);
		int answer = fd < 0 ? 0 : opaque_look(fd);

		if (fd < 0 || send(link, &answer, sizeof answer, MSG_NOSIGNAL) < 0)
			return;
	}
}

int opaque_ask(int link, int dirfd)
{
	union control control = {.bytes = {0}};
	char byte = '?';
	struct iovec iov = {&byte, 1};
	struct msghdr m = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.bytes,
	    .msg_controllen = sizeof control.bytes};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	int answer;
	ssize_t n;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof dirfd);
	memcpy(CMSG_DATA(c), &dirfd, sizeof dirfd);
	if (sendmsg(link, &m, MSG_NOSIGNAL) < 0)
		return -errno;
	do
		n = recv(link, &answer, sizeof answer, 0);
	while (n < 0 && errno == EINTR);
	return n == sizeof answer ? answer : n < 0 ? -errno : -EPIPE;
}
