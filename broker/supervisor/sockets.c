#include "broker/supervisor/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/chan.h"
#include "lib/err.h"
#include "lib/str.h"
#include "lib/util.h"

#define BACKLOG      1024
#define BACKLOG_UNIX 64

/* Splits HOST:PORT at the last colon; brackets around the host are dropped. */
static int split(const char *where, char *host, size_t size, const char **ret_port, struct err *e)
{
	const char *colon = strrchr(where, ':');
	uint64_t number;
	char text[128];
	size_t n;

	str_escape(text, sizeof text, where, strlen(where));
	if (!colon || str_to_u64(colon + 1, 0, 65535, &number) < 0)
		return err_set(e, -EINVAL, "\"%s\" is not HOST:PORT", text);
	n = (size_t)(colon - where);
	if (n >= 2 && where[0] == '[' && where[n - 1] == ']') {
		where++;
		n -= 2;
	} else if (memchr(where, ':', n)) {
		return err_set(e, -EINVAL, "\"%s\": write an IPv6 address as [ADDRESS]:PORT", text);
	}
	if (n >= size)
		return err_set(e, -EINVAL, "\"%s\" is not HOST:PORT", text);
	memcpy(host, where, n);
	host[n] = '\0';
	if (strcmp(host, "localhost") == 0)
		(void)str_copy(host, size, "127.0.0.1");
	*ret_port = colon + 1;
	return 0;
}

static void show(int fd, char shown[SOCKETS_ADDRESS_MAX])
{
	struct sockaddr_storage a;
	char host[64], port[8];
	socklen_t len = sizeof a;

	if (getsockname(fd, (struct sockaddr *)&a, &len) < 0 ||
	    getnameinfo((struct sockaddr *)&a, len, host, sizeof host, port, sizeof port,
	        NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		(void)snprintf(shown, SOCKETS_ADDRESS_MAX, "?:?");
	else
		(void)snprintf(shown, SOCKETS_ADDRESS_MAX,
		    a.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

static int listen_at(const struct addrinfo *a)
{
	cleanup_close int fd =
	    socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
	const int on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
	    bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	/* accepted sockets inherit it; small answers must not wait for more (tcp(7)) */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	return steal_fd(&fd);
}

int sockets_tcp(const char *where, int *ret_fd, char shown[SOCKETS_ADDRESS_MAX], struct err *e)
{
	const struct addrinfo hints = {
	    .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;
	const char *port = NULL;
	char host[72];
	int r, fd;

	if ((r = split(where, host, sizeof host, &port, e)) < 0)
		return r;
	r = getaddrinfo(*host && strcmp(host, "*") != 0 ? host : NULL, port, &hints, &list);
	if (r != 0)
		return err_set(e, -EINVAL,
		    "cannot listen at %s: %s (an address is needed, not a name)", where,
		    gai_strerror(r));
	fd = listen_at(list);
	freeaddrinfo(list);
	if (fd < 0) {
		errno = -fd;
		return err_set(e, fd, "cannot listen at %s: %m", where);
	}
	show(fd, shown);
	*ret_fd = fd;
	return 0;
}

int sockets_unix(int dirfd, const char *name, gid_t group, mode_t mode, int *ret_fd, struct err *e)
{
	cleanup_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	mode_t old;
	int r;

	if (fd < 0)
		return err_set(e, -errno, "cannot make a socket: %m");
	/* by descriptor: sun_path has room for 107 bytes, a state directory's path may be longer */
	if (snprintf(a.sun_path, sizeof a.sun_path, "/proc/self/fd/%d/%s", dirfd, name) >=
	    (int)sizeof a.sun_path)
		return err_set(e, -ENAMETOOLONG, "socket name %s is too long", name);
	if (unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
		return err_set(e, -errno, "cannot replace the socket %s: %m", name);
	old = umask(0777);
	r = bind(fd, (struct sockaddr *)&a, sizeof a) < 0 ? -errno : 0;
	(void)umask(old);
	if (r < 0) {
		errno = -r;
		return err_set(e, r, "cannot make the socket %s: %m", name);
	}
	chan_refuse_fds(fd); /* no client of these sends any */
	if (fchownat(dirfd, name, 0, group, AT_SYMLINK_NOFOLLOW) < 0 ||
	    fchmodat(dirfd, name, mode, 0) < 0 || listen(fd, BACKLOG_UNIX) < 0)
		return err_set(e, -errno, "cannot open the socket %s: %m", name);
	*ret_fd = steal_fd(&fd);
	return 0;
}

gid_t sockets_admin_group(void)
{
	const struct group *g = getgrnam("postern-admin");

	return g ? g->gr_gid : 0;
}
