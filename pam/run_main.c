/*
 * postern-run: what sshd's ForceCommand starts for a Unix account of agents. It asks the core to
 * run the client's command in the session's sandbox, and passes bytes until it has ended.
 *
 * It runs as the account's user and proves nothing: the core knows it by the cgroup that
 * pam_postern put its sshd into. From its environment it takes what the client asked for, and
 * nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "filters.h"
#include "lib/chan.h"
#include "lib/clock.h"
#include "lib/confine.h"
#include "lib/err.h"
#include "lib/msg.h"
#include "lib/util.h"
#include "pam/denial.h"
#include "pam/dial.h"
#include "pam/run_relay.h"
#include "pam/run_request.h"
#include "pam/run_tty.h"

#define DIAL_SECONDS   5
#define ANSWER_SECONDS 15
#define OPEN_FILES     64
#define USAGE_STATUS   2
#define LOST_STATUS    255

static const int forwarded[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};

static void say(int fd, const char *text)
{
	(void)dprintf(fd, "%s\n", text);
}

static int denied(int fd, const struct err *e)
{
	(void)dprintf(fd, DENIAL_PREFIX "%s\n", err_text(e));
	return DENIAL_STATUS;
}

/* A descriptor for the signals that go to the command instead of to us. */
static int take_signals(struct err *e)
{
	sigset_t set;
	int fd;

	(void)sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_LEN(forwarded); i++)
		(void)sigaddset(&set, forwarded[i]);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGTTOU, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return err_set(e, -errno, "no signals: %m");
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? err_set(e, -errno, "no signals: %m") : fd;
}

/* Before a byte of the client or the sandbox is read. */
static int confine(struct err *e)
{
	const struct confine_limits limits = {.open_files = OPEN_FILES, .file_bytes = UINT64_MAX};
	int r = confine_limits(&limits);

	if (r == 0)
		r = confine_landlock(NULL, 0, NULL);
	/* a kernel without Landlock: seccomp refuses to open anything as well */
	if (r == 0 || r == -ENOSYS)
		r = confine_seccomp(filter_run, ARRAY_LEN(filter_run));
	if (r < 0) {
		errno = -r;
		return err_set(e, r, "cannot confine itself: %m");
	}
	return 0;
}

static bool kind_is(int fd, mode_t kind)
{
	struct stat st;

	return fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == kind;
}

/* The descriptors of channel.started: pipes, or a master; never a socket. */
static int take_box(struct msg *m, struct relay *r, struct err *e)
{
	size_t n = r->pty ? 1 : 3;
	bool fits = m->nfds == n + 1;

	for (size_t i = 0; i < n; i++)
		r->box[i] = msg_take_fd(m, i);
	r->status = msg_take_fd(m, n);
	for (size_t i = 0; i < n && fits; i++)
		fits = kind_is(r->box[i], r->pty ? S_IFCHR : S_IFIFO);
	if (!fits || !kind_is(r->status, S_IFIFO))
		return err_set(e, -EPROTO, "the broker sent other descriptors than it should");
	if (r->pty) {
		r->box[1] = fcntl(r->box[0], F_DUPFD_CLOEXEC, 3);
		if (r->box[1] < 0)
			return err_set(e, -errno, "no descriptor: %m");
		(void)run_tty_copy_size(r->tty, r->box[1]);
	}
	return 0;
}

static int ask(struct relay *r, json_t *body, struct err *e)
{
	struct msg m = MSG_INIT;
	int64_t until = clock_mono_ns() + ANSWER_SECONDS * NSEC_PER_SEC;
	int n = chan_call(r->core, "channel.exec", body, NULL, 0, until, &m, e);

	if (n < 0)
		return err_wrap(e, n, "the broker does not answer");
	if (msg_is(&m, "channel.started"))
		n = take_box(&m, r, e);
	else if (msg_is(&m, "channel.denied") || msg_is(&m, "channel.failed"))
		n = denial_text(&m, e);
	else
		n = err_set(e, -EPROTO, "the broker answers with something else");
	msg_done(&m);
	return n;
}

/* Ends as the command did. Our process group holds the shell that sshd started us with, and us. */
static int end_by_signal(int signo)
{
	sigset_t set;

	(void)signal(signo, SIG_DFL);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, signo);
	(void)sigprocmask(SIG_UNBLOCK, &set, NULL);
	(void)kill(0, signo);
	return 128 + signo; /* it is one that ends nothing */
}

static int report(const struct relay_end *end, int errors)
{
	if (end->denied)
		return denied(errors, &end->why);
	if (end->failed) {
		const char *why = strerrordesc_np(end->failed);

		(void)dprintf(errors, "postern: cannot run the command: %s\n",
		    why ? why : "an unknown error");
	}
	if (end->lost) {
		say(errors, "postern: session ended: the sandbox is gone");
		return LOST_STATUS;
	}
	return end->signo ? end_by_signal(end->signo) : end->exit;
}

static int run(const char *socket, int errors, struct run_tty *tty)
{
	struct relay r = {.channel = RUN_CHANNEL,
	    .tty = -1,
	    .local = {0, 1, 2},
	    .box = {-1, -1, -1},
	    .status = -1,
	    .signals = -1};
	struct relay_end end;
	struct err e = ERR_INIT;
	json_t *body;
	int n;

	cleanup_close int signals = take_signals(&e);
	cleanup_chan struct chan *core = NULL;
	cleanup_close int terminal = isatty(0) ? fcntl(0, F_DUPFD_CLOEXEC, 3) : -1;

	if (signals < 0 || dial_core(socket, MSG_RUN, clock_mono_ns() + DIAL_SECONDS * NSEC_PER_SEC,
	                       &core, &e) < 0)
		return denied(errors, &e);
	r.core = core;
	r.signals = signals;
	r.pty = terminal >= 0;
	r.tty = terminal;
	if (run_request(getenv("SSH_ORIGINAL_COMMAND"), terminal, getenv("TERM"), &body, &e) < 0)
		return denied(errors, &e);
	if (r.pty && (n = run_tty_raw(tty, terminal)) < 0) {
		json_decref(body);
		(void)err_set(&e, n, "the terminal cannot be made raw");
		return denied(errors, &e);
	}
	if (ask(&r, body, &e) < 0 || confine(&e) < 0) {
		run_tty_restore(tty);
		return denied(errors, &e);
	}
	n = relay_run(&r, &end);
	run_tty_restore(tty);
	if (n < 0) {
		(void)err_set(&e, n, "the bytes cannot be passed on");
		return denied(errors, &e);
	}
	return report(&end, errors);
}

static int usage(void)
{
	say(2, "usage: postern-run [--socket path]");
	return USAGE_STATUS;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
	    {"socket", required_argument, NULL, 's'},
	    {"version", no_argument, NULL, 'V'},
	    {NULL, 0, NULL, 0},
	};
	const char *socket = DIAL_RUN_SOCKET;
	struct run_tty tty = {.fd = -1};
	int c, errors;

	/* three descriptors, and nothing that somebody forgot to close */
	if (fcntl(0, F_GETFD) < 0 || fcntl(1, F_GETFD) < 0 || fcntl(2, F_GETFD) < 0 ||
	    confine_basics() < 0 || confine_fds(NULL, 0) < 0)
		return DENIAL_STATUS;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'V') {
			(void)printf("postern-run " POSTERN_VERSION "\n");
			return 0;
		}
		if (c != 's')
			return usage();
		socket = optarg;
	}
	if (optind != argc)
		return usage();
	errors = fcntl(2, F_DUPFD_CLOEXEC, 3); /* the relay closes its own */
	/* nothing is buffered; and a leak check at exit would need what we have given up */
	_exit(errors < 0 ? DENIAL_STATUS : run(socket, errors, &tty));
}
