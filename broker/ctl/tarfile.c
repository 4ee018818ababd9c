#include "broker/ctl/tarfile.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/str.h"

/* Offsets of ustar (POSIX.1-2017, pax, "ustar Interchange Format"). A size beyond 8 GiB is in base
 * 256, as GNU tar has it. */
enum {
	MODE = 100,
	UID = 108,
	GID = 116,
	SIZE = 124,
	MTIME = 136,
	SUM = 148,
	TYPE = 156,
	MAGIC = 257
};

static void octal(uint8_t *p, size_t n, uint64_t v)
{
	p[n - 1] = '\0';
	for (size_t i = n - 1; i-- > 0; v >>= 3)
		p[i] = (uint8_t)('0' + (v & 7));
}

static void make_head(uint8_t h[TAR_BLOCK], const char *name, uint64_t size)
{
	unsigned sum = 0;

	memset(h, 0, TAR_BLOCK);
	memcpy(h, name, strlen(name));
	octal(h + MODE, 8, 0600);
	octal(h + UID, 8, 0);
	octal(h + GID, 8, 0);
	octal(h + MTIME, 12, 0);
	if (size >> 33 == 0) {
		octal(h + SIZE, 12, size);
	} else {
		h[SIZE] = 0x80;
		for (size_t i = 0; i < 8; i++)
			h[SIZE + 4 + i] = (uint8_t)(size >> (56 - 8 * i));
	}
	h[TYPE] = '0';
	memcpy(h + MAGIC,
	    "ustar\0"
	    "00",
	    8);
	memset(h + SUM, ' ', 8);
	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += h[i];
	octal(h + SUM, 7, sum);
}

static bool name_fits(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n > TAR_NAME_MAX || name[0] == '/' || name[n - 1] == '/' ||
	    strstr(name, "//"))
		return false;
	for (const char *p = name; p; p = strchr(p, '/')) {
		p += *p == '/';
		if (*p == '.') /* neither . nor .. nor hidden */
			return false;
	}
	return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/") ==
	       n;
}

static int put(int fd, const void *data, size_t len, struct err *e)
{
	int r = fd_write_full(fd, data, len);

	return r < 0 ? err_set(e, r, "cannot write: %s", strerror(-r)) : 0;
}

static int move_to(int fd, uint64_t at, struct err *e)
{
	return lseek(fd, (off_t)at, SEEK_SET) < 0 ? err_set(e, -errno, "cannot write: %m") : 0;
}

/* ---- writing ---- */

int tar_begin(int fd, uint64_t at, struct err *e)
{
	static const uint8_t empty[TAR_BLOCK];
	int r = move_to(fd, at, e);

	return r < 0 ? r : put(fd, empty, TAR_BLOCK, e);
}

int tar_finish(int fd, uint64_t at, const char *name, uint64_t *ret_next, struct err *e)
{
	static const uint8_t zero[TAR_BLOCK];
	off_t end = lseek(fd, 0, SEEK_CUR);
	uint8_t head[TAR_BLOCK];
	uint64_t size, next;
	int r;

	if (end < 0 || (uint64_t)end < at + TAR_BLOCK || !name_fits(name))
		return err_set(e, -EINVAL, "%s cannot be put into a backup", name);
	size = (uint64_t)end - at - TAR_BLOCK;
	next = ((uint64_t)end + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
	make_head(head, name, size);
	if ((r = put(fd, zero, next - (uint64_t)end, e)) < 0 || (r = move_to(fd, at, e)) < 0 ||
	    (r = put(fd, head, TAR_BLOCK, e)) < 0 || (r = move_to(fd, next, e)) < 0)
		return r;
	*ret_next = next;
	return 0;
}

int tar_add(int fd, uint64_t *at, const char *name, const void *data, size_t len, struct err *e)
{
	int r;

	if ((r = tar_begin(fd, *at, e)) < 0 || (r = put(fd, data, len, e)) < 0)
		return r;
	return tar_finish(fd, *at, name, at, e);
}

int tar_end(int fd, uint64_t at, struct err *e)
{
	static const uint8_t zero[2 * TAR_BLOCK];
	int r = move_to(fd, at, e);

	return r < 0 ? r : put(fd, zero, sizeof zero, e);
}

/* ---- reading ---- */

static int block(int fd, uint64_t at, uint8_t ret[TAR_BLOCK])
{
	ssize_t n = pread(fd, ret, TAR_BLOCK, (off_t)at);

	return n == TAR_BLOCK ? 0 : n < 0 ? -errno : -EBADMSG;
}

static bool all_zero(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != 0)
			return false;
	return true;
}

static uint64_t size_in(const uint8_t *p)
{
	uint64_t v = 0;

	if (p[0] == 0x80) {
		for (size_t i = 4; i < 12; i++)
			v = v << 8 | p[i];
		return v;
	}
	for (size_t i = 0; i < 11; i++)
		v = v << 3 | (uint64_t)(p[i] & 7);
	return v;
}

/* The head says what ours would, to its last byte. */
static int read_head(const uint8_t h[TAR_BLOCK], struct tar_entry *ret)
{
	uint8_t again[TAR_BLOCK];

	if (!memchr(h, 0, TAR_NAME_MAX + 1))
		return -EBADMSG;
	memcpy(ret->name, h, sizeof ret->name);
	ret->size = size_in(h + SIZE);
	if (!name_fits(ret->name) || ret->size > INT64_MAX / 2)
		return -EBADMSG;
	make_head(again, ret->name, ret->size);
	return memcmp(again, h, TAR_BLOCK) == 0 ? 0 : -EBADMSG;
}

static int read_end(int fd, uint64_t at, uint64_t size)
{
	uint8_t b[TAR_BLOCK];

	if (size != at + 2 * TAR_BLOCK || block(fd, at + TAR_BLOCK, b) < 0 ||
	    !all_zero(b, sizeof b))
		return -EBADMSG;
	return 0;
}

int tar_read(int fd, struct tar_index *ret, struct err *e)
{
	uint8_t b[TAR_BLOCK];
	uint64_t at = 0, end;
	struct stat st;

	ret->n = 0;
	if (fstat(fd, &st) < 0)
		return err_set(e, -errno, "%m");
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EBADMSG, "not a file");
	for (;;) {
		struct tar_entry *t = &ret->entry[ret->n];

		if (block(fd, at, b) < 0)
			break;
		if (all_zero(b, sizeof b))
			return read_end(fd, at, (uint64_t)st.st_size) < 0
			           ? err_set(e, -EBADMSG, "it does not end as a backup does")
			           : 0;
		if (ret->n == TAR_FILES_MAX || read_head(b, t) < 0 || tar_find(ret, t->name))
			break;
		t->at = at + TAR_BLOCK;
		end = t->at + t->size;
		at = (end + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
		if (at > (uint64_t)st.st_size)
			break;
		if (end < at && (block(fd, at - TAR_BLOCK, b) < 0 ||
		                    !all_zero(b + TAR_BLOCK - (at - end), at - end)))
			break;
		ret->n++;
	}
	return err_set(
	    e, -EBADMSG, "not a backup, or damaged at byte %llu", (unsigned long long)at);
}

const struct tar_entry *tar_find(const struct tar_index *t, const char *name)
{
	for (size_t i = 0; i < t->n; i++)
		if (strcmp(t->entry[i].name, name) == 0)
			return &t->entry[i];
	return NULL;
}
