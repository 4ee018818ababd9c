#include "tests/support/sandbox_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/init/proto.h"
#include "broker/spawn/backend_ns.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/fdio.h"
#include "lib/util.h"

#define IDBASE  2600000000u /* not where a system under test may have its own */
#define IDCOUNT (256u * 65536u)

static int self_fd = -1;

const char *rig_build_dir(void)
{
	static char dir[4096];
	const char *b = getenv("BUILD");
	char *cut;
	ssize_t n;

	if (b)
		return b;
	n = readlink("/proc/self/exe", dir, sizeof dir - 1);
	dir[n < 0 ? 0 : n] = '\0';
	for (int i = 0; i < 3 && (cut = strrchr(dir, '/')); i++) /* BUILD/tests/KIND/NAME */
		*cut = '\0';
	return dir;
}

int rig_new(struct rig *r, const char *libexec, uint32_t idbase, struct err *e)
{
	static unsigned serial;
	struct backend_ns_config c = {.idbase = idbase ? idbase : IDBASE, .idcount = IDCOUNT};
	char path[4096];

	*r = (struct rig){.parent_fd = -1};
	(void)signal(SIGPIPE, SIG_IGN);
	if (self_fd < 0)
		self_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	(void)snprintf(r->instance, sizeof r->instance, "rig%d-%u", (int)getpid(), serial++);
	(void)snprintf(r->dir, sizeof r->dir, "state-%s", r->instance);
	r->parent_fd = open(rig_build_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r->parent_fd < 0)
		return err_set(e, -errno, "%s: %m", rig_build_dir());
	(void)snprintf(r->workspaces, sizeof r->workspaces, "work-%s", r->instance);
	c.state_fd = fd_open_dir(r->parent_fd, r->dir, 0700);
	c.workspaces_fd = fd_open_dir(r->parent_fd, r->workspaces, 0700);
	(void)snprintf(path, sizeof path, "%s/libexec/postern", rig_build_dir());
	c.libexec_fd = open(libexec ? libexec : path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	c.instance = r->instance;
	if (c.state_fd < 0 || c.libexec_fd < 0 || c.workspaces_fd < 0)
		return err_set(e, -errno, "directories of the rig: %m");
	r->b = backend_ns_new(&c, e);
	return r->b ? 0 : -1;
}

void rig_free(struct rig *r)
{
	if (r->b)
		r->b->ops->free(r->b);
	if (r->parent_fd >= 0) {
		(void)unlinkat(r->parent_fd, r->dir, AT_REMOVEDIR);
		(void)unlinkat(r->parent_fd, r->workspaces, AT_REMOVEDIR);
	}
	util_close(&r->parent_fd);
}

void rig_plan(struct plan *p)
{
	*p = (struct plan){.root = PLAN_ROOT_HOST};
	(void)str_copy(p->tenant, sizeof p->tenant, "demo");
	(void)str_copy(p->role, sizeof p->role, "agent");
	(void)str_copy(p->template_name, sizeof p->template_name, "default");
}

int box_open(struct box *x, int *ret_inner)
{
	static unsigned serial;
	int pair[2], r;

	*x = (struct box){.request = -1};
	(void)snprintf(x->session, sizeof x->session, "00000000-0000-4000-8000-%012u", serial++);
	if ((r = fd_seqpacket_pair(pair)) < 0)
		return r;
	(void)shutdown(pair[0], SHUT_RD);
	x->request = pair[0];
	*ret_inner = pair[1];
	return 0;
}

int box_enter(struct rig *r, struct box *x, const struct plan *p, int inner,
    struct backend_failure *f, struct err *e)
{
	return r->b->ops->start(r->b, x->session, p, inner, &x->s, &x->enforced, f, e);
}

int box_start(
    struct rig *r, struct box *x, const struct plan *p, struct backend_failure *f, struct err *e)
{
	int inner, rc;

	if ((rc = box_open(x, &inner)) < 0)
		return err_set(e, rc, "socketpair");
	rc = box_enter(r, x, p, inner, f, e);
	(void)close(inner);
	if (rc < 0)
		util_close(&x->request);
	return rc;
}

static struct backend *backend_of(struct box *x)
{
	return *(struct backend **)(void *)x->s; /* every back end's sandbox begins with it */
}

bool box_end(struct box *x, struct backend_usage *u)
{
	const struct backend_ops *ops = backend_of(x)->ops;
	int64_t end = clock_mono_ns() + 5 * NSEC_PER_SEC;
	struct pollfd p = {.fd = ops->pidfd(x->s), .events = POLLIN};

	util_close(&x->request);
	json_decref(x->enforced);
	ops->kill(x->s);
	(void)poll(&p, 1, 5000);
	while (ops->reap(x->s, u) == -EAGAIN) {
		if (clock_mono_ns() > end)
			return false;
		(void)poll(NULL, 0, 2);
	}
	x->s = NULL;
	return true;
}

int box_send_exec(struct box *x, uint32_t channel, uint8_t flags, const char *const *argv,
    const int *fds, size_t nfds)
{
	static const char *const env[] = {"PATH=/usr/local/bin:/usr/bin:/bin:/run/postern/bin",
	    "HOME=/home/agent", "USER=agent", "LANG=C.UTF-8", "TERM=dumb", NULL};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(4 * sizeof(int))];
	} control = {0};
	struct buf b;
	struct iovec iov;
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes};
	struct cmsghdr *c;
	int r;

	buf_init(&b, INIT_REQUEST_MAX);
	init_put_exec(&b, channel, flags, "/home/agent", argv, env);
	if ((r = buf_status(&b)) == 0) {
		iov = (struct iovec){b.data, b.len};
		m.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		c = &control.align;
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
		if (sendmsg(x->request, &m, MSG_NOSIGNAL) < 0)
			r = -errno;
	}
	buf_done(&b);
	return r;
}

static void take_status(int fd, struct ran *ran)
{
	uint8_t record[INIT_STATUS_LEN], kind;
	uint32_t value;

	while (read(fd, record, sizeof record) == (ssize_t)sizeof record) {
		if (init_parse_status(record, &kind, &value) < 0)
			return;
		if (kind == INIT_FAILED)
			ran->error = (int)value;
		else if (kind == INIT_EXITED)
			ran->exit = (int)value;
		else
			ran->signal = (int)value;
		ran->finished |= kind != INIT_FAILED;
	}
}

/* False at end of file. */
static bool pump_out(int fd, char *dst, size_t *len)
{
	char sink[4096];
	size_t left = RIG_OUTPUT_MAX - 1 - *len;
	ssize_t n = left ? read(fd, dst + *len, left) : read(fd, sink, sizeof sink);

	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	if (left)
		*len += (size_t)n;
	return true;
}

int box_run(struct box *x, uint32_t channel, const char *const *argv, const void *in, size_t in_len,
    int timeout_ms, struct ran *ret)
{
	int pipes[4][2], give[4], r;
	struct pollfd p[4];
	size_t sent = 0;

	memset(ret, 0, sizeof *ret);
	for (size_t i = 0; i < 4; i++)
		if (pipe2(pipes[i], O_CLOEXEC) < 0)
			return -errno;
	for (size_t i = 0; i < 4; i++) {
		give[i] = pipes[i][i == 0 ? 0 : 1];
		p[i] = (struct pollfd){pipes[i][i == 0 ? 1 : 0], i == 0 ? POLLOUT : POLLIN, 0};
		(void)fd_set_nonblock(p[i].fd, true);
	}
	r = box_send_exec(x, channel, 0, argv, give, 4);
	for (size_t i = 0; i < 4; i++)
		(void)close(give[i]);
	while (r == 0 && (p[1].fd >= 0 || p[2].fd >= 0 || p[3].fd >= 0)) {
		if (p[0].fd >= 0 && sent == in_len) {
			(void)close(p[0].fd);
			p[0].fd = -1;
		}
		if (poll(p, 4, timeout_ms) <= 0) {
			r = -ETIMEDOUT;
			break;
		}
		if (p[0].revents) {
			ssize_t n = write(p[0].fd, (const char *)in + sent, in_len - sent);

			if (n > 0)
				sent += (size_t)n;
			else if (errno != EAGAIN)
				sent = in_len;
		}
		if (p[1].revents && !pump_out(p[1].fd, ret->out, &ret->out_len))
			util_close(&p[1].fd);
		if (p[2].revents && !pump_out(p[2].fd, ret->err, &ret->err_len))
			util_close(&p[2].fd);
		if (p[3].revents) {
			take_status(p[3].fd, ret);
			if (ret->finished || (p[3].revents & POLLHUP))
				util_close(&p[3].fd);
		}
	}
	for (size_t i = 0; i < 4; i++)
		util_close(&p[i].fd);
	return r;
}

int box_sh(struct box *x, const char *script, struct ran *ret)
{
	static uint32_t channel = 1000;
	const char *argv[] = {"/bin/sh", "-c", script, NULL};

	return box_run(x, channel++, argv, NULL, 0, 20000, ret);
}

int box_install_self(struct box *x)
{
	static struct ran ran;
	const char *argv[] = {"/bin/sh", "-c", "cat >/tmp/probe && chmod 755 /tmp/probe", NULL};
	struct stat st;
	char *image;
	int r;

	if (fstat(self_fd, &st) < 0)
		return -errno;
	image = malloc((size_t)st.st_size);
	if (!image)
		return -ENOMEM;
	if (pread(self_fd, image, (size_t)st.st_size, 0) != st.st_size)
		r = -EIO;
	else
		r = box_run(x, 999999, argv, image, (size_t)st.st_size, 20000, &ran);
	free(image);
	return r == 0 && (!ran.finished || ran.exit) ? -EIO : r;
}
