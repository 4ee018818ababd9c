#include "tests/support/backend_null.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/spawn/backend.h"
#include "lib/err.h"
#include "lib/util.h"

struct sandbox {
	struct sandbox *next;
	struct null_backend *b;
	int ended;    /* an eventfd: becomes readable as a pidfd does */
	int knock[2]; /* -1: no credentials */
	pid_t pid;
};

struct null_backend {
	struct backend base;
	struct sandbox *list;
	const char *fail;
	unsigned hold;
	pid_t next_pid;
};

static struct null_backend *null_of(const struct backend *b)
{
	union {
		const struct backend *in;
		struct null_backend *out;
	} u = {.in = b};

	return u.out;
}

static json_t *null_probe(struct backend *b)
{
	return json_pack("{s:s,s:s,s:s,s:[]}", "backend", b->ops->name, "kernel", "none", "cgroup",
	    "none", "controllers");
}

static int null_prepare(
    struct backend *b, const struct plan *p, struct backend_failure *f, struct err *e)
{
	(void)p;
	if (!null_of(b)->fail)
		return 0;
	f->step = null_of(b)->fail;
	return err_set(e, -EIO, "asked to fail\xff"); /* no UTF-8, as names of files may be */
}

static void sandbox_free(struct sandbox *s)
{
	util_close(&s->ended);
	util_close(&s->knock[0]);
	util_close(&s->knock[1]);
	free(s);
}

static int null_start(struct backend *base, const char *session, const struct plan *p, int init_fd,
    struct sandbox **ret, json_t **ret_enforced, struct backend_failure *f, struct err *e)
{
	struct null_backend *b = null_of(base);
	struct sandbox *s;
	int r;

	(void)session;
	(void)init_fd;
	if ((r = null_prepare(base, p, f, e)) < 0)
		return r;
	f->step = "memory";
	if (!(s = calloc(1, sizeof *s)))
		return err_set(e, -ENOMEM, "no memory");
	*s = (struct sandbox){.b = b, .ended = eventfd(0, EFD_CLOEXEC), .knock = {-1, -1}};
	if (s->ended < 0 ||
	    (p->credentials && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s->knock) < 0)) {
		sandbox_free(s);
		return err_set(e, -errno, "%m");
	}
	s->pid = ++b->next_pid;
	s->next = b->list;
	b->list = s;
	*ret = s;
	*ret_enforced = json_pack("{s:s}", "backend", base->ops->name);
	return 0;
}

static pid_t null_pid(const struct sandbox *s)
{
	return s->pid;
}

static int null_pidfd(const struct sandbox *s)
{
	return s->ended;
}

static int null_cred_listener(const struct sandbox *s)
{
	return s->knock[0];
}

static int null_open_pty(struct sandbox *s, int *ret_master, int *ret_slave, struct err *e)
{
	int pair[2];

	(void)s;
	if (pipe(pair) < 0)
		return err_set(e, -errno, "%m");
	*ret_master = pair[0];
	*ret_slave = pair[1];
	return 0;
}

static int null_freeze(struct sandbox *s, int on, struct err *e)
{
	(void)s;
	(void)on;
	(void)e;
	return 0;
}

static void null_stat(struct sandbox *s, struct backend_usage *ret)
{
	(void)s;
	*ret = (struct backend_usage){.cpu_us = 1, .memory_peak = 2, .oom_kills = 3};
}

static void null_kill(struct sandbox *s)
{
	const uint64_t one = 1;

	(void)!write(s->ended, &one, sizeof one);
}

static int null_reap(struct sandbox *s, struct backend_usage *ret)
{
	if (s->b->hold > 0) {
		s->b->hold--;
		return -EAGAIN;
	}
	if (ret)
		null_stat(s, ret);
	for (struct sandbox **at = &s->b->list; *at; at = &(*at)->next)
		if (*at == s) {
			*at = s->next;
			break;
		}
	sandbox_free(s);
	return 0;
}

static void null_free(struct backend *base)
{
	struct null_backend *b = null_of(base);

	while (b->list) {
		struct sandbox *s = b->list;

		b->list = s->next;
		sandbox_free(s);
	}
	free(b);
}

static const struct backend_ops ops = {
    .name = "null",
    .probe = null_probe,
    .prepare = null_prepare,
    .start = null_start,
    .pid = null_pid,
    .pidfd = null_pidfd,
    .cred_listener = null_cred_listener,
    .open_pty = null_open_pty,
    .freeze = null_freeze,
    .stat = null_stat,
    .kill = null_kill,
    .reap = null_reap,
    .free = null_free,
};

struct backend *backend_null_new(void)
{
	struct null_backend *b = calloc(1, sizeof *b);

	if (!b)
		return NULL;
	b->base.ops = &ops;
	return &b->base;
}

size_t backend_null_count(const struct backend *b)
{
	size_t n = 0;

	for (const struct sandbox *s = null_of(b)->list; s; s = s->next)
		n++;
	return n;
}

void backend_null_fail(struct backend *b, const char *step)
{
	null_of(b)->fail = step;
}

void backend_null_hold(struct backend *b, unsigned times)
{
	null_of(b)->hold = times;
}

void backend_null_exit(struct backend *b)
{
	null_kill(null_of(b)->list);
}

void backend_null_knock(struct backend *b)
{
	(void)!write(null_of(b)->list->knock[1], "k", 1);
}
