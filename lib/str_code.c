/* Base64, base64url and hexadecimal text. */
#include "lib/str.h"

#include <errno.h>

static const char b64_std[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char b64_url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void encode(char *dst, const uint8_t *p, size_t len, const char *alphabet, bool pad)
{
	while (len >= 3) {
		uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];

		*dst++ = alphabet[v >> 18];
		*dst++ = alphabet[v >> 12 & 63];
		*dst++ = alphabet[v >> 6 & 63];
		*dst++ = alphabet[v & 63];
		p += 3;
		len -= 3;
	}
	if (len > 0) {
		uint32_t v = (uint32_t)p[0] << 16 | (len == 2 ? (uint32_t)p[1] << 8 : 0);

		*dst++ = alphabet[v >> 18];
		*dst++ = alphabet[v >> 12 & 63];
		if (len == 2)
			*dst++ = alphabet[v >> 6 & 63];
		else if (pad)
			*dst++ = '=';
		if (pad)
			*dst++ = '=';
	}
	*dst = '\0';
}

void b64_encode(char *dst, const void *src, size_t len)
{
	encode(dst, src, len, b64_std, true);
}

void b64url_encode(char *dst, const void *src, size_t len)
{
	encode(dst, src, len, b64_url, false);
}

/* 0..63, or -1. */
static int b64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int b64_decode(void *dst, size_t size, const char *src, size_t len, size_t *ret_len)
{
	uint8_t *out = dst;
	size_t pad = 0, n;

	if (len % 4 != 0)
		return -EBADMSG;
	if (len > 0 && src[len - 1] == '=')
		pad = src[len - 2] == '=' ? 2 : 1;
	n = len / 4 * 3 - pad;
	if (dst && n > size)
		return -ENOBUFS;
	for (size_t i = 0, at = 0; i < len; i += 4) {
		size_t chars = i + 4 == len ? 4 - pad : 4;
		uint32_t v = 0;

		for (size_t k = 0; k < 4; k++) {
			int d = k < chars ? b64_value(src[i + k]) : 0;

			if (d < 0)
				return -EBADMSG;
			v = v << 6 | (uint32_t)d;
		}
		/* bits below the last byte must be zero, or two texts would mean the same */
		if ((chars == 3 && (v & 0xff)) || (chars == 2 && (v & 0xffff)))
			return -EBADMSG;
		for (size_t k = 0; k + 1 < chars; k++, at++)
			if (out)
				out[at] = (uint8_t)(v >> (16 - 8 * k));
	}
	*ret_len = n;
	return 0;
}

void hex_encode(char *dst, const void *src, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	const uint8_t *p = src;

	for (size_t i = 0; i < len; i++) {
		*dst++ = hex[p[i] >> 4];
		*dst++ = hex[p[i] & 15];
	}
	*dst = '\0';
}
