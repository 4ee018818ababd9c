#include "pam/dial.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/chan.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"

/* connect(2) on a full queue waits as long as SO_SNDTIMEO says, for AF_UNIX too (unix(7),
 * socket(7)). */
static int connect_until(int fd, const struct sockaddr_un *a, int64_t deadline_ns)
{
	for (;;) {
		int64_t left = deadline_ns - clock_mono_ns();
		struct timeval t = {left / NSEC_PER_SEC, left % NSEC_PER_SEC / 1000};

		if (left < 1000)
			return -ETIMEDOUT;
		if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t) < 0)
			return -errno;
		if (connect(fd, (const struct sockaddr *)a, sizeof *a) == 0)
			return 0;
		if (errno != EINTR)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
	}
}

int dial_core(
    const char *path, unsigned self, int64_t deadline_ns, struct chan **ret, struct err *e)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct ucred who = {0};
	socklen_t size = sizeof who;
	struct chan *c;
	int r;

	if (path[0] != '/' || !str_copy(a.sun_path, sizeof a.sun_path, path))
		return err_set(e, -EINVAL, "the socket's path must be absolute and short");
	cleanup_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(e, -errno, "no socket: %m");
	if ((r = connect_until(fd, &a, deadline_ns)) < 0) {
		errno = -r;
		return err_set(e, r, "the broker cannot be reached: %m");
	}
	/* of whoever called listen(2) */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0)
		return err_set(e, -errno, "the broker's identity is not known: %m");
	if (who.uid != 0 && who.uid != geteuid())
		return err_set(e, -EPERM, "somebody else answers in the broker's place");
	c = chan_new(steal_fd(&fd), self, MSG_CORE);
	if (!c)
		return err_set(e, -ENOMEM, "no memory");
	*ret = c;
	return 0;
}
