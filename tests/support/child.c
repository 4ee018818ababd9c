#include "tests/support/child.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fdio.h"
#include "lib/util.h"

void child_run(int (*fn)(void))
{
	int status, pipe_fds[2], line = -1;
	pid_t pid;

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int out = fn();

		_exit(write(pipe_fds[1], &out, sizeof out) == sizeof out ? 0 : 1);
	}
	util_close(&pipe_fds[1]);
	(void)fd_read_full(pipe_fds[0], &line, sizeof line);
	util_close(&pipe_fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (line != 0)
		fail_msg("line %d, status %d", line, status);
}
