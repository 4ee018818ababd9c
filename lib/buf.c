#include "lib/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_init(struct buf *b, size_t max)
{
	memset(b, 0, sizeof *b);
	b->max = max;
}

void buf_done(struct buf *b)
{
	size_t max = b->max;
	int saved = errno;

	if (b->data) {
		explicit_bzero(b->data, b->cap);
		free(b->data);
	}
	buf_init(b, max);
	errno = saved;
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	b->error = 0;
}

int buf_status(const struct buf *b)
{
	return b->error;
}

/* Room for n more bytes, or the sticky error. One byte beyond cap is always there, for the NUL of
 * buf_cstr(). The old block is erased, which realloc() would not do. */
static int reserve(struct buf *b, size_t n)
{
	uint8_t *data;
	size_t cap;

	if (b->error)
		return b->error;
	if (n > b->max - b->len)
		return b->error = -ENOBUFS;
	if (b->data && n <= b->cap - b->len)
		return 0;
	cap = b->cap < 64 ? 64 : b->cap;
	while (cap < b->len + n)
		cap = cap > b->max / 2 ? b->max : cap * 2;
	if (cap > b->max)
		cap = b->max;
	if (cap == SIZE_MAX || !(data = malloc(cap + 1)))
		return b->error = -ENOMEM;
	if (b->data) {
		memcpy(data, b->data, b->len);
		explicit_bzero(b->data, b->cap);
		free(b->data);
	}
	b->data = data;
	b->cap = cap;
	return 0;
}

void buf_put(struct buf *b, const void *data, size_t len)
{
	if (reserve(b, len) < 0 || len == 0)
		return;
	memcpy(b->data + b->len, data, len);
	b->len += len;
}

void buf_put_u8(struct buf *b, uint8_t v)
{
	buf_put(b, &v, 1);
}

void buf_put_u32(struct buf *b, uint32_t v)
{
	uint8_t w[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};

	buf_put(b, w, sizeof w);
}

void buf_put_u64(struct buf *b, uint64_t v)
{
	uint8_t w[8];

	for (unsigned i = 0; i < 8; i++)
		w[i] = (uint8_t)(v >> (56 - 8 * i));
	buf_put(b, w, sizeof w);
}

void buf_put_string(struct buf *b, const void *data, size_t len)
{
	if (len > UINT32_MAX - 4) {
		if (!b->error)
			b->error = -ENOBUFS;
		return;
	}
	/* both or neither: an append that fails changes nothing */
	if (reserve(b, len + 4) < 0)
		return;
	buf_put_u32(b, (uint32_t)len);
	buf_put(b, data, len);
}

void buf_put_cstring(struct buf *b, const char *s)
{
	buf_put_string(b, s, strlen(s));
}

void buf_put_mpint(struct buf *b, const uint8_t *be, size_t len)
{
	size_t sign;

	while (len > 0 && be[0] == 0) {
		be++;
		len--;
	}
	sign = len > 0 && (be[0] & 0x80) ? 1 : 0;
	if (len > UINT32_MAX - 8) {
		if (!b->error)
			b->error = -ENOBUFS;
		return;
	}
	if (reserve(b, 4 + sign + len) < 0)
		return;
	buf_put_u32(b, (uint32_t)(len + sign));
	if (sign)
		buf_put_u8(b, 0);
	buf_put(b, be, len);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0) {
		if (!b->error)
			b->error = -ENOMEM;
		return;
	}
	if (reserve(b, (size_t)n) < 0)
		return;
	va_start(ap, fmt);
	(void)vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
}

void buf_consume(struct buf *b, size_t n)
{
	if (n > b->len)
		n = b->len;
	if (n == 0)
		return;
	memmove(b->data, b->data + n, b->len - n);
	b->len -= n;
}

const char *buf_cstr(struct buf *b)
{
	if (reserve(b, 0) < 0)
		return NULL;
	b->data[b->len] = '\0';
	return (const char *)b->data;
}
