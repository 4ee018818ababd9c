#include "broker/walk/tarout.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/walk/changes.h"
#include "broker/walk/look.h"
#include "lib/buf.h"
#include "lib/digest.h"
#include "lib/fdio.h"
#include "lib/util.h"

#define BLOCK     512
#define NAME_ROOM 100
#define PAX_MAX   (2u * CHANGES_PATH + 3u * PATH_MAX)
#define IDS       65536u
#define NOBODY    65534u

/* Offsets of ustar. */
enum {
	MODE = 100,
	UID = 108,
	GID = 116,
	SIZE = 124,
	MTIME = 136,
	SUM = 148,
	TYPE = 156,
	LINK = 157,
	MAGIC = 257
};

static int put(struct tarout *t, const void *data, size_t len)
{
	digest_update(t->d, data, len);
	t->bytes += len;
	return t->fd < 0 ? 0 : fd_write_full(t->fd, data, len);
}

static int pad(struct tarout *t)
{
	static const uint8_t zero[BLOCK];

	return put(t, zero, (BLOCK - t->bytes % BLOCK) % BLOCK);
}

static void octal(uint8_t *p, size_t n, uint64_t v)
{
	p[n - 1] = '\0';
	for (size_t i = n - 1; i-- > 0; v >>= 3)
		p[i] = (uint8_t)('0' + (v & 7));
}

static uint32_t inside(const struct tarout *t, uint32_t id)
{
	if (id >= t->ids && id - t->ids < IDS)
		return id - t->ids;
	return NOBODY;
}

/* Names that do not fit are cut: the pax header before has them. */
static int head(struct tarout *t, const struct change *x, const char *name, char type,
    const char *target, uint64_t size)
{
	int64_t mtime = x->mtime_s < 0 || x->mtime_s >> 33 ? 0 : x->mtime_s;
	uint8_t h[BLOCK] = {0};
	unsigned sum = 0;

	memcpy(h, name, strnlen(name, NAME_ROOM));
	memcpy(h + LINK, target, strnlen(target, NAME_ROOM));
	octal(h + MODE, 8, x->mode & 07777);
	octal(h + UID, 8, inside(t, x->uid));
	octal(h + GID, 8, inside(t, x->gid));
	octal(h + SIZE, 12, size >> 33 ? 0 : size);
	octal(h + MTIME, 12, (uint64_t)mtime);
	h[TYPE] = (uint8_t)type;
	memcpy(h + MAGIC, "ustar\00000", 8);
	memset(h + SUM, ' ', 8);
	for (size_t i = 0; i < BLOCK; i++)
		sum += h[i];
	octal(h + SUM, 7, sum);
	return put(t, h, sizeof h);
}

/* "LENGTH KEY=VALUE\n", the length with itself. */
static void record(struct buf *b, const char *key, const char *value)
{
	size_t rest = strlen(key) + strlen(value) + 3, len = rest + 1;
	char digits[24];

	while (rest + (size_t)snprintf(digits, sizeof digits, "%zu", len) != len)
		len++;
	buf_printf(b, "%zu %s=", len, key);
	buf_put(b, value, strlen(value));
	buf_put(b, "\n", 1);
}

static bool plain(const char *s)
{
	size_t n = strlen(s);

	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] >= 0x80)
			return false;
	return n <= NAME_ROOM;
}

static int extend(
    struct tarout *t, const struct change *x, const char *name, const char *target, uint64_t size)
{
	cleanup_buf struct buf b;
	char number[24];
	int r;

	buf_init(&b, PAX_MAX);
	if (!plain(name) || !plain(target)) { /* bytes as they are, of no character set */
		record(&b, "hdrcharset", "BINARY");
		record(&b, "path", name);
		if (*target)
			record(&b, "linkpath", target);
	}
	if (size >> 33) {
		(void)snprintf(number, sizeof number, "%llu", (unsigned long long)size);
		record(&b, "size", number);
	}
	if ((r = buf_status(&b)) < 0 || b.len == 0)
		return r;
	if ((r = head(t, x, "pax", 'x', "", b.len)) < 0 || (r = put(t, b.data, b.len)) < 0)
		return r;
	return pad(t);
}

static int content(struct tarout *t, const struct change *x)
{
	cleanup_close int fd = look_file(x->dir, x->name);
	uint64_t left = x->size;
	char block[32768];
	int r;

	if (fd < 0)
		return -EIO;
	while (left > 0) {
		ssize_t n = read(fd, block, left < sizeof block ? left : sizeof block);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -EIO;
		if ((r = put(t, block, (size_t)n)) < 0)
			return r;
		left -= (uint64_t)n;
	}
	return pad(t);
}

static int one(struct tarout *t, const struct change *x, const char *name, char type,
    const char *target, uint64_t size)
{
	int r = extend(t, x, name, target, size);

	if (r == 0)
		r = head(t, x, name, type, target, size);
	t->entries++;
	return r < 0 || type != '0' ? r : content(t, x);
}

int tarout_entry(struct tarout *t, const struct change *x)
{
	char target[PATH_MAX + 1], name[CHANGES_PATH + 2];
	ssize_t n;

	switch (x->mode & S_IFMT) {
	case S_IFREG:
		return one(t, x, x->path, '0', "", x->size);
	case S_IFDIR:
		(void)snprintf(name, sizeof name, "%s/", x->path);
		return one(t, x, name, '5', "", 0);
	case S_IFLNK:
		if ((n = readlinkat(x->dir, x->name, target, PATH_MAX)) < 0)
			return -EIO;
		target[n] = '\0';
		return one(t, x, x->path, '2', target, 0);
	default:
		return 0;
	}
}

int tarout_end(struct tarout *t)
{
	static const uint8_t zero[2 * BLOCK];

	return put(t, zero, sizeof zero);
}
