#include "broker/walk/look.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "broker/walk/changes.h"
#include "broker/walk/gate.h"
#include "lib/clock.h"
#include "lib/util.h"

#define XATTR_LIST 4096

int look_stat(int dir, const char *name, struct stat *ret)
{
	return fstatat(dir, name, ret, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0 ? -errno : 0;
}

bool look_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

static int open_one(int dir, const char *name, uint64_t flags)
{
	struct open_how how = {.flags = flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY,
	    .resolve =
	        RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV};
	long fd;

	do
		fd = syscall(SYS_openat2, dir, name, &how, sizeof how);
	while (fd < 0 && (errno == EAGAIN || errno == EINTR));
	return fd < 0 ? -errno : (int)fd;
}

int look_dir(int dir, const char *name)
{
	return open_one(dir, name, O_RDONLY | O_DIRECTORY);
}

int look_file(int dir, const char *name)
{
	int fd = open_one(dir, name, O_RDONLY);
	struct stat st;

	if (fd < 0 || (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)))
		return fd;
	(void)close(fd);
	return -EINVAL;
}

static bool same(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* All of it; why not, else NULL. The first bytes also stay in head. */
static const char *hash(struct changes *c, int fd, uint64_t size, uint8_t ret[DIGEST_LEN],
    char head[GATE_HEAD], size_t *ret_head)
{
	struct digest *d;
	char block[16384];
	uint64_t total = 0;
	const char *why = NULL;
	ssize_t n = pread(fd, head, GATE_HEAD, 0);

	*ret_head = n > 0 ? (size_t)n : 0;
	if (n < 0)
		return "unreadable";
	if ((c->file_bytes && size > c->file_bytes) ||
	    (c->hash_bytes != UINT64_MAX && size > c->hash_bytes))
		return "size";
	if (!(d = digest_new()))
		return "memory";
	while (!why && (n = read(fd, block, sizeof block)) != 0) {
		total += n > 0 ? (uint64_t)n : 0;
		if (n < 0 && errno != EINTR)
			why = "unreadable";
		else if (total > size) /* it grows */
			break;
		else if (c->deadline_ns && clock_mono_ns() > c->deadline_ns)
			why = "time";
		else if (n > 0)
			digest_update(d, block, (size_t)n);
	}
	digest_final(d, ret);
	digest_free(d);
	if (c->hash_bytes != UINT64_MAX)
		c->hash_bytes -= total < c->hash_bytes ? total : c->hash_bytes;
	return why;
}

static void into_file(
    struct changes *c, int dir, const char *name, const struct stat *st, struct change *ret)
{
	cleanup_close int fd = open_one(dir, name, O_RDONLY);
	char list[XATTR_LIST], head[GATE_HEAD];
	struct stat now, after;
	size_t len = 0;
	ssize_t n;

	if (fd < 0 || fstat(fd, &now) < 0 || !S_ISREG(now.st_mode)) {
		ret->skipped = "unreadable";
		c->unreadable++;
		return;
	}
	ret->unstable = !same(st, &now);
	ret->skipped = hash(c, fd, (uint64_t)now.st_size, ret->digest, head, &len);
	ret->hashed = !ret->skipped;
	if (fstat(fd, &after) < 0 || !same(&now, &after))
		ret->unstable = true;
	ret->gate |= gate_content(ret->path, head, len);
	n = flistxattr(fd, list, sizeof list);
	ret->gate |= n >= 0 ? gate_xattrs(list, (size_t)n) : errno == ERANGE ? GATE_XATTR : 0;
}

static void into_link(int dir, const char *name, struct change *ret)
{
	char target[PATH_MAX + 1];
	ssize_t n = readlinkat(dir, name, target, PATH_MAX);

	if (n < 0) {
		ret->skipped = "unreadable";
		ret->gate |= GATE_LINK;
		return;
	}
	target[n] = '\0';
	digest_sha256(target, (size_t)n, ret->digest);
	ret->hashed = true;
	ret->gate |= gate_link(ret->path, target);
}

static void into_dir(int dir, const char *name, struct change *ret)
{
	cleanup_close int fd = look_dir(dir, name);
	char list[XATTR_LIST];
	ssize_t n;

	if (fd < 0)
		return;
	n = flistxattr(fd, list, sizeof list);
	ret->gate |= n >= 0 ? gate_xattrs(list, (size_t)n) : errno == ERANGE ? GATE_XATTR : 0;
}

void look_into(
    struct changes *c, int dir, const char *name, const struct stat *st, struct change *ret)
{
	ret->gate |= gate_path(ret->path) | gate_mode(st->st_mode);
	if (S_ISREG(st->st_mode))
		into_file(c, dir, name, st, ret);
	else if (S_ISLNK(st->st_mode))
		into_link(dir, name, ret);
	else if (S_ISDIR(st->st_mode))
		into_dir(dir, name, ret);
}

bool look_digest(
    struct changes *c, int dir, const char *name, const struct stat *st, uint8_t ret[DIGEST_LEN])
{
	struct change x = {.path = name};

	if (S_ISREG(st->st_mode))
		into_file(c, dir, name, st, &x);
	else if (S_ISLNK(st->st_mode))
		into_link(dir, name, &x);
	memcpy(ret, x.digest, DIGEST_LEN);
	return x.hashed;
}
