#include "broker/supervisor/dirs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/supervisor/settings.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/str.h"
#include "lib/util.h"

static const struct {
	const char *name;
	int64_t owner; /* offset in block 0; 0: root */
	mode_t mode;
	size_t field;
} made[] = {
    {"core", ID_CORE, 0700, offsetof(struct dirs, core)},
    {"keys", ID_SIGNER, 0700, offsetof(struct dirs, keys)},
    {"spawn", 0, 0700, offsetof(struct dirs, spawn)},
    {"workspaces", 0, 0700, offsetof(struct dirs, workspaces)},
    {"hostkeys", 0, 0700, offsetof(struct dirs, hostkeys)},
    {"export", ID_EXPORT, 0750, offsetof(struct dirs, export)},
    {"archive", ID_EXPORT, 0750, offsetof(struct dirs, archive)},
};

static int *field(struct dirs *d, size_t offset)
{
	return (int *)(void *)((char *)d + offset);
}

void dirs_init(struct dirs *d)
{
	*d = (struct dirs){-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
}

void dirs_done(struct dirs *d)
{
	int *const all[] = {&d->state, &d->config, &d->run, &d->core, &d->keys, &d->spawn,
	    &d->workspaces, &d->hostkeys, &d->export, &d->archive, &d->libexec};

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		util_close(all[i]);
}

int dirs_open(struct dirs *d, const struct settings *s, struct err *e)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	char *slash;

	if (n < 0)
		return err_set(e, -errno, "cannot read /proc/self/exe: %m");
	self[n] = '\0';
	if ((slash = strrchr(self, '/')))
		*slash = '\0';
	if ((d->libexec = open(self, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0)
		return err_set(e, -errno, "cannot open the programs' directory: %m");
	if ((d->config = open(s->config, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return err_set(
		    e, -errno, "cannot open the configuration directory %s: %m", s->config);
	return 0;
}

/* One regular file changes hands, known by its descriptor; a link to elsewhere is left alone. */
static int own_file(int dirfd, const char *name, uid_t uid)
{
	cleanup_close int fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return 0;
	return fchownat(fd, "", uid, uid, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static int own(int dirfd, uid_t uid)
{
	int copy = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;

	if (!dir) {
		r = -errno;
		util_close(&copy);
		return r;
	}
	while (r == 0 && (entry = readdir(dir)))
		r = own_file(dirfd, entry->d_name, uid);
	(void)closedir(dir);
	return r < 0 || fchown(dirfd, uid, uid) == 0 ? r : -errno;
}

static int make(int at, const char *name, uid_t uid, mode_t mode, int *ret, struct err *e)
{
	int fd = fd_open_dir(at, name, mode);
	struct stat st;
	int r;

	if (fd < 0) {
		errno = -fd;
		return err_set(e, fd, "cannot make or open the directory %s: %m", name);
	}
	*ret = fd;
	if (fstat(fd, &st) < 0)
		return err_set(e, -errno, "cannot look at %s: %m", name);
	if (st.st_uid != uid && (r = own(fd, uid)) < 0) {
		errno = -r;
		return err_set(e, r, "cannot give %s to %u: %m", name, uid);
	}
	if ((st.st_mode & 07777) != mode && fchmod(fd, mode) < 0)
		return err_set(e, -errno, "cannot set the mode of %s: %m", name);
	return 0;
}

int dirs_make(struct dirs *d, const struct settings *s, struct err *e)
{
	int r;

	if ((r = d->state = fd_open_dir(AT_FDCWD, s->state, 0755)) < 0) {
		errno = -r;
		return err_set(e, r, "cannot make or open the state directory %s: %m", s->state);
	}
	for (size_t i = 0; i < ARRAY_LEN(made); i++) {
		uid_t uid = made[i].owner ? (uid_t)(s->ids_base + made[i].owner) : 0;

		r = make(d->state, made[i].name, uid, made[i].mode, field(d, made[i].field), e);
		if (r < 0)
			return r;
	}
	return make(AT_FDCWD, s->run, 0, 0755, &d->run, e);
}
