#include "broker/audit/segment_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "broker/audit/logs.h"
#include "lib/fdio.h"
#include "lib/util.h"

#define LEVEL      3
#define WINDOW_LOG 23 /* 8 MiB: what level 3 uses is less */
#define CHUNK      (64u * 1024)

/* ---- names ---- */

static bool log_name(const char *name)
{
	return strcmp(name, LOG_HOST) == 0 || name_valid(name, strlen(name));
}

int segment_name(const char *log, uint64_t from, uint64_t to, char dst[SEGMENT_NAME_MAX])
{
	if (!log_name(log) || from == 0 || to < from || to > INT64_MAX)
		return -EINVAL;
	(void)snprintf(
	    dst, SEGMENT_NAME_MAX, "%s-%" PRIu64 "-%" PRIu64 SEGMENT_SUFFIX, log, from, to);
	return 0;
}

/* The number behind the last '-' of text, which is cut there. */
static bool last_number(char *text, uint64_t *ret)
{
	char *dash = strrchr(text, '-');

	if (!dash || str_to_u64(dash + 1, 1, INT64_MAX, ret) < 0)
		return false;
	*dash = '\0';
	return true;
}

bool segment_parse(const char *name, struct segment *ret)
{
	size_t len = strlen(name), tail = sizeof SEGMENT_SUFFIX - 1;
	char text[SEGMENT_NAME_MAX];
	struct segment s;

	if (len <= tail || len >= sizeof text || strcmp(name + len - tail, SEGMENT_SUFFIX) != 0)
		return false;
	memcpy(text, name, len - tail);
	text[len - tail] = '\0';
	if (!last_number(text, &s.to) || !last_number(text, &s.from) ||
	    !str_copy(s.log, sizeof s.log, text) || segment_name(s.log, s.from, s.to, s.file) < 0 ||
	    strcmp(s.file, name) != 0)
		return false;
	*ret = s;
	return true;
}

static int by_number(const void *a, const void *b)
{
	const struct segment *x = a, *y = b;
	int c = strcmp(x->log, y->log);

	if (c != 0)
		return c;
	if (x->from != y->from)
		return x->from < y->from ? -1 : 1;
	return x->to < y->to ? -1 : x->to > y->to;
}

static int add(struct segment **list, size_t *n, const struct segment *s)
{
	if ((*n & (*n - 1)) == 0) { /* a power of two: it is full */
		void *p = reallocarray(*list, *n ? 2 * *n : 1, sizeof *s);

		if (!p)
			return -ENOMEM;
		*list = p;
	}
	(*list)[(*n)++] = *s;
	return *n > SEGMENTS_MAX ? -E2BIG : 0;
}

int segment_list(int dirfd, const char *log, struct segment **ret, size_t *ret_n)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct segment *list = NULL, s;
	struct dirent *one;
	size_t n = 0;

	if (!d) {
		r = -errno;
		util_close(&fd);
		return r;
	}
	while (r == 0 && (errno = 0, one = readdir(d)))
		if (segment_parse(one->d_name, &s) && (!log || strcmp(s.log, log) == 0))
			r = add(&list, &n, &s);
	if (r == 0 && errno != 0)
		r = -errno;
	(void)closedir(d);
	if (r < 0) {
		free(list);
		return r;
	}
	if (n > 0)
		qsort(list, n, sizeof *list, by_number);
	*ret = list;
	*ret_n = n;
	return 0;
}

/* ---- streams ---- */

struct stream {
	int fd;
	ZSTD_CCtx *c;
	ZSTD_DCtx *d;
	uint8_t *chunk; /* compressed */
	size_t size, len, at;
	bool whole; /* of the frame that is read */
	int failed; /* errno of the first failure, which all later calls have too */
};

static int stream_free(struct stream *s)
{
	if (s) {
		(void)ZSTD_freeCCtx(s->c);
		(void)ZSTD_freeDCtx(s->d);
		free(s->chunk);
	}
	free(s);
	return 0;
}

static ssize_t failed(struct stream *s, int error)
{
	s->failed = error;
	errno = error;
	return -1;
}

/* What comes out of the compressor goes to the file. */
static int squeeze(struct stream *s, ZSTD_inBuffer *in, ZSTD_EndDirective how)
{
	size_t left;

	do {
		ZSTD_outBuffer out = {s->chunk, s->size, 0};
		int r;

		left = ZSTD_compressStream2(s->c, &out, in, how);
		if (ZSTD_isError(left))
			return -ENOMEM;
		if ((r = fd_write_full(s->fd, s->chunk, out.pos)) < 0)
			return r;
	} while (how == ZSTD_e_end ? left > 0 : in->pos < in->size);
	return 0;
}

static ssize_t on_write(void *cookie, const char *data, size_t len)
{
	struct stream *s = cookie;
	ZSTD_inBuffer in = {data, len, 0};
	int r = s->failed ? -s->failed : squeeze(s, &in, ZSTD_e_continue);

	/* stdio takes 0 for an error */
	return r < 0 ? failed(s, -r) + 1 : (ssize_t)len;
}

static int on_close_write(void *cookie)
{
	struct stream *s = cookie;
	ZSTD_inBuffer in = {"", 0, 0};
	int r = s->failed ? -s->failed : squeeze(s, &in, ZSTD_e_end);

	(void)stream_free(s);
	if (r == 0)
		return 0;
	errno = -r;
	return -1;
}

/* More of the file; 0 at its end. */
static ssize_t refill(struct stream *s)
{
	ssize_t n;

	do
		n = read(s->fd, s->chunk, s->size);
	while (n < 0 && errno == EINTR);
	s->at = 0;
	s->len = n > 0 ? (size_t)n : 0;
	return n;
}

static ssize_t on_read(void *cookie, char *data, size_t len)
{
	struct stream *s = cookie;
	ZSTD_outBuffer out = {data, len, 0};

	if (s->failed)
		return failed(s, s->failed);
	while (out.pos == 0) {
		ZSTD_inBuffer in;
		size_t left;
		ssize_t n = s->at < s->len ? 1 : refill(s);

		if (n < 0)
			return failed(s, errno);
		if (n == 0 && s->whole)
			return 0;
		if (s->whole) /* something behind the frame */
			return failed(s, EBADMSG);
		in = (ZSTD_inBuffer){s->chunk, s->len, s->at};
		left = ZSTD_decompressStream(s->d, &out, &in);
		s->at = in.pos;
		if (ZSTD_isError(left))
			return failed(s, EBADMSG);
		s->whole = left == 0;
		/* the file is over, and the decoder had nothing left to say */
		if (n == 0 && out.pos == 0 && !s->whole)
			return failed(s, ENODATA);
	}
	return (ssize_t)out.pos;
}

/* To the beginning only, which is what rewind() asks for. */
static int on_seek(void *cookie, off64_t *at, int whence)
{
	struct stream *s = cookie;

	if (*at != 0 || whence != SEEK_SET || lseek(s->fd, 0, SEEK_SET) < 0) {
		errno = ESPIPE;
		return -1;
	}
	(void)ZSTD_DCtx_reset(s->d, ZSTD_reset_session_only);
	s->at = s->len = 0;
	s->whole = false;
	s->failed = 0;
	return 0;
}

static struct stream *stream_new(int fd, size_t size)
{
	struct stream *s = calloc(1, sizeof *s);

	if (!s || !(s->chunk = malloc(size))) {
		free(s);
		errno = ENOMEM;
		return NULL;
	}
	s->fd = fd;
	s->size = size;
	return s;
}

static FILE *stream_open(struct stream *s, const char *mode, cookie_io_functions_t fns)
{
	FILE *f = fopencookie(s, mode, fns);

	if (f)
		(void)setvbuf(f, NULL, _IOFBF, CHUNK);
	else
		(void)stream_free(s);
	return f;
}

FILE *segment_create(int fd)
{
	struct stream *s = stream_new(fd, ZSTD_CStreamOutSize());

	if (!s)
		return NULL;
	if (!(s->c = ZSTD_createCCtx()) ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(s->c, ZSTD_c_compressionLevel, LEVEL)) ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(s->c, ZSTD_c_checksumFlag, 1))) {
		(void)stream_free(s);
		errno = ENOMEM;
		return NULL;
	}
	return stream_open(
	    s, "w", (cookie_io_functions_t){.write = on_write, .close = on_close_write});
}

static int on_close_read(void *cookie)
{
	return stream_free(cookie);
}

FILE *segment_open(int fd)
{
	struct stream *s = stream_new(fd, ZSTD_DStreamInSize());

	if (!s)
		return NULL;
	if (!(s->d = ZSTD_createDCtx()) ||
	    ZSTD_isError(ZSTD_DCtx_setParameter(s->d, ZSTD_d_windowLogMax, WINDOW_LOG))) {
		(void)stream_free(s);
		errno = ENOMEM;
		return NULL;
	}
	return stream_open(s, "r",
	    (cookie_io_functions_t){.read = on_read, .seek = on_seek, .close = on_close_read});
}

bool segment_magic(const void *data, size_t len)
{
	static const uint8_t magic[4] = {0x28, 0xb5, 0x2f, 0xfd};

	return len >= sizeof magic && memcmp(data, magic, sizeof magic) == 0;
}
