#include "broker/image/tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/err.h"
#include "lib/str.h"

#define BLOCK (64u * 1024)

struct tar {
	struct archive *a;
	struct archive_entry *entry; /* a's */
	tar_read_fn *read;
	void *arg;
	struct err why; /* what read said */
};

static int fail(struct tar *t, struct err *e)
{
	const char *text = archive_error_string(t->a);
	char shown[200];

	if (t->why.code < 0) {
		*e = t->why;
		return e->code;
	}
	(void)str_escape(shown, sizeof shown, text ? text : "", text ? strlen(text) : 0);
	return err_set(e, archive_errno(t->a) == ENOMEM ? -ENOMEM : -EBADMSG, "%s",
	    *shown ? shown : "not a tar");
}

static la_ssize_t feed(struct archive *a, void *arg, const void **ret)
{
	struct tar *t = arg;
	ssize_t n = t->read(t->arg, ret, &t->why);

	if (n < 0)
		archive_set_error(a, EIO, "cannot be read");
	return n < 0 ? -1 : n;
}

static struct tar *make(tar_read_fn *read, void *arg, struct err *e)
{
	struct tar *t = calloc(1, sizeof *t);

	if (!t || !(t->a = archive_read_new())) {
		free(t);
		(void)err_set(e, -ENOMEM, "no memory");
		return NULL;
	}
	t->read = read;
	t->arg = arg;
	return t;
}

static int opened(struct tar *t, int r, struct tar **ret, struct err *e)
{
	if (r != ARCHIVE_OK) {
		r = fail(t, e);
		tar_free(t);
		return r;
	}
	*ret = t;
	return 0;
}

int tar_open_file(int fd, struct tar **ret, struct err *e)
{
	struct tar *t = make(NULL, NULL, e);

	if (!t)
		return e->code;
	if (lseek(fd, 0, SEEK_SET) < 0) {
		tar_free(t);
		return err_set(e, -errno, "cannot seek: %m");
	}
	(void)archive_read_support_format_tar(t->a);
	return opened(t, archive_read_open_fd(t->a, fd, BLOCK), ret, e);
}

int tar_open(tar_read_fn *read, void *arg, struct tar **ret, struct err *e)
{
	struct tar *t = make(read, arg, e);

	if (!t)
		return e->code;
	(void)archive_read_support_format_tar(t->a);
	(void)archive_read_support_format_empty(t->a);
	return opened(t, archive_read_open2(t->a, t, NULL, feed, NULL, NULL), ret, e);
}

int tar_open_inflate(tar_read_fn *read, void *arg, struct tar **ret, struct err *e)
{
	struct tar *t = make(read, arg, e);
	int r;

	if (!t)
		return e->code;
	(void)archive_read_support_filter_gzip(t->a);
	(void)archive_read_support_filter_zstd(t->a);
	(void)archive_read_support_format_raw(t->a);
	(void)archive_read_support_format_empty(t->a);
	r = archive_read_open2(t->a, t, NULL, feed, NULL, NULL);
	if (r == ARCHIVE_OK)
		r = archive_read_next_header(t->a, &t->entry);
	if (r == ARCHIVE_EOF) /* nothing comes to nothing */
		r = ARCHIVE_OK;
	return opened(t, r, ret, e);
}

void tar_free(struct tar *t)
{
	if (!t)
		return;
	(void)archive_read_free(t->a);
	free(t);
}

/* As it is written; in UTF-8 where the locale has no way to say it. */
static const char *either(const char *a, const char *b)
{
	return a ? a : b;
}

static void look_at_xattrs(struct archive_entry *x, struct tar_entry *ret)
{
	const char *name;
	const void *value;
	size_t len;

	(void)archive_entry_xattr_reset(x);
	while (archive_entry_xattr_next(x, &name, &value, &len) == ARCHIVE_OK) {
		ret->xattrs = true;
		if (name && strcmp(name, "security.capability") == 0)
			ret->capability = true;
	}
}

static enum tar_type type_of(struct archive_entry *x)
{
	if (archive_entry_hardlink(x) || archive_entry_hardlink_utf8(x))
		return TAR_HARDLINK;
	switch (archive_entry_filetype(x)) {
	case AE_IFREG:
		return TAR_FILE;
	case AE_IFDIR:
		return TAR_DIR;
	case AE_IFLNK:
		return TAR_SYMLINK;
	case AE_IFCHR:
	case AE_IFBLK:
	case AE_IFIFO:
	case AE_IFSOCK:
		return TAR_DEVICE;
	default:
		return TAR_OTHER;
	}
}

int tar_next(struct tar *t, struct tar_entry *ret, struct err *e)
{
	struct archive_entry *x = NULL;
	int r = archive_read_next_header(t->a, &x);

	if (t->why.code < 0)
		return fail(t, e);
	if (r == ARCHIVE_EOF)
		return 0;
	if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
		return fail(t, e);
	t->entry = x;
	*ret = (struct tar_entry){.type = type_of(x),
	    .name = either(archive_entry_pathname(x), archive_entry_pathname_utf8(x)),
	    .mode = archive_entry_perm(x) & 07777,
	    .uid = archive_entry_uid(x),
	    .gid = archive_entry_gid(x),
	    .size = archive_entry_size(x),
	    .mtime = archive_entry_mtime_is_set(x) ? archive_entry_mtime(x) : 0};
	if (ret->type == TAR_HARDLINK)
		ret->target = either(archive_entry_hardlink(x), archive_entry_hardlink_utf8(x));
	if (ret->type == TAR_SYMLINK)
		ret->target = either(archive_entry_symlink(x), archive_entry_symlink_utf8(x));
	look_at_xattrs(x, ret);
	if (!ret->name || strlen(ret->name) > TAR_NAME_MAX ||
	    (ret->type == TAR_SYMLINK && !ret->target) ||
	    (ret->target && strlen(ret->target) > TAR_NAME_MAX))
		return err_set(e, -ENAMETOOLONG, "a name without end");
	if (ret->size < 0)
		return err_set(e, -EBADMSG, "a size below nothing");
	return 1;
}

int tar_data(struct tar *t, const void **ret, size_t *ret_len, uint64_t *ret_at, struct err *e)
{
	la_int64_t at = 0;
	int r;

	if (!t->entry)
		return 0;
	r = archive_read_data_block(t->a, ret, ret_len, &at);
	if (t->why.code < 0)
		return fail(t, e);
	if (r == ARCHIVE_EOF)
		return 0;
	if ((r != ARCHIVE_OK && r != ARCHIVE_WARN) || at < 0)
		return fail(t, e);
	*ret_at = (uint64_t)at;
	return 1;
}
