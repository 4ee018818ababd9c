#include "broker/supervisor/launch.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/err.h"
#include "lib/util.h"

#define FIRST_FD 3
/* Where descriptors wait while 3, 4, ... are put in order. */
#define ASIDE (FIRST_FD + LAUNCH_FDS_MAX)

static const char *const env_kept[] = {
    "JOURNAL_STREAM", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"};

void launch_init(struct launch *l, int dirfd, const char *name)
{
	memset(l, 0, sizeof *l);
	l->dirfd = dirfd;
	l->name = name;
}

void launch_arg(struct launch *l, const char *fmt, ...)
{
	va_list ap;
	int n;

	assert(l->nargs < LAUNCH_ARGS_MAX);
	va_start(ap, fmt);
	n = vsnprintf(l->args[l->nargs], LAUNCH_ARG_LEN, fmt, ap);
	va_end(ap);
	assert(n >= 0 && n < LAUNCH_ARG_LEN);
	l->nargs++;
}

void launch_fd(struct launch *l, const char *name, int fd)
{
	assert(l->nfds < LAUNCH_FDS_MAX);
	if (name)
		launch_arg(l, "%s=%zu", name, FIRST_FD + l->nfds);
	l->fds[l->nfds++] = fd;
}

static _Noreturn void child_failed(const char *name)
{
	const char *why = strerrordesc_np(errno);
	const char *const parts[] = {"postern-supervisor: cannot start ", name, ": ", why, "\n"};

	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		if (write(STDERR_FILENO, parts[i], strlen(parts[i])) < 0)
			break;
	_exit(127);
}

/* Where it cannot be set the program runs all the same: it is a matter of order only. */
static void set_score(const char *score)
{
	int fd = *score ? open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC) : -1;

	if (fd >= 0) {
		(void)!write(fd, score, strlen(score));
		(void)close(fd);
	}
}

/* Between fork and exec: async-signal-safe calls on prepared data only (signal-safety(7)). */
static _Noreturn void child(
    const struct launch *l, char **argv, char **envp, const char *score, int null, int exe)
{
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	sigset_t none;
	int aside[LAUNCH_FDS_MAX];

	(void)setsid();
	set_score(score);
	for (int s = 1; s < NSIG; s++)
		(void)sigaction(s, &dfl, NULL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	for (size_t i = 0; i < l->nfds; i++)
		if ((aside[i] = fcntl(l->fds[i], F_DUPFD_CLOEXEC, ASIDE)) < 0)
			child_failed(l->name);
	if ((exe = fcntl(exe, F_DUPFD_CLOEXEC, ASIDE)) < 0)
		child_failed(l->name);
	if (dup2(null, 0) < 0 || dup2(2, 1) < 0)
		child_failed(l->name);
	for (size_t i = 0; i < l->nfds; i++)
		if (dup2(aside[i], FIRST_FD + (int)i) < 0)
			child_failed(l->name);
	/* everything else is CLOEXEC at birth; this is the second lock on that door */
	if (close_range((unsigned)(FIRST_FD + (int)l->nfds), ~0u, CLOSE_RANGE_CLOEXEC) < 0)
		child_failed(l->name);
	(void)fexecve(exe, argv, envp);
	child_failed(l->name);
}

pid_t launch_run(const struct launch *l, struct err *e)
{
	char *argv[LAUNCH_ARGS_MAX + 2] = {NULL};
	char *envp[ARRAY_LEN(env_kept) + 1] = {NULL};
	char env[ARRAY_LEN(env_kept)][256];
	cleanup_close int null = -1;
	cleanup_close int exe = -1;
	char name[LAUNCH_ARG_LEN], score[16] = "";
	size_t nenv = 0;
	pid_t pid;

	(void)snprintf(name, sizeof name, "%s", l->name);
	if (l->oom)
		(void)snprintf(score, sizeof score, "%d", l->oom);
	argv[0] = name;
	for (size_t i = 0; i < l->nargs; i++)
		argv[i + 1] = (char *)(uintptr_t)l->args[i];
	for (size_t i = 0; i < ARRAY_LEN(env_kept); i++) {
		const char *v = getenv(env_kept[i]);

		if (v && snprintf(env[nenv], sizeof env[nenv], "%s=%s", env_kept[i], v) <
		             (int)sizeof env[nenv]) {
			envp[nenv] = env[nenv];
			nenv++;
		}
	}
	if ((exe = openat(l->dirfd, l->name, O_PATH | O_CLOEXEC)) < 0)
		return err_set(e, -errno, "cannot open the program %s: %m", l->name);
	if ((null = open("/dev/null", O_RDWR | O_CLOEXEC)) < 0)
		return err_set(e, -errno, "cannot open /dev/null: %m");
	if ((pid = fork()) < 0)
		return err_set(e, -errno, "cannot fork for %s: %m", l->name);
	if (pid == 0)
		child(l, argv, envp, score, null, exe);
	return pid;
}
