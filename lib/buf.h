/*
 * A bounded byte buffer that grows up to a maximum, and writes SSH wire types (RFC 4251 section 5).
 *
 * Invariant: data[0..len) is valid, len <= cap <= max. An append that would pass max, or that finds
 * no memory, sets error and changes nothing; later appends are no-ops. So a message is written
 * without a test per field and buf_status() is asked once at the end.
 *
 * Depends on libc alone (it is also compiled into the sandbox's static init).
 */
#ifndef POSTERN_LIB_BUF_H
#define POSTERN_LIB_BUF_H

#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *data;
	size_t len, cap, max;
	int error; /* 0, -ENOBUFS (max reached) or -ENOMEM; sticky */
};

void buf_init(struct buf *b, size_t max);
/* Frees and resets; keeps max. Contents are zeroed first (they may have been
 * a secret's envelope). */
void buf_done(struct buf *b);
void buf_reset(struct buf *b); /* len = 0, error = 0; memory kept */
int buf_status(const struct buf *b);

void buf_put(struct buf *b, const void *data, size_t len);
void buf_put_u8(struct buf *b, uint8_t v);
void buf_put_u32(struct buf *b, uint32_t v); /* big endian */
void buf_put_u64(struct buf *b, uint64_t v);
void buf_put_string(struct buf *b, const void *data, size_t len); /* u32 length, then bytes */
void buf_put_cstring(struct buf *b, const char *s);               /* string without its NUL */
/* An unsigned big-endian number as mpint: leading zeros cut, one zero put in front if the top bit
 * is set (RFC 4251 section 5). */
void buf_put_mpint(struct buf *b, const uint8_t *be, size_t len);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Drops the first n bytes (n <= len). */
void buf_consume(struct buf *b, size_t n);
/* Appends a NUL that is not counted in len and returns data; NULL if error is set. */
const char *buf_cstr(struct buf *b);

#define cleanup_buf __attribute__((cleanup(buf_done)))

#endif
