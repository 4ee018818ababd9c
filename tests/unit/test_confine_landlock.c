#include "lib/confine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/util.h"
#include "tests/support/child.h"

static char dir_name[] = "/tmp/postern-confine-XXXXXX";

static int open_in(int dir, const char *name, int flags)
{
	int fd = openat(dir, name, flags | O_CLOEXEC, 0600), r = fd < 0 ? -errno : 0;

	util_close(&fd);
	return r;
}

static int child_landlock_nothing(void)
{
	int abi = 0;

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(open_in(AT_FDCWD, "/etc/passwd", O_RDONLY) == 0);
	CHECK(confine_landlock(NULL, 0, &abi) == 0);
	CHECK(abi >= 1 && abi <= 7);
	CHECK(open_in(AT_FDCWD, "/etc/passwd", O_RDONLY) == -EACCES);
	CHECK(open_in(AT_FDCWD, "/", O_RDONLY | O_DIRECTORY) == -EACCES);
	CHECK(open_in(AT_FDCWD, dir_name, O_RDONLY | O_DIRECTORY) == -EACCES);
	CHECK(execl("/bin/true", "true", (char *)NULL) < 0 && errno == EACCES);
	return 0;
}

/* What would need a file was read in time. */
static int child_landlock_boot_id(void)
{
	CHECK(confine_basics() == 0);
	CHECK(confine_landlock(NULL, 0, NULL) == 0);
	CHECK(strlen(clock_boot_id()) == 36);
	return 0;
}

static int child_landlock_paths(void)
{
	int dir = open(dir_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int ro = openat(dir, "ro", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rw = openat(dir, "rw", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int file = openat(dir, "file", O_RDONLY | O_CLOEXEC);
	const struct confine_path paths[] = {{ro, 0}, {rw, 1}, {file, 0}};
	char path[64];
	int abi = 0;

	CHECK(dir >= 0 && ro >= 0 && rw >= 0 && file >= 0);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	(void)snprintf(path, sizeof path, "%s/ro/f", dir_name);
	CHECK(confine_landlock(paths, 3, &abi) == 0);
	CHECK(open_in(ro, "f", O_RDONLY) == 0);
	CHECK(open_in(ro, "f", O_WRONLY) == -EACCES);
	CHECK(abi < 3 || (truncate(path, 0) < 0 && errno == EACCES));
	CHECK(open_in(ro, "new", O_WRONLY | O_CREAT) == -EACCES);
	CHECK(unlinkat(ro, "f", 0) < 0 && errno == EACCES);
	CHECK(open_in(rw, "new", O_WRONLY | O_CREAT) == 0);
	CHECK(open_in(rw, "new", O_WRONLY | O_TRUNC) == 0);
	CHECK(renameat(rw, "new", rw, "newer") == 0);
	CHECK(unlinkat(rw, "newer", 0) == 0);
	CHECK(symlinkat("f", rw, "link") < 0 && errno == EACCES);
	CHECK(mkfifoat(rw, "fifo", 0600) < 0 && errno == EACCES);
	CHECK(open_in(dir, "file", O_RDONLY) == 0);
	CHECK(open_in(dir, "file", O_WRONLY) == -EACCES);
	CHECK(open_in(dir, "other", O_RDONLY) == -EACCES);
	return 0;
}

static int child_landlock_net(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), abi = 0;

	CHECK(s >= 0);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(confine_landlock(NULL, 0, &abi) == 0);
	if (abi < 4)
		return 0;
	CHECK(bind(s, (struct sockaddr *)&in, sizeof in) < 0 && errno == EACCES);
	in.sin_port = htons(9);
	CHECK(connect(s, (struct sockaddr *)&in, sizeof in) < 0 && errno == EACCES);
	return 0;
}

/* Signals to, and abstract sockets of, processes outside; both are open before. */
static int child_landlock_scopes(void)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	const socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 24);
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), abi = 0;

	(void)snprintf(un.sun_path + 1, 24, "postern-confine-%d", (int)getpid());
	CHECK(bind(listener, (struct sockaddr *)&un, len) == 0 && listen(listener, 1) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), bad = 0;

		if (kill(getppid(), 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		    confine_landlock(NULL, 0, &abi) < 0)
			_exit(1);
		if (abi >= 6) {
			bad |= kill(getppid(), 0) == 0 || errno != EPERM ? 2 : 0;
			bad |=
			    connect(s, (struct sockaddr *)&un, len) == 0 || errno != EPERM ? 4 : 0;
		}
		_exit(bad);
	}
	int status;
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(status == 0);
	return 0;
}

static int child_landlock_bad_fd(void)
{
	const struct confine_path path = {-1, 0};

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(confine_landlock(&path, 1, NULL) == -EBADF);
	CHECK(open_in(AT_FDCWD, "/etc/passwd", O_RDONLY) == 0); /* nothing was half done */
	return 0;
}

static void landlock_denies_what_was_not_given(void **state)
{
	(void)state;
	if (confine_landlock_abi() == -ENOSYS)
		skip();
	assert_true(confine_landlock_abi() >= 1);
	child_run(child_landlock_nothing);
	child_run(child_landlock_boot_id);
	child_run(child_landlock_paths);
	child_run(child_landlock_bad_fd);
}

static void landlock_denies_tcp_and_foreign_processes(void **state)
{
	(void)state;
	if (confine_landlock_abi() == -ENOSYS)
		skip();
	child_run(child_landlock_net);
	child_run(child_landlock_scopes);
}

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(dir_name))
		return -1;
	cleanup_close int dir = open(dir_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (mkdirat(dir, "ro", 0700) < 0 || mkdirat(dir, "rw", 0700) < 0)
		return -1;
	return open_in(dir, "file", O_WRONLY | O_CREAT) |
	       open_in(dir, "other", O_WRONLY | O_CREAT) | open_in(dir, "ro/f", O_WRONLY | O_CREAT);
}

static int teardown(void **state)
{
	cleanup_close int dir = open(dir_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	(void)unlinkat(dir, "ro/f", 0);
	(void)unlinkat(dir, "file", 0);
	(void)unlinkat(dir, "other", 0);
	(void)unlinkat(dir, "ro", AT_REMOVEDIR);
	(void)unlinkat(dir, "rw", AT_REMOVEDIR);
	return rmdir(dir_name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(landlock_denies_what_was_not_given),
	    cmocka_unit_test(landlock_denies_tcp_and_foreign_processes),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
