#include "broker/image/place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/image/tar.h"
#include "broker/workspace/remove.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/util.h"

#define REMOVE_STEP 4096

struct dir_meta {
	char *name;
	size_t order; /* the later counts */
	mode_t mode;
	uid_t uid;
	gid_t gid;
	int64_t mtime;
};

struct place {
	int root, trash;
	bool own;
	struct dir_meta *dir;
	size_t ndirs, cap;
};

int place_new(int root, int trash, bool own, struct place **ret, struct err *e)
{
	struct place *p = calloc(1, sizeof *p);

	if (!p)
		return err_set(e, -ENOMEM, "no memory");
	*p = (struct place){.root = root, .trash = trash, .own = own};
	*ret = p;
	return 0;
}

void place_free(struct place *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->ndirs; i++)
		free(p->dir[i].name);
	free(p->dir);
	free(p);
}

static int remember(struct place *p, const char *name, const struct tar_entry *x)
{
	if (p->ndirs == p->cap) {
		size_t cap = p->cap ? 2 * p->cap : 256;
		struct dir_meta *more = reallocarray(p->dir, cap, sizeof *more);

		if (!more)
			return -ENOMEM;
		p->dir = more;
		p->cap = cap;
	}
	p->dir[p->ndirs] = (struct dir_meta){.name = strdup(name),
	    .order = p->ndirs,
	    .mode = x ? x->mode & 01777 : 0755,
	    .uid = x ? (uid_t)x->uid : 0,
	    .gid = x ? (gid_t)x->gid : 0,
	    .mtime = x ? x->mtime : 0};
	if (!p->dir[p->ndirs].name)
		return -ENOMEM;
	p->ndirs++;
	return 0;
}

static int open_dir(struct place *p, const char *name)
{
	return fd_open_beneath(p->root, *name ? name : ".", O_RDONLY | O_DIRECTORY, 0);
}

/* Makes each directory that is missing. */
static int make_path(struct place *p, char *name)
{
	int r = 0;

	for (char *end = name; r == 0 && end;) {
		cleanup_close int above = -1, fd = -1;
		char *base;

		if ((end = strchr(end, '/')))
			*end = '\0';
		if ((fd = open_dir(p, name)) < 0) {
			if (fd != -ENOENT)
				return fd;
			base = strrchr(name, '/');
			if (base)
				*base = '\0';
			above = open_dir(p, base ? name : "");
			if (base)
				*base = '/';
			if (above < 0)
				return above;
			if (mkdirat(above, base ? base + 1 : name, 0700) < 0)
				return -errno;
			r = remember(p, name, NULL);
		}
		if (end)
			*end++ = '/';
	}
	return r;
}

/* The directory that name is in; *ret_base points into name. */
static int open_above(struct place *p, const char *name, bool make, const char **ret_base)
{
	char above[TAR_NAME_MAX + 1];
	const char *slash = strrchr(name, '/');
	size_t n = slash ? (size_t)(slash - name) : 0;
	int fd, r;

	*ret_base = slash ? slash + 1 : name;
	memcpy(above, name, n);
	above[n] = '\0';
	fd = open_dir(p, above);
	if (fd != -ENOENT || !make)
		return fd;
	if ((r = make_path(p, above)) < 0)
		return r;
	return open_dir(p, above);
}

static int fail(struct err *e, int r)
{
	if (r == -ELOOP || r == -ENOTDIR || r == -EXDEV)
		return err_set(e, -EINVAL, "leads through what is no directory");
	return err_set(e, r, "%s", strerror(-r));
}

int place_look(struct place *p, const char *name)
{
	const char *base;
	cleanup_close int above = -1;
	struct stat st;

	if (!*name)
		return S_IFDIR;
	if ((above = open_above(p, name, false, &base)) < 0)
		return above == -ENOENT ? 0 : above;
	if (fstatat(above, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	return (int)(st.st_mode & S_IFMT);
}

static int empty_trash(struct place *p)
{
	int r;

	while ((r = remove_step(p->trash, REMOVE_STEP)) > 0)
		;
	return r;
}

int place_remove(struct place *p, const char *name, struct err *e)
{
	const char *base;
	cleanup_close int above = open_above(p, name, false, &base);
	int r = above;

	if (r == -ENOENT || r == -ENOTDIR || r == -ELOOP)
		return 0;
	if (r >= 0)
		r = unlinkat(above, base, 0) < 0 ? -errno : 0;
	if (r == -EISDIR || r == -EPERM) {
		r = remove_later(above, base, p->trash);
		if (r == 0)
			r = empty_trash(p);
	}
	return r < 0 && r != -ENOENT ? fail(e, r) : 0;
}

int place_empty(struct place *p, const char *name, struct err *e)
{
	int fd = open_dir(p, name), r = 0;
	DIR *d;

	if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
		return 0;
	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		r = fd < 0 ? fd : -errno;
		if (fd >= 0)
			(void)close(fd);
		return fail(e, r);
	}
	for (struct dirent *x; r == 0 && (x = readdir(d));)
		if (strcmp(x->d_name, ".") != 0 && strcmp(x->d_name, "..") != 0)
			r = remove_later(dirfd(d), x->d_name, p->trash);
	(void)closedir(d);
	if (r == 0)
		r = empty_trash(p);
	return r < 0 ? fail(e, r) : 0;
}

int place_dir(struct place *p, const char *name, const struct tar_entry *x, struct err *e)
{
	const char *base;
	int r;

	if (*name) {
		cleanup_close int above = open_above(p, name, true, &base);

		if (above < 0)
			return fail(e, above);
		if (mkdirat(above, base, 0700) < 0 && errno != EEXIST)
			return fail(e, -errno);
	}
	r = remember(p, name, x);
	return r < 0 ? fail(e, r) : 0;
}

int place_file(struct place *p, const char *name, int *ret_fd, struct err *e)
{
	const char *base;
	cleanup_close int above = open_above(p, name, true, &base);
	int fd = above;

	if (fd >= 0)
		fd = fd_open_beneath(above, base, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return fail(e, fd);
	*ret_fd = fd;
	return 0;
}

/* Times before the owner: afterwards it is not ours. */
static int set_meta(struct place *p, int fd, mode_t mode, uid_t uid, gid_t gid, int64_t mtime)
{
	const struct timespec times[2] = {{.tv_sec = mtime}, {.tv_sec = mtime}};

	if (futimens(fd, times) < 0 || fchmod(fd, mode) < 0 || (p->own && fchown(fd, uid, gid) < 0))
		return -errno;
	return 0;
}

int place_file_done(struct place *p, int fd, const struct tar_entry *x, struct err *e)
{
	int r = set_meta(p, fd, x->mode & 0777, (uid_t)x->uid, (gid_t)x->gid, x->mtime);

	return r < 0 ? fail(e, r) : 0;
}

int place_symlink(struct place *p, const char *name, const char *target, struct err *e)
{
	const char *base;
	cleanup_close int above = open_above(p, name, true, &base);

	if (above < 0)
		return fail(e, above);
	return symlinkat(target, above, base) < 0 ? fail(e, -errno) : 0;
}

int place_link(struct place *p, const char *name, const char *target, struct err *e)
{
	const char *base, *from;
	cleanup_close int above = -1, there = open_above(p, target, false, &from);
	struct stat st;

	if (there < 0)
		return fail(e, there);
	if (fstatat(there, from, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(e, -errno);
	if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
		return err_set(e, -EINVAL, "a hard link to what is no file");
	if ((above = open_above(p, name, true, &base)) < 0)
		return fail(e, above);
	return linkat(there, from, above, base, 0) < 0 ? fail(e, -errno) : 0;
}

/* What lies deeper first, and of one directory what was said last. */
static int deeper(const void *a, const void *b)
{
	const struct dir_meta *x = a, *y = b;
	int r = strcmp(y->name, x->name);

	return r ? r : (y->order > x->order) - (y->order < x->order);
}

int place_finish(struct place *p, struct err *e)
{
	const char *last = NULL;
	int r;

	if (p->ndirs)
		qsort(p->dir, p->ndirs, sizeof *p->dir, deeper);
	for (size_t i = 0; i < p->ndirs; i++) {
		const struct dir_meta *d = &p->dir[i];

		if (last && strcmp(last, d->name) == 0)
			continue;
		last = d->name;
		if (!*d->name)
			continue;
		cleanup_close int fd = open_dir(p, d->name);
		if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
			continue; /* a later layer took it away */
		if (fd < 0)
			return fail(e, fd);
		if ((r = set_meta(p, fd, d->mode, d->uid, d->gid, d->mtime)) < 0)
			return fail(e, r);
	}
	if ((r = set_meta(p, p->root, 0755, 0, 0, 0)) < 0)
		return fail(e, r);
	return 0;
}
