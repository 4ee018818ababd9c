#include "broker/supervisor/orphans.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/util.h"

#define ROUNDS  100
#define STEP_MS 20

/* proc(5): /proc/PID/task/TID/children lists those that live. Only pids that are our own children,
 * which nobody else can reap, are named: none of them can have been given to another process. */
static void kill_children(void)
{
	char path[64], text[4096];
	cleanup_close int fd = -1;
	char *p = text, *end;
	ssize_t n;

	(void)snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		return;
	if ((n = read(fd, text, sizeof text - 1)) <= 0)
		return;
	text[n] = '\0';
	for (;;) {
		long pid = strtol(p, &end, 10);

		if (end == p || (*end != ' ' && *end != '\0'))
			return;
		if (pid > 1 && *end == ' ')
			(void)kill((pid_t)pid, SIGKILL);
		p = end;
	}
}

void orphans_end(void)
{
	for (int i = 0; i < ROUNDS; i++) {
		pid_t pid;

		while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
			;
		if (pid < 0 && errno == ECHILD)
			return;
		kill_children();
		(void)poll(NULL, 0, STEP_MS);
	}
}
