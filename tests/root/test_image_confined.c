/* What is left to an unpacker that an image has taken over: the confined child, with our own code
 * in the place of the image's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/image/confined.h"
#include "lib/err.h"
#include "lib/util.h"

struct place_of {
	char dir[32];
	int fd, outside;
	pid_t pid;
};

static int set_up(void **state)
{
	struct place_of *t = calloc(1, sizeof *t);

	(void)snprintf(t->dir, sizeof t->dir, "/tmp/confined-XXXXXX");
	assert_non_null(mkdtemp(t->dir));
	assert_int_equal(chmod(t->dir, 0755), 0);
	t->outside = open(t->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(t->outside, "in", 0755), 0);
	t->fd = openat(t->outside, "in", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(t->outside, "open", 0777), 0);
	assert_int_equal(fchmodat(t->outside, "open", 0777, 0), 0);
	assert_int_equal(close(openat(t->outside, "other", O_CREAT | O_WRONLY, 0666)), 0);
	assert_int_equal(fchmodat(t->outside, "other", 0666, 0), 0);
	*state = t;
	return 0;
}

static int tear_down(void **state)
{
	struct place_of *t = *state;
	char *argv[] = {(char[]){"rm"}, (char[]){"-rf"}, t->dir, NULL};
	pid_t pid;

	if ((pid = fork()) == 0) {
		(void)execv("/bin/rm", argv);
		_exit(1);
	}
	(void)waitpid(pid, NULL, 0);
	(void)close(t->fd);
	(void)close(t->outside);
	free(t);
	return 0;
}

/* Runs fn where the image would be read; its answer. */
static int inside(struct place_of *t, int (*fn)(int dir, const char *top))
{
	int status, image = open("/dev/null", O_RDONLY | O_CLOEXEC);
	pid_t pid;

	assert_int_equal(fchown(t->fd, CONFINED_ID, CONFINED_ID), 0);
	if ((pid = fork()) == 0) {
		int out = dup(2);

		if (confined_enter(image, t->fd, out, getppid(), true, 1 << 20) < 0)
			_exit(99);
		_exit(fn(t->fd, t->dir));
	}
	(void)close(image);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}

static int its_own(int dir, const char *top)
{
	const struct timespec now[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};
	int fd = openat(dir, "x", O_CREAT | O_EXCL | O_WRONLY, 0600);

	(void)top;
	if (fd < 0 || write(fd, "x", 1) != 1 || futimens(fd, now) < 0 || fchmod(fd, 0644) < 0 ||
	    fchown(fd, 33, 33) < 0)
		return 1;
	if (symlinkat("/etc", dir, "l") < 0 || mkdirat(dir, "d", 0700) < 0 ||
	    linkat(dir, "x", dir, "d/y", 0) < 0)
		return 2;
	return 0;
}

static void it_can_write_its_tree(void **state)
{
	struct place_of *t = *state;
	struct stat st;

	assert_int_equal(inside(t, its_own), 0);
	assert_int_equal(fstatat(t->fd, "d/y", &st, 0), 0);
	assert_int_equal(st.st_uid, 33);
}

static int others(int dir, const char *top)
{
	char path[64];

	(void)snprintf(path, sizeof path, "%s/other", top);
	if (openat(dir, path, O_RDONLY) >= 0 || openat(dir, path, O_WRONLY) >= 0)
		return 1;
	if (openat(dir, "../other", O_WRONLY) >= 0 || openat(dir, "/etc/passwd", O_RDONLY) >= 0)
		return 2;
	(void)snprintf(path, sizeof path, "%s/open/new", top);
	if (openat(dir, path, O_CREAT | O_WRONLY, 0600) >= 0 || mkdirat(dir, path, 0700) == 0 ||
	    symlinkat("x", dir, path) == 0)
		return 3;
	if (linkat(dir, "../other", dir, "stolen", 0) == 0 ||
	    renameat2(dir, "../other", dir, "stolen", 0) == 0)
		return 4;
	if (unlinkat(dir, "../other", 0) == 0)
		return 5;
	return 0;
}

static void it_can_open_and_move_nothing_else(void **state)
{
	assert_int_equal(inside(*state, others), 0);
}

static int by_path(int dir, const char *top)
{
	const struct timespec old[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
	char path[64];
	int fd;

	(void)snprintf(path, sizeof path, "%s/other", top);
	if (fchownat(dir, path, CONFINED_ID, CONFINED_ID, 0) == 0 || chown(path, 1, 1) == 0 ||
	    lchown(path, 1, 1) == 0)
		return 1;
	if (fchmodat(dir, path, 04777, 0) == 0 || chmod(path, 0) == 0)
		return 2;
	if (utimensat(dir, path, old, 0) == 0)
		return 3;
	/* a path's descriptor, which Landlock lets through, changes nothing */
	fd = openat(dir, path, O_PATH);
	if (fd >= 0 && (fchown(fd, 1, 1) == 0 || fchmod(fd, 0) == 0 || futimens(fd, old) == 0 ||
	                   fchownat(fd, "", 1, 1, AT_EMPTY_PATH) == 0))
		return 4;
	return 0;
}

/* Landlock says nothing of owners, modes and times. */
static void its_capabilities_reach_no_path(void **state)
{
	assert_int_equal(inside(*state, by_path), 0);
}

static int elsewhere(int dir, const char *top)
{
	char *none[] = {NULL};

	(void)top;
	if (socket(AF_UNIX, SOCK_STREAM, 0) >= 0 || socket(AF_INET, SOCK_STREAM, 0) >= 0)
		return 1;
	if (fork() >= 0)
		return 2;
	if (mknodat(dir, "null", S_IFCHR | 0666, 0x103) == 0 || mknodat(dir, "f", S_IFIFO, 0) == 0)
		return 3;
	if (setresuid(0, 0, 0) == 0)
		return 4;
	(void)execve("/bin/true", none, none);
	return 5;
}

static void it_talks_to_nobody_and_runs_nothing(void **state)
{
	/* the last two end it */
	assert_int_equal(inside(*state, elsewhere), 100 + 31 /* SIGSYS */);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(it_can_write_its_tree, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(it_can_open_and_move_nothing_else, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(its_capabilities_reach_no_path, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(it_talks_to_nobody_and_runs_nothing, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
