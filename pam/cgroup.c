#include "pam/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lib/err.h"
#include "lib/str.h"
#include "lib/util.h"

#define UNIFIED "0::" /* the version 2 hierarchy in /proc/PID/cgroup (cgroups(7)) */

static bool is_version_2(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

/* The whole of /proc/self/cgroup; version 1 hierarchies have lines of their own in it. */
static int read_own(char *dst, size_t size)
{
	size_t at = 0;
	cleanup_close int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t n = read(fd, dst + at, size - 1 - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		at += (size_t)n;
		if (at == size - 1)
			return -EFBIG;
	}
	dst[at] = '\0';
	return 0;
}

int cgroup_here(char *dst, struct err *e)
{
	char text[16 * 1024];
	int r = read_own(text, sizeof text);

	if (r < 0) {
		errno = -r;
		return err_set(e, r, "/proc/self/cgroup: %m");
	}
	for (char *line = text, *end; *line; line = end) {
		end = strchr(line, '\n');
		if (!end)
			break;
		*end++ = '\0';
		if (strncmp(line, UNIFIED, sizeof UNIFIED - 1) != 0)
			continue;
		if (!str_copy(dst, CGROUP_PATH_MAX, line + sizeof UNIFIED - 1))
			return err_set(e, -ENAMETOOLONG, "/proc/self/cgroup: too long");
		return 0;
	}
	return err_set(e, -ENOENT, "no cgroup of version 2");
}

static int write_self(int procs)
{
	ssize_t n;

	do /* "0" is the writing process (cgroups(7)) */
		n = write(procs, "0", 1);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int cgroup_enter(int procs, struct err *e)
{
	char before[CGROUP_PATH_MAX], after[CGROUP_PATH_MAX];
	int r;

	if (!is_version_2(procs))
		return err_set(e, -EINVAL, "the broker sent something that is no cgroup");
	if ((r = cgroup_here(before, e)) < 0)
		return r;
	if ((r = write_self(procs)) < 0) {
		errno = -r;
		return err_set(e, r, "the session's cgroup cannot be entered: %m");
	}
	if ((r = cgroup_here(after, e)) < 0)
		return r;
	if (strcmp(before, after) == 0)
		return err_set(e, -EXDEV, "the session's cgroup was not entered");
	return 0;
}

int cgroup_return(const char *path)
{
	/* systemd's two places: the unified hierarchy alone, and beside version 1 */
	static const char *const roots[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
	char procs[CGROUP_PATH_MAX + 64];

	for (size_t i = 0; i < ARRAY_LEN(roots); i++) {
		cleanup_close int fd = -1;

		(void)snprintf(procs, sizeof procs, "%s%s/cgroup.procs", roots[i], path);
		fd = open(procs, O_WRONLY | O_CLOEXEC);
		if (fd >= 0 && is_version_2(fd))
			return write_self(fd);
	}
	return -ENOENT;
}
