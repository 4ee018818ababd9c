#include "broker/ctl/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/ctl/ctl.h"
#include "lib/fdio.h"
#include "lib/util.h"

#define CHUNK (256u * 1024)

int state_dir_open(const struct ctl *c, int make, struct state_dir *ret)
{
	struct state_dir s = STATE_DIR_INIT;

	(void)snprintf(s.path, sizeof s.path, "%s", c->state ? c->state : "/var/lib/postern");
	if (make)
		s.fd = fd_open_dir(AT_FDCWD, s.path, 0755);
	else
		s.fd = open(s.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s.fd < 0)
		return ctl_fail(
		    EXIT_FAILED, "cannot open %s: %s", s.path, strerror(make ? -s.fd : errno));
	s.lock = openat(s.fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (s.lock < 0 || flock(s.lock, LOCK_EX | LOCK_NB) < 0) {
		int code =
		    errno == EWOULDBLOCK
		        ? ctl_fail(EXIT_FAILED, "a Postern runs on %s: stop it first", s.path)
		        : ctl_fail(EXIT_FAILED, "cannot lock %s: %m", s.path);

		state_dir_done(&s);
		return code;
	}
	*ret = s;
	return EXIT_OK;
}

void state_dir_done(struct state_dir *s)
{
	util_close(&s->fd);
	util_close(&s->lock);
}

uid_t state_dir_owner(const struct state_dir *s, const char *name, uid_t other)
{
	struct stat st;

	return fstatat(s->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_uid : other;
}

int copy_bytes(int from, off_t at, int to, off_t len)
{
	cleanup_free char *chunk = malloc(CHUNK);
	int r;

	if (!chunk)
		return -ENOMEM;
	while (len > 0) {
		ssize_t n = pread(from, chunk, len < CHUNK ? (size_t)len : CHUNK, at);

		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		if ((r = fd_write_full(to, chunk, (size_t)n)) < 0)
			return r;
		at += n;
		len -= n;
	}
	return 0;
}
