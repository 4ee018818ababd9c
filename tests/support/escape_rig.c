#include "tests/support/escape_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/escape_probe.h"
#include "tests/support/sandbox_rig.h"

#define NATIVE_BASE 2590000000u /* below the rig's own ids */

static void first_line(const char *from, char *text, size_t size)
{
	(void)snprintf(text, size, "%.*s", (int)strcspn(from, "\n"), from);
}

int escape_leak(void)
{
	int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* above those that are put in order */
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD, 64);
}

void escape_inside(struct box *x, const struct escape *e, char *text, size_t size)
{
	static struct ran ran;
	const char *argv[] = {"/tmp/probe", "escape", e->name, NULL};
	int r = box_run(x, 7, argv, NULL, 0, 30000, &ran);

	if (r < 0)
		(void)snprintf(text, size, "error: %s", strerror(-r));
	else if (ran.out_len > 0)
		first_line(ran.out, text, size);
	else
		(void)snprintf(
		    text, size, "error: exit %d signal %d %.60s", ran.exit, ran.signal, ran.err);
}

static void write_map(pid_t pid, const char *name)
{
	char path[64], line[64];
	int fd, n;

	(void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
	n = snprintf(line, sizeof line, "0 %u 65536\n", NATIVE_BASE);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	(void)!write(fd, line, (size_t)n);
	(void)close(fd);
}

static __attribute__((noreturn)) void native(const struct escape *e, int self, int go, int out)
{
	char probe[] = "probe", escape[] = "escape", name[64], c;
	char *argv[] = {probe, escape, name, NULL}, *envp[] = {NULL};
	struct mount_attr ro = {.attr_set = MOUNT_ATTR_RDONLY};

	(void)snprintf(name, sizeof name, "%s", e->name);
	if (read(go, &c, 1) != 1 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &ro, sizeof ro) < 0 ||
	    setgroups(0, NULL) < 0 || setresgid(1000, 1000, 1000) < 0 ||
	    setresuid(1000, 1000, 1000) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
		_exit(1);
	/* that it may be seen natively what a process without any would see of its own sets */
	(void)syscall(SYS_close_range, 3, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */);
	(void)fexecve(self, argv, envp);
	_exit(1);
}

void escape_natively(const struct escape *e, char *text, size_t size)
{
	int go[2], out[2], self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int ready[2];
	char said[512] = "", c = 0;
	pid_t pid;
	ssize_t n;

	if (self < 0 || pipe2(go, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 ||
	    pipe2(ready, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
		(void)snprintf(text, size, "error: %s", strerror(errno));
		return;
	}
	if (pid == 0) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0 || write(ready[1], "+", 1) != 1)
			_exit(1);
		native(e, self, go[0], out[1]);
	}
	(void)close(ready[1]);
	(void)close(out[1]);
	if (read(ready[0], &c, 1) == 1) {
		write_map(pid, "uid_map");
		write_map(pid, "gid_map");
		(void)!write(go[1], "+", 1);
	}
	(void)close(go[1]);
	n = read(out[0], said, sizeof said - 1);
	said[n < 0 ? 0 : n] = '\0';
	(void)waitpid(pid, NULL, 0);
	(void)close(go[0]);
	(void)close(ready[0]);
	(void)close(out[0]);
	(void)close(self);
	first_line(said[0] ? said : "error: nothing said", text, size);
}
