#include "broker/core/export_config_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/util.h"

int export_config_open(int dirfd, const char *path, bool secret, struct err *e)
{
	cleanup_close int fd = -1;
	struct stat st;

	fd = path[0] == '/' ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)
	                    : fd_open_beneath(dirfd, path, O_RDONLY | O_NONBLOCK, 0);
	if (fd < 0)
		return err_set(e, path[0] == '/' ? -errno : fd, "%s: %s", path,
		    strerror(path[0] == '/' ? errno : -fd));
	if (fstat(fd, &st) < 0)
		return err_set(e, -errno, "%s: %m", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "%s: not a regular file", path);
	if (secret && (st.st_mode & S_IRWXO) != 0)
		return err_set(e, -EACCES, "%s: must not be open to others", path);
	return steal_fd(&fd);
}

/* By mode alone: files that a daemon of no other group reads have no list of their own. */
static bool readable(int fd, uid_t uid)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return false;
	return (st.st_mode & (st.st_uid == uid      ? S_IRUSR
	                         : st.st_gid == uid ? S_IRGRP
	                                            : S_IROTH)) != 0;
}

int export_config_files(int dirfd, const struct export_sink *s, uid_t reader, struct err *e)
{
	const struct {
		const char *path;
		bool secret;
	} files[] = {{s->ca, false}, {s->cert, false}, {s->key, true}, {s->headers, true}};

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		cleanup_close int fd = -1;

		if (files[i].path[0] == '\0')
			continue;
		fd = export_config_open(dirfd, files[i].path, files[i].secret, e);
		if (fd < 0)
			return fd;
		if (reader != 0 && !readable(fd, reader))
			return err_set(e, -EPERM,
			    "%s: the exporter (uid and gid %u) cannot read it", files[i].path,
			    reader);
	}
	return 0;
}
