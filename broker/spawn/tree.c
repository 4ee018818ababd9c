#include "broker/spawn/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fdio.h"
#include "lib/util.h"

int tree_dir(int at, const char *name, mode_t mode, uid_t owner)
{
	if (mkdirat(at, name, 0700) < 0 || fchmodat(at, name, mode, 0) < 0)
		return -errno;
	return owner && fchownat(at, name, owner, owner, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int create(int at, const char *name, mode_t mode)
{
	int fd = openat(at, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	if (fchmod(fd, mode) < 0) {
		int r = -errno;

		(void)close(fd);
		return r;
	}
	return fd;
}

int tree_write(int at, const char *name, const char *text)
{
	cleanup_close int fd = create(at, name, 0644);

	return fd < 0 ? fd : fd_write_full(fd, text, strlen(text));
}

int tree_copy_file(int from, const char *name, int at, const char *to, mode_t mode)
{
	cleanup_close int in = openat(from, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (in < 0 || fstat(in, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || !(st.st_mode & S_IROTH))
		return -EACCES;
	if (st.st_size > TREE_FILE_MAX)
		return -EFBIG;
	cleanup_close int out = create(at, to, mode);
	if (out < 0)
		return out;
	for (off_t left = st.st_size; left > 0;) {
		ssize_t n = sendfile(out, in, NULL, (size_t)left);

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		left -= n;
	}
	return 0;
}

int tree_copy_link(int from, const char *name, int at, const char *to)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(from, name, target, sizeof target - 1);

	if (n < 0)
		return -errno;
	target[n] = '\0';
	return symlinkat(target, at, to) < 0 ? -errno : 0;
}

int tree_copy_dir(int from, const char *name, int at, const char *to)
{
	int fd = openat(from, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC), n = 0, r;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	cleanup_close int out = -1;

	if (!d) {
		r = -errno;
		if (fd >= 0)
			(void)close(fd);
		return r;
	}
	if ((r = tree_dir(at, to, 0755, 0)) == 0 &&
	    (out = openat(at, to, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		r = -errno;
	for (struct dirent *t; r == 0 && n < TREE_NAMES_MAX && (t = readdir(d)); n++) {
		if (t->d_type == DT_LNK)
			r = tree_copy_link(dirfd(d), t->d_name, out, t->d_name);
		else if (t->d_type == DT_REG)
			r = tree_copy_file(dirfd(d), t->d_name, out, t->d_name, 0644);
		if (r == -EACCES) /* not for everybody, so not for the agent */
			r = 0;
	}
	(void)closedir(d);
	return r;
}
