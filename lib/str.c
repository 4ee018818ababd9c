#include "lib/str.h"

#include <errno.h>
#include <string.h>

#include "lib/err.h"

static const char *const reserved[] = {"ca", "root", "host", "none", "postern"};

static bool is_reserved(const char *s, size_t len)
{
	for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
		if (strlen(reserved[i]) == len && memcmp(reserved[i], s, len) == 0)
			return true;
	return false;
}

static bool shape_valid(const char *s, size_t len)
{
	if (len < 1 || len > NAME_MAX_LEN || s[0] < 'a' || s[0] > 'z')
		return false;
	for (size_t i = 1; i < len; i++)
		if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9') || s[i] == '-'))
			return false;
	return true;
}

bool name_valid(const char *s, size_t len)
{
	return shape_valid(s, len) && !is_reserved(s, len);
}

int name_check(const char *what, const char *s, size_t len, struct err *e)
{
	char shown[64];

	if (name_valid(s, len))
		return 0;
	str_escape(shown, sizeof shown, s, len);
	if (shape_valid(s, len))
		return err_set(e, -EINVAL, "%s name \"%s\" is reserved", what, shown);
	return err_set(e, -EINVAL,
	    "%s name \"%s\": must be 1 to %d of a-z, 0-9 and -, and begin with a letter", what,
	    shown, NAME_MAX_LEN);
}

/* Digits at the front of s. */
static int digits(const char *s, uint64_t *ret, const char **ret_rest)
{
	uint64_t v = 0;
	const char *p = s;

	if (*p < '0' || *p > '9')
		return -EINVAL;
	if (p[0] == '0' && p[1] >= '0' && p[1] <= '9')
		return -EINVAL;
	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(v, 10u, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v)) {
			/* overflow is only the error if the rest would have been a number */
			while (*p >= '0' && *p <= '9')
				p++;
			*ret_rest = p;
			return -ERANGE;
		}
	*ret = v;
	*ret_rest = p;
	return 0;
}

int str_to_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret)
{
	const char *rest;
	uint64_t v;
	int r = digits(s, &v, &rest);

	if (r == -EINVAL || *rest != '\0')
		return -EINVAL;
	if (r < 0 || v < min || v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

int str_to_seconds(const char *s, int64_t *ret)
{
	static const struct {
		const char *unit;
		int64_t seconds;
	} units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
	const char *rest;
	uint64_t v;
	int64_t out;
	int r = digits(s, &v, &rest);

	if (r == -EINVAL)
		return r;
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
		if (strcmp(rest, units[i].unit) != 0)
			continue;
		if (r < 0 || v < 1 || __builtin_mul_overflow(v, units[i].seconds, &out))
			return -ERANGE;
		*ret = out;
		return 0;
	}
	return -EINVAL;
}

int str_to_bytes(const char *s, uint64_t *ret)
{
	static const struct {
		const char *unit;
		unsigned shift;
	} units[] = {{"", 0}, {"K", 10}, {"M", 20}, {"G", 30}, {"T", 40}};
	const char *rest;
	uint64_t v;
	int r = digits(s, &v, &rest);

	if (r == -EINVAL)
		return r;
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
		if (strcmp(rest, units[i].unit) != 0)
			continue;
		if (r < 0 || v > UINT64_MAX >> units[i].shift)
			return -ERANGE;
		*ret = v << units[i].shift;
		return 0;
	}
	return -EINVAL;
}

char *str_escape(char *dst, size_t size, const void *src, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	const uint8_t *p = src;
	size_t at = 0, cut = 0; /* cut: where "..." still fits */

	if (size < 8) {
		if (size > 0)
			dst[0] = '\0';
		return dst;
	}
	for (size_t i = 0; i < len; i++) {
		bool plain = p[i] >= 0x20 && p[i] < 0x7f && p[i] != '\\' && p[i] != '"';
		size_t need = plain ? 1 : 4;

		if (at + need > size - 1) {
			memcpy(dst + cut, "...", 4);
			return dst;
		}
		if (plain) {
			dst[at++] = (char)p[i];
		} else {
			dst[at++] = '\\';
			dst[at++] = 'x';
			dst[at++] = hex[p[i] >> 4];
			dst[at++] = hex[p[i] & 15];
		}
		if (at + 3 <= size - 1)
			cut = at;
	}
	dst[at] = '\0';
	return dst;
}

bool str_copy(char *dst, size_t size, const char *src)
{
	size_t n = strlen(src);

	if (size == 0)
		return false;
	if (n < size) {
		memcpy(dst, src, n + 1);
		return true;
	}
	memcpy(dst, src, size - 1);
	dst[size - 1] = '\0';
	return false;
}
