#include "broker/init/run.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "broker/init/proto.h"
#include "lib/defence.h"

#define PATH_LEN     4096
#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin"

static bool root;         /* the agent is uid 0 */
static uint64_t bounding; /* pid 1's bounding set: nothing adds to it */

void run_prepare(void)
{
	static const unsigned long usual[4]; /* the kernel's struct sigaction: SIG_DFL */
	int has;

	for (unsigned long c = 0; c < 64; c++) {
		if ((has = prctl(PR_CAPBSET_READ, c, 0, 0, 0)) < 0)
			break; /* the last one that this kernel knows */
		bounding |= (uint64_t)has << c;
	}
	/* what spawn or a runtime ignored would be ignored by every command; the raw call, as libc
	 * keeps a few for itself */
	for (int s = 1; s < 65; s++)
		(void)syscall(SYS_rt_sigaction, s, &usual, NULL, 8);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)umask(022);
}

void run_as_root(void)
{
	root = true;
}

static const char *find_path(char *const *envp)
{
	for (; *envp; envp++)
		if (strncmp(*envp, "PATH=", 5) == 0)
			return *envp + 5;
	return DEFAULT_PATH;
}

/* The five sets, and the way back to them. Root keeps its few as permitted, effective and bounding
 * ones: execve(2) gives uid 0 no more than that, and another uid none. */
static int drop_caps(void)
{
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	uint32_t keep = root ? INIT_ROOT_CAPS : 0;
	struct __user_cap_data_struct few[2] = {{keep, keep, 0}, {0, 0, 0}};
	unsigned uid = root ? 0 : AGENT_UID, gid = root ? 0 : AGENT_GID;

	if (!DEFENCE("drop-caps"))
		return 0;
	for (uint64_t drop = bounding & ~(uint64_t)keep; drop; drop &= drop - 1)
		if (prctl(PR_CAPBSET_DROP, __builtin_ctzll(drop), 0, 0, 0) < 0)
			return -1;
	/* the raw calls: they change this thread alone, which is all there is */
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
	    syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, gid, gid, gid) < 0 ||
	    syscall(SYS_setresuid, uid, uid, uid) < 0 || syscall(SYS_capset, &h, few) < 0)
		return -1;
	return 0;
}

/* 0, 1 and 2 are ours and /dev/null, and received descriptors lie above them. */
static int arrange(const struct init_request *q, const int *fds)
{
	int pty = q->flags & INIT_PTY;

	if (setsid() < 0 || (pty && ioctl(fds[0], TIOCSCTTY, 0) < 0))
		return -1;
	for (int i = 0; i < 3; i++)
		if (dup2(pty ? fds[0] : fds[i], i) < 0)
			return -1;
	return DEFENCE("init-close-fds") ? (int)syscall(SYS_close_range, 3, ~0u, 0) : 0;
}

/* Pid 1 ignores one and blocks one; run_prepare() saw to the others. */
static void reset_signals(void)
{
	sigset_t none;

	(void)signal(SIGPIPE, SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* As sh does: with a slash as it is, else through PATH, where "not allowed" is kept for the end. */
static int execute(const struct init_request *q)
{
	const char *name = q->argv[0];
	char path[PATH_LEN];
	int error = ENOENT;

	if (strchr(name, '/')) {
		(void)execve(name, q->argv, q->envp);
		return errno;
	}
	for (const char *dir = find_path(q->envp), *end; *name && dir;
	     dir = *end ? end + 1 : NULL) {
		size_t n = strcspn(dir, ":");

		end = dir + n;
		if (n + 1 + strlen(name) + 1 > sizeof(path))
			continue;
		memcpy(path, dir, n);
		if (n > 0) /* an empty entry is the working directory */
			path[n++] = '/';
		memcpy(path + n, name, strlen(name) + 1);
		(void)execve(path, q->argv, q->envp);
		if (errno != ENOENT && errno != ENOTDIR)
			error = errno;
	}
	return error;
}

/* A whole line in one write, for there may be other writers. */
static void complain(const char *name, const char *why)
{
	char line[512];
	size_t n = 0, left;
	const char *const parts[] = {"postern: ", name, ": ", why, "\n"};

	for (size_t i = 0; i < 5; i++) {
		size_t len = strlen(parts[i]);

		left = sizeof(line) - n;
		if (i == 1 && len > 256)
			len = 256;
		if (len > left)
			len = left;
		memcpy(line + n, parts[i], len);
		n += len;
	}
	if (write(2, line, n) < 0)
		return; /* nobody to tell */
}

static const char *why(int error)
{
	switch (error) {
	case ENOENT:
		return "command not found";
	case EACCES:
	case EPERM:
		return "permission denied";
	case ENOEXEC:
		return "exec format error";
	case E2BIG:
		return "argument list too long";
	case ENOMEM:
		return "out of memory";
	default:
		return "cannot be run";
	}
}

static __attribute__((noreturn)) void child(
    const struct init_request *q, const int *fds, volatile int *error)
{
	if (arrange(q, fds) < 0 || drop_caps() < 0) {
		*error = errno;
		_exit(126);
	}
	reset_signals();
	if (!*q->cwd || chdir(q->cwd) < 0)
		(void)!chdir("/");
	*error = execute(q);
	complain(q->argv[0], why(*error));
	_exit(*error == ENOENT || *error == ENOTDIR ? 127 : 126);
}

pid_t run_command(const struct init_request *q, const int *fds, int *ret_error)
{
	volatile int error = 0;
	pid_t pid = vfork();

	if (pid == 0)
		child(q, fds, &error);
	*ret_error = error;
	return pid < 0 ? -errno : pid;
}
