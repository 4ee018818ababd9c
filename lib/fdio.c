#include "lib/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/util.h"

#define OPEN_TRIES 16

int fd_set_nonblock(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	flags = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
	return fcntl(fd, F_SETFL, flags) < 0 ? -errno : 0;
}

int fd_set_cloexec(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFD);

	if (flags < 0)
		return -errno;
	flags = on ? flags | FD_CLOEXEC : flags & ~FD_CLOEXEC;
	return fcntl(fd, F_SETFD, flags) < 0 ? -errno : 0;
}

/* After a failed read or write: 0 to try again. */
static int again(int fd, short events)
{
	struct pollfd p = {fd, events, 0};

	if (errno == EINTR)
		return 0;
	if (errno != EAGAIN)
		return -errno;
	return poll(&p, 1, -1) < 0 && errno != EINTR ? -errno : 0;
}

int fd_write_full(int fd, const void *data, size_t len)
{
	const uint8_t *p = data;
	int r;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0) {
			if ((r = again(fd, POLLOUT)) < 0)
				return r;
			continue;
		}
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int fd_read_full(int fd, void *data, size_t len)
{
	uint8_t *p = data;
	int r;

	while (len > 0) {
		ssize_t n = read(fd, p, len);

		if (n == 0)
			return -ENODATA;
		if (n < 0) {
			if ((r = again(fd, POLLIN)) < 0)
				return r;
			continue;
		}
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int fd_read_file(int dirfd, const char *path, size_t max, struct buf *b, struct err *e)
{
	uint8_t chunk[4096];
	size_t total = 0;
	struct stat st;

	/* O_NONBLOCK: a FIFO put in the file's place must not hold us */
	cleanup_close int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return err_set(e, -errno, "%s: %m", path);
	if (fstat(fd, &st) < 0)
		return err_set(e, -errno, "%s: %m", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "%s: not a regular file", path);
	for (;;) {
		ssize_t n = read(fd, chunk, sizeof chunk);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, -errno, "%s: %m", path);
		if (n == 0)
			break;
		total += (size_t)n;
		if (total > max)
			return err_set(e, -EFBIG, "%s: larger than %zu bytes", path, max);
		buf_put(b, chunk, (size_t)n);
	}
	explicit_bzero(chunk, sizeof chunk);
	if (buf_status(b) < 0)
		return err_set(e, buf_status(b), "%s: no room for it", path);
	return 0;
}

/* fsync of the directory that holds name, so that the rename is durable. */
static int sync_parent(int dirfd, const char *name)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(name, '/');
	size_t n = slash ? (size_t)(slash - name) : 0;

	if (n >= sizeof dir)
		return -ENAMETOOLONG;
	memcpy(dir, name, n);
	dir[n] = '\0';
	cleanup_close int fd = openat(dirfd,
	    n > 0   ? dir
	    : slash ? "/"
	            : ".",
	    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return fsync(fd) < 0 ? -errno : 0;
}

int fd_write_file(
    int dirfd, const char *name, const void *data, size_t len, mode_t mode, struct err *e)
{
	char tmp[PATH_MAX];
	int r;

	if (snprintf(tmp, sizeof tmp, "%s.tmp", name) >= (int)sizeof tmp)
		return err_set(e, -ENAMETOOLONG, "%s: the name is too long", name);
	if (unlinkat(dirfd, tmp, 0) < 0 && errno != ENOENT)
		return err_set(e, -errno, "%s: %m", tmp);
	cleanup_close int fd =
	    openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(e, -errno, "%s: %m", tmp);
	r = fd_write_full(fd, data, len);
	if (r == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0))
		r = -errno;
	if (r == 0 && renameat(dirfd, tmp, dirfd, name) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlinkat(dirfd, tmp, 0);
		errno = -r;
		return err_set(e, r, "%s: %m", name);
	}
	if ((r = sync_parent(dirfd, name)) < 0) {
		errno = -r;
		return err_set(e, r, "directory of %s: %m", name);
	}
	return 0;
}

int fd_open_beneath(int dirfd, const char *path, int flags, mode_t mode)
{
	struct open_how how = {
	    .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
	    /* openat2 refuses a mode without O_CREAT or O_TMPFILE */
	    .mode = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? mode : 0,
	    .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS,
	};
	long fd = -1;

	/* EAGAIN: a rename raced with the walk, ask again (openat2(2)); but whoever renames is no
	 * friend */
	for (int tries = 0; tries < OPEN_TRIES; tries++) {
		fd = syscall(SYS_openat2, dirfd, path, &how, sizeof how);
		if (fd >= 0 || (errno != EINTR && errno != EAGAIN))
			break;
	}
	return fd < 0 ? -errno : (int)fd;
}

int fd_open_dir(int dirfd, const char *path, mode_t create_mode)
{
	int fd;

	if (mkdirat(dirfd, path, create_mode) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int fd_seqpacket_pair(int ret[2])
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -errno;
	ret[0] = pair[0];
	ret[1] = pair[1];
	return 0;
}

int fd_pidfd_open(pid_t pid)
{
	long fd = syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? -errno : (int)fd;
}

void fd_random(void *data, size_t len)
{
	uint8_t *p = data;

	while (len > 0) {
		ssize_t n = getrandom(p, len, 0);

		/* only EINTR is possible here (getrandom(2)); going on without would be worse than
		 * dying */
		if (n < 0 && errno != EINTR)
			abort();
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
	}
}
