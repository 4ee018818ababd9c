/*
 * What every command begins with: paths below the state directory, a link to the core, a
 * question.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/core/ctl_answers.h"
#include "broker/ctl/ctl.h"
#include "lib/chan.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"

#define PATIENCE_NS (10 * NSEC_PER_SEC)

char *ctl_path(const struct ctl *c, const char *name, const char *installed, char dst[PATH_MAX])
{
	if (!c->state)
		(void)str_copy(dst, PATH_MAX, installed);
	else if (snprintf(dst, PATH_MAX, "%s/%s", c->state, name) >= PATH_MAX)
		(void)str_copy(dst, PATH_MAX, "/nonexistent");
	return dst;
}

int ctl_fail(int code, const char *fmt, ...)
{
	va_list ap;

	(void)fputs("postern: ", stderr);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
	return code;
}

int ctl_json(const json_t *o)
{
	(void)json_dumpf(o, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
	(void)putchar('\n');
	return EXIT_OK;
}

/* By descriptor: a socket's address has room for 107 bytes only. */
static int dial(const char *run, int *ret)
{
	cleanup_close int dir = open(run, O_PATH | O_DIRECTORY | O_CLOEXEC);
	cleanup_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	if (dir < 0 || fd < 0)
		return -errno;
	(void)snprintf(a.sun_path, sizeof a.sun_path, "/proc/self/fd/%d/control.sock", dir);
	if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0)
		return -errno;
	*ret = steal_fd(&fd);
	return 0;
}

int ctl_dial(const struct ctl *c, struct chan **ret, int quiet)
{
	char run[PATH_MAX];
	int fd = -1, r;

	r = dial(ctl_path(c, "run", "/run/postern", run), &fd);
	if (r == -EACCES || r == -EPERM)
		return ctl_fail(EXIT_DENIED,
		    "%s/control.sock: only root and the group postern-admin may speak to Postern",
		    run);
	if (r < 0 && quiet)
		return EXIT_NO_DAEMON;
	if (r < 0)
		return ctl_fail(EXIT_NO_DAEMON, "no Postern answers at %s/control.sock (%s): %s",
		    run, strerror(-r),
		    c->state ? "is it the --state of one that runs?"
		             : "see systemctl status postern; `postern up` needs --state DIR");
	if (!(*ret = chan_new(fd, MSG_CTL, MSG_CORE)))
		return ctl_fail(EXIT_FAILED, "no memory");
	return EXIT_OK;
}

static int exit_of(int64_t code)
{
	switch (code) {
	case CTL_USAGE:
		return EXIT_USAGE;
	case CTL_NOT_FOUND:
		return EXIT_NOT_FOUND;
	case CTL_DENIED:
		return EXIT_DENIED;
	case CTL_CONFIG:
		return EXIT_CONFIG;
	case CTL_UNSEALED:
		return EXIT_UNSEALED;
	case CTL_LOST:
		return EXIT_LOST;
	case CTL_ARCHIVED:
		return EXIT_ARCHIVED;
	default:
		return EXIT_FAILED;
	}
}

int ctl_try(struct chan *link, const char *type, json_t *body, struct msg *ret)
{
	int r = chan_call(link, type, body, NULL, 0, clock_mono_ns() + PATIENCE_NS, ret, NULL);
	int code;

	if (r == -ETIMEDOUT || r == -ECONNRESET || r == -EPIPE)
		return EXIT_NO_DAEMON;
	if (r < 0)
		return EXIT_FAILED;
	if (!msg_is(ret, "ctl.error"))
		return EXIT_OK;
	code = exit_of(msg_int(ret, "code", CTL_FAILED));
	msg_done(ret);
	return code;
}

int ctl_ask(struct chan *link, const char *type, json_t *body, struct msg *ret)
{
	struct err e = ERR_INIT;
	char text[1024];
	const char *why;
	int r, code;

	r = chan_call(link, type, body, NULL, 0, clock_mono_ns() + PATIENCE_NS, ret, &e);
	if (r == -ETIMEDOUT)
		return ctl_fail(EXIT_NO_DAEMON, "the core does not answer");
	if (r == -ECONNRESET || r == -EPIPE)
		return ctl_fail(EXIT_NO_DAEMON, "the core has closed the connection: it is "
		                                "restarting, or you may not speak to it");
	if (r < 0)
		return ctl_fail(EXIT_FAILED, "%s", err_text(&e));
	if (!msg_is(ret, "ctl.error"))
		return EXIT_OK;
	why = msg_str(ret, "reason");
	code = exit_of(msg_int(ret, "code", CTL_FAILED));
	code = ctl_fail(code, "%s", str_escape(text, sizeof text, why, strlen(why)));
	msg_done(ret);
	return code;
}

int ctl_query(const struct ctl *c, const char *type, json_t *body, json_t **ret)
{
	cleanup_chan struct chan *link = NULL;
	struct msg m = MSG_INIT;
	int code;

	if ((code = ctl_dial(c, &link, 0)) != EXIT_OK) {
		json_decref(body);
		return code;
	}
	if ((code = ctl_ask(link, type, body, &m)) != EXIT_OK)
		return code;
	if (!msg_is(&m, "ctl.answer")) {
		msg_done(&m);
		return ctl_fail(EXIT_FAILED, "an answer to another question");
	}
	*ret = json_incref(msg_obj(&m, "data"));
	msg_done(&m);
	return EXIT_OK;
}
