#include "broker/spawn/netns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/spawn/plan.h"
#include "lib/err.h"
#include "lib/util.h"

#define BACKLOG 16

static int lo_up(int sock)
{
	struct ifreq ifr = {.ifr_name = "lo"};

	if (ioctl(sock, SIOCGIFFLAGS, &ifr) < 0)
		return -errno;
	ifr.ifr_flags = (short)(ifr.ifr_flags | IFF_UP);
	return ioctl(sock, SIOCSIFFLAGS, &ifr) < 0 ? -errno : 0;
}

/* /proc/sys/net shows the caller's namespace. Not even root inside could bind port 80 otherwise. */
static int all_ports(void)
{
	cleanup_close int fd =
	    open("/proc/sys/net/ipv4/ip_unprivileged_port_start", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "0", 1) != 1)
		return -errno;
	return 0;
}

static int listen_inside(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
	    .sin_port = htons(PLAN_CRED_PORT),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	cleanup_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&a, sizeof a) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return -errno;
	return steal_fd(&fd);
}

/* Runs inside the new namespaces. */
static int furnish(struct netns *n)
{
	cleanup_close int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int r;

	n->net = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	n->ipc = open("/proc/self/ns/ipc", O_RDONLY | O_CLOEXEC);
	n->uts = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);
	if (sock < 0 || n->net < 0 || n->ipc < 0 || n->uts < 0)
		return -errno;
	if ((r = lo_up(sock)) < 0 || (r = all_ports()) < 0 || (r = listen_inside()) < 0)
		return r;
	n->listener = r;
	return 0;
}

int netns_make(const struct netns_own *own, struct netns *ret, struct err *e)
{
	struct netns n = NETNS_NONE;
	int r;

	if (unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
		return err_set(e, -errno, "network namespace: %m");
	r = furnish(&n);
	if (setns(own->net, CLONE_NEWNET) < 0 || setns(own->ipc, CLONE_NEWIPC) < 0 ||
	    setns(own->uts, CLONE_NEWUTS) < 0)
		abort(); /* the loop must not go on in a sandbox's namespaces */
	if (r < 0) {
		netns_close(&n);
		return err_set(e, r, "network namespace: %s", strerror(-r));
	}
	*ret = n;
	return 0;
}

void netns_close(struct netns *n)
{
	util_close(&n->net);
	util_close(&n->ipc);
	util_close(&n->uts);
	util_close(&n->listener);
}
