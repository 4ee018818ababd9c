#include "lib/reader.h"

#include <errno.h>
#include <string.h>

void reader_init(struct reader *r, const void *data, size_t len)
{
	r->p = data;
	r->left = len;
}

/* The one test of a length against what is there. */
int reader_bytes(struct reader *r, size_t n, const uint8_t **ret)
{
	if (n > r->left)
		return -EBADMSG;
	*ret = r->p;
	if (n > 0)
		r->p += n;
	r->left -= n;
	return 0;
}

int reader_u8(struct reader *r, uint8_t *ret)
{
	const uint8_t *p;

	if (reader_bytes(r, 1, &p) < 0)
		return -EBADMSG;
	*ret = p[0];
	return 0;
}

int reader_u32(struct reader *r, uint32_t *ret)
{
	const uint8_t *p;

	if (reader_bytes(r, 4, &p) < 0)
		return -EBADMSG;
	*ret = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
	return 0;
}

int reader_u64(struct reader *r, uint64_t *ret)
{
	const uint8_t *p;
	uint64_t v = 0;

	if (reader_bytes(r, 8, &p) < 0)
		return -EBADMSG;
	for (unsigned i = 0; i < 8; i++)
		v = v << 8 | p[i];
	*ret = v;
	return 0;
}

int reader_string(struct reader *r, size_t max, const uint8_t **ret, size_t *ret_len)
{
	struct reader t = *r;
	const uint8_t *p;
	uint32_t n;

	if (reader_u32(&t, &n) < 0 || n > max || reader_bytes(&t, n, &p) < 0)
		return -EBADMSG;
	*r = t;
	*ret = p;
	*ret_len = n;
	return 0;
}

int reader_cstring(struct reader *r, char *dst, size_t size)
{
	struct reader t = *r;
	const uint8_t *p;
	size_t n;

	if (size == 0 || reader_string(&t, size - 1, &p, &n) < 0)
		return -EBADMSG;
	if (n > 0 && memchr(p, 0, n))
		return -EBADMSG;
	if (n > 0)
		memcpy(dst, p, n);
	dst[n] = '\0';
	*r = t;
	return 0;
}

int reader_sub(struct reader *r, size_t max, struct reader *ret)
{
	const uint8_t *p;
	size_t n;

	if (reader_string(r, max, &p, &n) < 0)
		return -EBADMSG;
	reader_init(ret, p, n);
	return 0;
}

int reader_mpint(struct reader *r, size_t max, const uint8_t **ret, size_t *ret_len)
{
	struct reader t = *r;
	const uint8_t *p;
	size_t n;

	if (max == SIZE_MAX)
		max--;
	if (reader_string(&t, max + 1, &p, &n) < 0)
		return -EBADMSG;
	if (n > 0 && (p[0] & 0x80)) /* negative */
		return -EBADMSG;
	if (n > 0 && p[0] == 0) {
		/* a zero in front is there for the sign or not at all (RFC 4251 section 5) */
		if (n == 1 || !(p[1] & 0x80))
			return -EBADMSG;
		p++;
		n--;
	}
	if (n > max)
		return -EBADMSG;
	*r = t;
	*ret = p;
	*ret_len = n;
	return 0;
}

int reader_end(const struct reader *r)
{
	return r->left == 0 ? 0 : -EBADMSG;
}
