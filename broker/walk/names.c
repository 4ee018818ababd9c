#include "broker/walk/names.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/str.h"

#define READ_BYTES 32768

struct dirent_raw {
	uint64_t ino;
	int64_t off;
	unsigned short reclen;
	unsigned char type;
	char name[];
};

static void clear(struct names *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->name[i]);
	s->n = s->at = 0;
}

void names_done(struct names *s)
{
	clear(s);
	free(s->name);
	s->name = NULL;
}

/* Where it is or would be. */
static size_t place(const struct names *s, const char *name, bool *ret_there)
{
	size_t low = 0, high = s->n;

	*ret_there = false;
	while (low < high) {
		size_t mid = (low + high) / 2;
		int c = strcmp(name, s->name[mid]);

		if (c == 0) {
			*ret_there = true;
			return mid;
		}
		if (c < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

/* Keeps the smallest ones. */
static int take(struct names *s, const char *name)
{
	bool there;
	size_t at;
	char *copy;

	if (strcmp(name, s->last) <= 0)
		return 0;
	at = place(s, name, &there);
	if (there)
		return 0;
	if (s->n == NAMES_CHUNK) {
		s->more = true;
		if (at == s->n)
			return 0;
	}
	if (!(copy = strdup(name)))
		return -ENOMEM;
	if (s->n == NAMES_CHUNK)
		free(s->name[--s->n]);
	memmove(s->name + at + 1, s->name + at, (s->n - at) * sizeof *s->name);
	s->name[at] = copy;
	s->n++;
	return 0;
}

static int read_dir(struct names *s, int fd, int64_t deadline_ns)
{
	union {
		struct dirent_raw first;
		char bytes[READ_BYTES];
	} b;

	if (lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	for (;;) {
		long n = syscall(SYS_getdents64, fd, b.bytes, sizeof b.bytes);

		if (n <= 0)
			return n < 0 ? -errno : 0;
		if (deadline_ns && clock_mono_ns() > deadline_ns)
			return -ETIMEDOUT;
		for (long at = 0; at < n;) {
			const struct dirent_raw *d =
			    (const struct dirent_raw *)(const void *)(b.bytes + at);
			int r = 0;

			if (strcmp(d->name, ".") != 0 && strcmp(d->name, "..") != 0 &&
			    strlen(d->name) < NAMES_LEN)
				r = take(s, d->name);
			if (r < 0)
				return r;
			at += d->reclen;
		}
	}
}

int names_fill(struct names *s, const int *dirs, size_t ndirs, int64_t deadline_ns)
{
	int r;

	if (!s->name && !(s->name = calloc(NAMES_CHUNK, sizeof *s->name)))
		return -ENOMEM;
	if (s->n > 0)
		(void)str_copy(s->last, sizeof s->last, s->name[s->n - 1]);
	clear(s);
	s->more = false;
	for (size_t i = 0; i < ndirs; i++)
		if ((r = read_dir(s, dirs[i], deadline_ns)) < 0)
			return r;
	return 0;
}

int names_next(
    struct names *s, const int *dirs, size_t ndirs, int64_t deadline_ns, const char **ret)
{
	int r;

	if (s->at == s->n) {
		if (s->n > 0 && !s->more) {
			*ret = NULL;
			return 0;
		}
		if ((r = names_fill(s, dirs, ndirs, deadline_ns)) < 0)
			return r;
	}
	*ret = s->at < s->n ? s->name[s->at++] : NULL;
	return 0;
}
