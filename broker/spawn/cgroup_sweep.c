#include "broker/spawn/cgroup_sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "broker/spawn/cgroup_find.h"
#include "lib/clock.h"
#include "lib/util.h"

#define STEP_MS   5
#define MOVES_MAX 8

static void dir_cleanup(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}
#define cleanup_dir __attribute__((cleanup(dir_cleanup)))

static int open_file(int dir, const char *name, const char *file, int flags)
{
	char path[256];

	if ((size_t)snprintf(path, sizeof path, "%s/%s", name, file) >= sizeof path)
		return -ENAMETOOLONG;
	return openat(dir, path, flags | O_CLOEXEC);
}

int cgroup_write(int dir, const char *name, const char *file, const char *text)
{
	cleanup_close int fd = open_file(dir, name, file, O_WRONLY);

	if (fd < 0)
		return -errno;
	return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

static void on_alarm(int signo)
{
	(void)signo;
}

/* The kernel goes on reclaiming as long as it finds something, which others may go on making: only
 * a signal ends that (mem_cgroup_resize_max(), memory_max_write()). It comes again, so that none is
 * early. */
int cgroup_write_within(int dir, const char *name, const char *file, const char *text, int ms)
{
	struct sigaction act = {.sa_handler = on_alarm}, old;
	struct itimerval t = {{0, ms * 1000}, {0, ms * 1000}}, off = {0};
	int r;

	if (sigaction(SIGALRM, &act, &old) < 0 || setitimer(ITIMER_REAL, &t, NULL) < 0)
		return -errno;
	r = cgroup_write(dir, name, file, text);
	(void)setitimer(ITIMER_REAL, &off, NULL);
	(void)sigaction(SIGALRM, &old, NULL);
	return r;
}

int cgroup_read(int dir, const char *name, const char *file, char *dst, size_t size)
{
	cleanup_close int fd = open_file(dir, name, file, O_RDONLY);
	ssize_t n;

	*dst = '\0';
	if (fd < 0)
		return -errno;
	n = read(fd, dst, size - 1);
	if (n < 0)
		return -errno;
	dst[n] = '\0';
	return 0;
}

uint64_t cgroup_value(const char *text, const char *key)
{
	size_t n = strlen(key);

	for (const char *p = text; p && *p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
		if (strncmp(p, key, n) == 0 && p[n] == ' ')
			return strtoull(p + n + 1, NULL, 10);
	return 0;
}

static DIR *open_dir(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d && fd >= 0)
		(void)close(fd);
	return d;
}

static bool is_child(const struct dirent *d)
{
	return d->d_type == DT_DIR && d->d_name[0] != '.';
}

void cgroup_move(int dir, const char *from, int to_dir, const char *to)
{
	static char pids[65536];

	for (int i = 0; i < MOVES_MAX; i++) {
		if (cgroup_read(dir, from, "cgroup.procs", pids, sizeof(pids)) < 0 || !*pids)
			return;
		for (char *p = pids, *end; *p; p = end) {
			end = p + strcspn(p, "\n");
			if (*end)
				*end++ = '\0';
			(void)cgroup_write(to_dir, to, "cgroup.procs", p);
		}
	}
}

void cgroup_gather(int dir, const char *name, int to_dir, const char *to)
{
	cleanup_dir DIR *top = open_dir(dir, ".");

	for (struct dirent *t; top && (t = readdir(top));) {
		cleanup_close int first = -1;

		if (!is_child(t))
			continue;
		first = openat(dirfd(top), t->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (first >= 0)
			cgroup_move(first, name, to_dir, to);
	}
}

bool cgroup_has_others(int dir)
{
	cleanup_dir DIR *d = open_dir(dir, ".");
	bool others = false;

	for (struct dirent *t; d && (t = readdir(d));)
		others |= is_child(t) && strcmp(t->d_name, CGROUP_LEAF) != 0;
	return others;
}

/* One pass; true if something is left. */
static bool pass(int dir, const char *keep, bool with_kill)
{
	cleanup_dir DIR *top = open_dir(dir, ".");
	bool left = false;

	for (struct dirent *t; top && (t = readdir(top));) {
		if (!is_child(t))
			continue;
		bool spare = keep && strcmp(t->d_name, keep) == 0;
		cleanup_dir DIR *second = open_dir(dir, t->d_name);

		for (struct dirent *s; second && (s = readdir(second));) {
			if (!is_child(s))
				continue;
			if (with_kill && !spare)
				(void)cgroup_write(dirfd(second), s->d_name, "cgroup.kill", "1");
			if (unlinkat(dirfd(second), s->d_name, AT_REMOVEDIR) < 0 && !spare)
				left = true;
		}
		if (unlinkat(dir, t->d_name, AT_REMOVEDIR) < 0 && !spare)
			left = true;
	}
	return left;
}

void cgroup_sweep(int dir, const char *keep, int wait_ms)
{
	int64_t end = clock_mono_ns() + (int64_t)wait_ms * 1000000;

	/* a version 1 tree tells nobody when a directory becomes empty, so this looks again */
	for (bool first = true; pass(dir, keep, first) && clock_mono_ns() < end; first = false)
		(void)poll(NULL, 0, STEP_MS);
}
