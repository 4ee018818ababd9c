/*
 * The bounds-checked reader: the only way foreign bytes become numbers and strings.
 *
 * A reader is a view on memory it does not own; what it hands out points into that memory. Every
 * function returns 0, or -EBADMSG and leaves the reader as it was and outputs untouched. A message
 * is read to its last byte: reader_end() refuses what is left over. Nested fields are read by a
 * sub-reader, which cannot see past its field.
 *
 * Depends on libc alone (it is also compiled into the sandbox's static init).
 */
#ifndef POSTERN_LIB_READER_H
#define POSTERN_LIB_READER_H

#include <stddef.h>
#include <stdint.h>

struct reader {
	const uint8_t *p;
	size_t left;
};

void reader_init(struct reader *r, const void *data, size_t len);
int reader_u8(struct reader *r, uint8_t *ret);
int reader_u32(struct reader *r, uint32_t *ret); /* big endian */
int reader_u64(struct reader *r, uint64_t *ret);
/* Exactly n bytes. */
int reader_bytes(struct reader *r, size_t n, const uint8_t **ret);
/* A u32 length and that many bytes, at most max of them. */
int reader_string(struct reader *r, size_t max, const uint8_t **ret, size_t *ret_len);
/* A string without a NUL inside, copied and terminated into dst[size]; -EBADMSG if it is longer
 * than size - 1 or holds a NUL. */
int reader_cstring(struct reader *r, char *dst, size_t size);
/* A string of at most max bytes, as a reader of its own. */
int reader_sub(struct reader *r, size_t max, struct reader *ret);
/* A non-negative mpint in its shortest form; *ret points past the sign byte. */
int reader_mpint(struct reader *r, size_t max, const uint8_t **ret, size_t *ret_len);
/* 0 if nothing is left, else -EBADMSG. */
int reader_end(const struct reader *r);

#endif
