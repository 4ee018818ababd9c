#include "creds/tool/json.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const char *skip(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n'))
		p++;
	return p;
}

static bool hex4(const char *p, uint32_t *ret)
{
	uint32_t v = 0;

	for (int i = 0; i < 4; i++) {
		char c = p[i];

		if (c >= '0' && c <= '9')
			v = v << 4 | (uint32_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			v = v << 4 | (uint32_t)(c - 'a' + 10);
		else if (c >= 'A' && c <= 'F')
			v = v << 4 | (uint32_t)(c - 'A' + 10);
		else
			return false;
	}
	*ret = v;
	return true;
}

/* The length of the UTF-8 sequence at p (RFC 3629), 0 if it is none. */
static size_t utf8_len(const unsigned char *p, size_t left)
{
	size_t n;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		n = 2;
	else if (p[0] >= 0xe0 && p[0] <= 0xef)
		n = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (n > left)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

/* Behind the closing quote, or NULL. p is at the opening one. */
static const char *string_end(const char *p, const char *end)
{
	for (p++; p < end;) {
		size_t n;

		if (*p == '"')
			return p + 1;
		if ((unsigned char)*p < 0x20)
			return NULL;
		if (*p == '\\') {
			uint32_t v;

			if (end - p < 2)
				return NULL;
			if (p[1] == 'u') {
				if (end - p < 6 || !hex4(p + 2, &v))
					return NULL;
				p += 6;
			} else if (p[1] != '\0' && strchr("\"\\/bfnrt", p[1])) {
				p += 2;
			} else {
				return NULL;
			}
			continue;
		}
		n = utf8_len((const unsigned char *)p, (size_t)(end - p));
		if (n == 0)
			return NULL;
		p += n;
	}
	return NULL;
}

static const char *digits(const char *p, const char *end)
{
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p;
}

static const char *number_end(const char *p, const char *end)
{
	const char *q;

	if (p < end && *p == '-')
		p++;
	q = digits(p, end);
	if (q == p || (*p == '0' && q > p + 1))
		return NULL;
	p = q;
	if (p < end && *p == '.') {
		q = digits(p + 1, end);
		if (q == p + 1)
			return NULL;
		p = q;
	}
	if (p < end && (*p == 'e' || *p == 'E')) {
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		q = digits(p, end);
		if (q == p)
			return NULL;
		p = q;
	}
	return p;
}

static const char *word_end(const char *p, const char *end, enum json_type *type)
{
	static const struct {
		const char *word;
		enum json_type type;
	} words[] = {{"true", JSON_TRUE}, {"false", JSON_FALSE}, {"null", JSON_NULL}};

	for (size_t i = 0; i < 3; i++) {
		size_t n = strlen(words[i].word);

		if ((size_t)(end - p) >= n && memcmp(p, words[i].word, n) == 0) {
			*type = words[i].type;
			return p + n;
		}
	}
	return NULL;
}

/* A value that is no container. */
static const char *scalar_end(const char *p, const char *end, enum json_type *type)
{
	if (*p == '"') {
		*type = JSON_STRING;
		return string_end(p, end);
	}
	if (*p == '-' || (*p >= '0' && *p <= '9')) {
		*type = JSON_NUMBER;
		return number_end(p, end);
	}
	return word_end(p, end, type);
}

static const char *key_end(const char *p, const char *end)
{
	p = skip(p, end);
	if (p == end || *p != '"' || !(p = string_end(p, end)))
		return NULL;
	p = skip(p, end);
	return p < end && *p == ':' ? p + 1 : NULL;
}

/* Behind the value at p, or NULL if it is malformed. */
static const char *value_end(const char *p, const char *end, enum json_type *ret_type)
{
	char closing[JSON_DEPTH];
	size_t depth = 0;
	bool first = true;

	for (;;) {
		enum json_type type;

		p = skip(p, end);
		if (p == end)
			return NULL;
		if (*p == '{' || *p == '[') {
			if (depth == JSON_DEPTH)
				return NULL;
			type = *p == '{' ? JSON_OBJECT : JSON_ARRAY;
			closing[depth++] = *p == '{' ? '}' : ']';
			if (first)
				*ret_type = type;
			first = false;
			p = skip(p + 1, end);
			if (p == end)
				return NULL;
			if (*p != closing[depth - 1]) {
				if (type == JSON_OBJECT && !(p = key_end(p, end)))
					return NULL;
				continue;
			}
			p++;
			depth--;
		} else {
			p = scalar_end(p, end, &type);
			if (!p)
				return NULL;
			if (first)
				*ret_type = type;
			first = false;
		}
		/* a value has ended: close what it was the last of, or go on behind a comma */
		while (depth > 0) {
			p = skip(p, end);
			if (p == end)
				return NULL;
			if (*p == ',') {
				p++;
				if (closing[depth - 1] == '}' && !(p = key_end(p, end)))
					return NULL;
				break;
			}
			if (*p != closing[depth - 1])
				return NULL;
			p++;
			depth--;
		}
		if (depth == 0)
			return p;
	}
}

int json_open(const char *text, size_t len, struct json *ret)
{
	const char *end = text + len, *p = skip(text, end), *stop;
	enum json_type type;

	stop = value_end(p, end, &type);
	if (!stop || skip(stop, end) != end)
		return -1;
	*ret = (struct json){type, p, (size_t)(stop - p)};
	return 0;
}

int json_get(const struct json *object, const char *name, struct json *ret)
{
	const char *p = object->p + 1, *end = object->p + object->len;
	size_t n = strlen(name);
	bool found = false;

	if (object->type != JSON_OBJECT)
		return -1;
	for (;;) {
		const char *key, *value, *stop;
		enum json_type type;

		key = skip(p, end);
		if (key == end || *key != '"')
			return found ? 0 : -1;
		value = key_end(key, end);
		if (!value)
			return -1;
		value = skip(value, end);
		stop = value_end(value, end, &type);
		if (!stop)
			return -1;
		if ((size_t)(end - key) > n + 2 && memcmp(key + 1, name, n) == 0 &&
		    key[n + 1] == '"') {
			if (found)
				return -1;
			found = true;
			*ret = (struct json){type, value, (size_t)(stop - value)};
		}
		p = skip(stop, end);
		if (p == end || *p != ',')
			return found ? 0 : -1;
		p++;
	}
}

static int element(const char *p, const char *end, struct json *item)
{
	const char *stop;
	enum json_type type;

	p = skip(p, end);
	stop = value_end(p, end, &type);
	if (!stop)
		return -1;
	*item = (struct json){type, p, (size_t)(stop - p)};
	return 1;
}

int json_first(const struct json *array, struct json *item)
{
	const char *p = array->p + 1, *end = array->p + array->len;

	if (array->type != JSON_ARRAY)
		return -1;
	p = skip(p, end);
	return p == end || *p == ']' ? 0 : element(p, end, item);
}

int json_next(const struct json *array, struct json *item)
{
	const char *end = array->p + array->len, *p = skip(item->p + item->len, end);

	return p == end || *p != ',' ? 0 : element(p + 1, end, item);
}

static size_t put_utf8(char *dst, uint32_t v)
{
	if (v < 0x80) {
		dst[0] = (char)v;
		return 1;
	}
	if (v < 0x800) {
		dst[0] = (char)(0xc0 | v >> 6);
		dst[1] = (char)(0x80 | (v & 0x3f));
		return 2;
	}
	dst[0] = (char)(0xe0 | v >> 12);
	dst[1] = (char)(0x80 | (v >> 6 & 0x3f));
	dst[2] = (char)(0x80 | (v & 0x3f));
	return 3;
}

int json_text(const struct json *string, char *dst, size_t size)
{
	const char *p = string->p + 1, *end = string->p + string->len - 1;
	size_t n = 0;

	if (string->type != JSON_STRING)
		return -1;
	while (p < end) {
		uint32_t v = (unsigned char)*p;

		if (n + 4 >= size)
			return -1;
		if (v == 0x7f || (v == 0xc2 && (unsigned char)p[1] < 0xa0)) /* DEL, C1 controls */
			return -1;
		if (v != '\\') {
			dst[n++] = *p++;
			continue;
		}
		if (p[1] == 'u') {
			if (!hex4(p + 2, &v) || v < 0x20 || (v >= 0x7f && v < 0xa0) ||
			    (v >= 0xd800 && v <= 0xdfff))
				return -1;
			n += put_utf8(dst + n, v);
			p += 6;
			continue;
		}
		if (p[1] != '"' && p[1] != '\\' && p[1] != '/')
			return -1; /* \n and the like: control characters */
		dst[n++] = p[1];
		p += 2;
	}
	dst[n] = '\0';
	return 0;
}

int json_quote(char *dst, size_t size, const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t left = strlen(text), n = 0;

	if (size < 3)
		return -1;
	dst[n++] = '"';
	while (left > 0) {
		size_t len = utf8_len(p, left);

		if (len == 0 || n + 8 >= size)
			return -1;
		if (*p < 0x20) {
			n += (size_t)snprintf(dst + n, size - n, "\\u%04x", *p);
		} else {
			if (*p == '"' || *p == '\\')
				dst[n++] = '\\';
			memcpy(dst + n, p, len);
			n += len;
		}
		p += len;
		left -= len;
	}
	dst[n++] = '"';
	dst[n] = '\0';
	return 0;
}
