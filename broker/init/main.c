/*
 * postern-init: pid 1 of a sandbox. Runs the commands that arrive on descriptor 3, reaps
 * everything, and answers by each command's status pipe.
 *
 * Static, small, not dumpable, another uid than the agent's, with four capabilities of its own user
 * namespace. Nobody believes it anything once the agent runs. Its memory is bounded: one request,
 * one table.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "broker/init/claim.h"
#include "broker/init/proto.h"
#include "broker/init/run.h"
#include "broker/init/seal.h"
#include "broker/init/serial.h"
#include "lib/defence.h"

#define REQUESTS 3 /* descriptor */
#define FDS_MAX  4

struct channel {
	uint32_t number;
	pid_t pid; /* 0: free */
	int status;
};

static struct channel channels[INIT_CHANNELS_MAX];
static uint8_t request[INIT_REQUEST_MAX];
static int64_t end_at_ms = -1; /* when grace is over */

static int64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void report(int fd, uint8_t kind, uint32_t value)
{
	uint8_t record[INIT_STATUS_LEN];

	init_put_status(record, kind, value);
	if (write(fd, record, sizeof(record)) < 0)
		return; /* the reader has gone, which is its right */
}

static struct channel *find(uint32_t number)
{
	for (size_t i = 0; i < INIT_CHANNELS_MAX; i++)
		if (channels[i].pid && channels[i].number == number)
			return &channels[i];
	return NULL;
}

static struct channel *find_free(void)
{
	for (size_t i = 0; i < INIT_CHANNELS_MAX; i++)
		if (!channels[i].pid)
			return &channels[i];
	return NULL;
}

static void exec_request(const struct init_request *q, int *fds, size_t nfds)
{
	size_t wanted = q->flags & INIT_PTY ? 2 : 4;
	struct channel *c = find_free();
	int error = 0, status;
	pid_t pid;

	if (nfds != wanted)
		return;
	status = fds[wanted - 1];
	if (!c || find(q->channel) || end_at_ms >= 0) {
		report(status, INIT_FAILED, EBUSY);
		report(status, INIT_EXITED, 126);
		return;
	}
	/* a full pipe, if somebody made it one, must not stop us */
	(void)fcntl(status, F_SETFL, O_WRONLY | O_NONBLOCK);
	pid = run_command(q, fds, &error);
	if (pid < 0)
		error = -(int)pid;
	if (error)
		report(status, INIT_FAILED, (uint32_t)error);
	if (pid < 0) {
		report(status, INIT_EXITED, 126);
		return;
	}
	*c = (struct channel){q->channel, pid, status};
	fds[wanted - 1] = -1; /* kept until it has ended */
}

static void handle(const struct init_request *q, int *fds, size_t nfds)
{
	struct channel *c;

	switch (q->type) {
	case INIT_EXEC:
		exec_request(q, fds, nfds);
		return;
	case INIT_SIGNAL:
		/* the command leads a group of its own since setsid() */
		if ((c = find(q->channel)) && q->value > 0 && q->value < 65)
			(void)kill(-c->pid, (int)q->value);
		return;
	default:
		(void)kill(-1, SIGTERM);
		(void)kill(-1, SIGCONT); /* what is stopped would not hear it */
		end_at_ms = now_ms() + q->value;
	}
}

/* One request. False at the end of the socket: nobody is there any more. */
static bool receive(void)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = {request, sizeof(request)};
	struct msghdr m = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.bytes,
	    .msg_controllen = sizeof(control.bytes)};
	int fds[FDS_MAX] = {-1, -1, -1, -1};
	static bool served; /* the first record may be a claim */
	struct init_request q;
	size_t nfds = 0;
	ssize_t n = recvmsg(REQUESTS, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

	if (n < 0)
		return errno == EINTR || errno == EAGAIN;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		nfds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		if (nfds > FDS_MAX)
			nfds = FDS_MAX;
		memcpy(fds, CMSG_DATA(c), nfds * sizeof(int));
	}
	if (n == 0 && nfds == 0)
		return false;
	if (!served && claim_take((size_t)n, fds, nfds, REQUESTS)) {
		/* this member of the pool is a session's now */
	} else if (!(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) &&
	           init_parse(&q, request, (size_t)n) == 0) {
		handle(&q, fds, nfds);
		init_request_done(&q);
	} else if (!(m.msg_flags & MSG_TRUNC)) {
		init_request_done(&q);
	}
	served = true;
	for (size_t i = 0; i < nfds; i++)
		if (fds[i] >= 0)
			(void)close(fds[i]);
	return true;
}

/* False when nobody is left. */
static bool reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (size_t i = 0; i < INIT_CHANNELS_MAX; i++) {
			struct channel *c = &channels[i];

			if (c->pid != pid)
				continue;
			if (WIFSIGNALED(status))
				report(c->status, INIT_SIGNALED, (uint32_t)WTERMSIG(status));
			else
				report(c->status, INIT_EXITED, (uint32_t)WEXITSTATUS(status));
			(void)close(c->status);
			c->pid = 0;
		}
	return pid == 0;
}

static int poll_timeout(void)
{
	int64_t left = end_at_ms - now_ms();

	if (end_at_ms < 0)
		return -1;
	return left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
}

static bool over(void)
{
	return end_at_ms >= 0 && (now_ms() >= end_at_ms || !reap());
}

static const struct serial_ops serial_ops = {handle, reap, poll_timeout, over};

int main(int argc, char **argv)
{
	/* alone in a virtual machine, where the kernel says so */
	bool serial = argc > 1 && strcmp(argv[1], "serial") == 0;
	struct pollfd p[2] = {{.fd = REQUESTS, .events = POLLIN}, {.events = POLLIN}};
	struct signalfd_siginfo info;
	sigset_t chld;

	(void)prctl(PR_SET_NAME, "postern-init", 0, 0, 0);
	/* nothing has run yet that could use the time before */
	if (getpid() != 1 || (DEFENCE("init-dumpable") && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) ||
	    (!serial && fcntl(REQUESTS, F_SETFD, FD_CLOEXEC) < 0))
		return 1;
	if (argc > 1 && strcmp(argv[1], SEAL_WORD) == 0 && seal(argv + 2) < 0)
		return 1;
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], INIT_WORD_ROOT) == 0)
			run_as_root();
	run_prepare();
	(void)sigemptyset(&chld);
	(void)sigaddset(&chld, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &chld, NULL);
	p[1].fd = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	if (p[1].fd < 0)
		return 1;
	if (serial)
		return serial_main(&serial_ops, p[1].fd);
	for (;;) {
		if (poll(p, 2, poll_timeout()) < 0 && errno != EINTR)
			return 1;
		if (p[1].revents & POLLIN) {
			while (read(p[1].fd, &info, sizeof(info)) > 0)
				;
			(void)reap();
		}
		if ((p[0].revents & (POLLIN | POLLHUP)) && !receive())
			break;
		if (over())
			return 0;
	}
	/* leaving as pid 1 would kill them as well; this one is said aloud */
	(void)kill(-1, SIGKILL);
	return 0;
}
