#include "broker/ctl/audit_origin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/audit/segment_file.h"
#include "broker/ctl/ctl.h"
#include "broker/store/store.h"
#include "lib/chan.h"
#include "lib/confine.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/util.h"

int audit_become_owner(int dir, struct err *e)
{
	struct stat st;
	int r;

	if (fstat(dir, &st) < 0)
		return err_set(e, -errno, "%m");
	if (geteuid() != 0 || st.st_uid == 0)
		return 0;
	r = confine_ids(st.st_uid, st.st_gid);
	return r < 0 ? err_set(e, r, "cannot become its owner: %s", strerror(-r)) : 0;
}

static int open_store(const struct ctl *c, struct audit_origin *o)
{
	const struct store_config config = {.read_only = true};
	cleanup_close int dir = -1;
	struct err e = ERR_INIT;
	char path[PATH_MAX];
	int r;

	ctl_path(c, "core", "/var/lib/postern/core", path);
	(void)snprintf(o->where, sizeof o->where, "the files in %s", path);
	if ((dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return ctl_fail(errno == ENOENT ? EXIT_MISSING : EXIT_UNREADABLE,
		    "no Postern runs, and there is no log in %s: %m", path);
	if ((r = audit_become_owner(dir, &e)) < 0 ||
	    (r = store_open(dir, &config, &o->store, &e)) < 0)
		return ctl_fail(
		    r == -ENOENT ? EXIT_MISSING : EXIT_UNREADABLE, "%s: %s", path, err_text(&e));
	return EXIT_OK;
}

int audit_open_regular(const char *path)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -1;
	return S_ISREG(st.st_mode) ? steal_fd(&fd) : -EMEDIUMTYPE;
}

static int open_file(struct audit_origin *o, const char *file)
{
	uint8_t head[4];

	(void)snprintf(o->where, sizeof o->where, "%s", file);
	o->fd = audit_open_regular(file);
	if (o->fd == -EMEDIUMTYPE)
		return ctl_fail(EXIT_UNREADABLE, "%s: not a file", file);
	if (o->fd >= 0 && pread(o->fd, head, sizeof head, 0) == (ssize_t)sizeof head &&
	    segment_magic(head, sizeof head))
		o->file = segment_open(o->fd);
	else if (o->fd >= 0 && (o->file = fdopen(o->fd, "r")))
		o->fd = -1;
	if (!o->file)
		return ctl_fail(errno == ENOENT ? EXIT_MISSING : EXIT_UNREADABLE, "%s: %m", file);
	return EXIT_OK;
}

int audit_origin_open(const struct ctl *c, const char *file, bool offline, struct audit_origin *ret)
{
	int code;

	ret->fd = -1;
	if (file)
		return open_file(ret, file);
	if (offline)
		return open_store(c, ret);
	if ((code = ctl_dial(c, &ret->link, 1)) == EXIT_NO_DAEMON)
		return open_store(c, ret);
	(void)snprintf(ret->where, sizeof ret->where, "the Postern that runs");
	return code;
}

void audit_origin_done(struct audit_origin *o)
{
	chan_free(o->link);
	store_close(o->store);
	if (o->file)
		(void)fclose(o->file);
	if (o->where[0]) /* it was opened */
		util_close(&o->fd);
}

int audit_create(const char *path, int *ret_fd)
{
	*ret_fd = path ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644) : -1;
	return path && *ret_fd < 0 ? ctl_fail(EXIT_FAILED, "cannot write %s: %m", path) : EXIT_OK;
}

int audit_put(int fd, const char *path, const void *data, size_t len)
{
	if (fd < 0)
		return fwrite(data, 1, len, stdout) == len
		           ? EXIT_OK
		           : ctl_fail(EXIT_FAILED, "cannot write: %m");
	if (ftruncate(fd, 0) < 0 || fd_write_full(fd, data, len) < 0 || fsync(fd) < 0)
		return ctl_fail(EXIT_FAILED, "cannot write %s: %m", path);
	return EXIT_OK;
}

int audit_in_child(int (*fn)(void *arg), void *arg)
{
	int status;
	pid_t pid;

	(void)fflush(NULL);
	pid = fork();
	if (pid == 0) {
		status = fn(arg);
		(void)fflush(NULL);
		_exit(status);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return ctl_fail(EXIT_FAILED, "cannot start a reader: %m");
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED;
}
