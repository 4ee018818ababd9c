#include "broker/spawn/watched.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/spawn/host.h"
#include "broker/supervisor/launch.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/util.h"

#define READY_MS     2000
#define RAW_SYSCALLS __attribute__((no_sanitize("address", "undefined")))

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#else
#define ARCH AUDIT_ARCH_AARCH64
#endif

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5) /* Linux 5.19 */
#endif

/* ---- the child ---- */

/* What is not execve(2) the agent's filter judges; it kills other architectures. */
RAW_SYSCALLS int watched_enter(int control)
{
	struct sock_filter f[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 0, 4),
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execve, 1, 0),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execveat, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {ARRAY_LEN(f), f};
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} c = {.head = {.cmsg_len = CMSG_LEN(sizeof(int)),
	           .cmsg_level = SOL_SOCKET,
	           .cmsg_type = SCM_RIGHTS}};
	char byte = 'l';
	struct iovec io = {&byte, 1};
	struct msghdr m = {.msg_iov = &io,
	    .msg_iovlen = 1,
	    .msg_control = c.space,
	    .msg_controllen = sizeof c.space};
	int fd;

	/* a call that the watch has received ends by a fatal signal alone: others would make the
	 * agent's execve fail half way */
	fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
	    SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &prog);
	if (fd < 0)
		return -errno;
	*(int *)(void *)CMSG_DATA(&c.head) = fd;
	if (syscall(SYS_sendmsg, control, &m, MSG_NOSIGNAL) < 0)
		return -errno;
	return close(fd) < 0 ? -errno : 0;
}

/* ---- spawn ---- */

struct starting {
	struct launch l;
	struct err *e;
};

static int launch(void *arg)
{
	struct starting *t = arg;

	return launch_run(&t->l, t->e);
}

/* Its only word; it cannot say it before it is confined. */
static int await(int control, struct err *e)
{
	struct pollfd p = {.fd = control, .events = POLLIN};
	char byte;
	int r;

	while ((r = poll(&p, 1, READY_MS)) < 0 && errno == EINTR)
		;
	if (r == 0)
		return err_set(e, -ETIMEDOUT, "postern-watch is not ready in time");
	if (r < 0 || recv(control, &byte, 1, 0) != 1)
		return err_set(e, -EPIPE, "postern-watch could not confine itself");
	return 0;
}

int watched_start(struct host *h, int userns, struct watched *ret, struct err *e)
{
	struct watched w = WATCHED_NONE;
	struct starting t = {.e = e};
	int link[2], control[2], pid, r;

	if (fd_seqpacket_pair(link) < 0)
		return err_set(e, -errno, "a socket pair: %m");
	if (fd_seqpacket_pair(control) < 0) {
		r = err_set(e, -errno, "a socket pair: %m");
		(void)close(link[0]);
		(void)close(link[1]);
		return r;
	}
	launch_init(&t.l, h->libexec_fd, "postern-watch");
	t.l.oom = LAUNCH_OOM_SESSION;
	launch_fd(&t.l, NULL, link[1]);
	launch_fd(&t.l, NULL, control[1]);
	launch_fd(&t.l, NULL, userns);
	pid = host_visit(h, launch, &t);
	(void)close(link[1]);
	(void)close(control[1]);
	w.pid = pid;
	w.link = link[0];
	w.control = control[0];
	if (pid < 0) {
		r = err_set(e, pid, "postern-watch: %s", strerror(-pid));
	} else if ((w.pidfd = fd_pidfd_open(pid)) < 0) {
		r = err_set(e, w.pidfd, "pidfd: %s", strerror(-w.pidfd));
		util_close(&w.control); /* without which it goes */
		(void)waitpid(pid, NULL, 0);
	} else {
		r = await(w.control, e);
	}
	if (r < 0)
		watched_end(&w);
	else
		*ret = w;
	return r;
}

void watched_end(struct watched *w)
{
	if (w->pidfd >= 0) {
		(void)syscall(SYS_pidfd_send_signal, w->pidfd, SIGKILL, NULL, 0);
		(void)waitid(P_PIDFD, (id_t)w->pidfd, NULL, WEXITED);
	}
	util_close(&w->pidfd);
	util_close(&w->link);
	util_close(&w->control);
}
