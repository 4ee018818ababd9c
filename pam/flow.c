#include "pam/flow.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fdio.h"
#include "lib/util.h"

int flow_init(struct flow *f, int from, int to)
{
	int r;

	f->from = from;
	f->to = to;
	f->off = f->len = 0;
	f->bytes = 0;
	f->allow = UINT64_MAX;
	if ((r = fd_set_nonblock(from, true)) < 0 || (r = fd_set_nonblock(to, true)) < 0)
		return r;
	return 0;
}

/* The target is told that no more comes, also when it is a socket that we read from as well: sshd's
 * stdin and stdout may be one, and closing ours would leave its other descriptor open. */
static void close_target(struct flow *f)
{
	if (f->to >= 0)
		(void)shutdown(f->to, SHUT_WR);
	util_close(&f->to);
}

void flow_done(struct flow *f)
{
	util_close(&f->from);
	close_target(f);
	f->len = 0;
}

bool flow_ended(const struct flow *f)
{
	return f->to < 0;
}

void flow_poll(const struct flow *f, struct pollfd p[2])
{
	bool empty = f->len == 0;

	p[0] = (struct pollfd){empty ? f->from : -1, POLLIN, 0};
	/* without events: the end of the target (POLLERR) is told in any case */
	p[1] = (struct pollfd){f->to, empty ? 0 : POLLOUT, 0};
}

static void fill(struct flow *f)
{
	size_t most = f->allow < sizeof f->buf ? (size_t)f->allow : sizeof f->buf;
	ssize_t n;

	do
		n = read(f->from, f->buf, most);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) { /* EIO is the end of a pty whose other side is closed */
		util_close(&f->from);
		return;
	}
	f->off = 0;
	f->len = (size_t)n;
	if (f->allow != UINT64_MAX)
		f->allow -= (uint64_t)n;
}

static void drain(struct flow *f)
{
	ssize_t n;

	do
		n = write(f->to, f->buf + f->off, f->len);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n < 0) {
		flow_done(f);
		return;
	}
	f->off += (size_t)n;
	f->len -= (size_t)n;
	f->bytes += (uint64_t)n;
}

void flow_run(struct flow *f, const struct pollfd p[2])
{
	if (f->to < 0)
		return;
	if (p[1].revents & (POLLERR | POLLHUP | POLLNVAL)) { /* nobody reads there any more */
		flow_done(f);
		return;
	}
	if (f->from >= 0 && f->len == 0 && f->allow > 0 && p[0].revents)
		fill(f);
	if (f->len > 0)
		drain(f);
	if (f->allow == 0)
		util_close(&f->from);
	if (f->to >= 0 && f->from < 0 && f->len == 0)
		close_target(f);
}

void flow_last(struct flow *f, uint64_t most)
{
	int there = 0;

	if (most == 0 && f->from >= 0 && ioctl(f->from, FIONREAD, &there) == 0 && there > 0)
		most = (uint64_t)there;
	f->allow = most;
	if (most == 0)
		util_close(&f->from);
	if (f->to >= 0 && f->from < 0 && f->len == 0)
		close_target(f);
}
