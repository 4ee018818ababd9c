/*
 * The smallest JSON reader that is still strict: no allocation, no recursion, no copying but of the
 * strings asked for. The whole text is checked once by json_open(), so that later steps only walk.
 * Depth <= JSON_DEPTH. Depends on libc alone.
 */
#ifndef POSTERN_CREDS_TOOL_JSON_H
#define POSTERN_CREDS_TOOL_JSON_H

#include <stddef.h>

#define JSON_DEPTH 8

enum json_type {
	JSON_OBJECT,
	JSON_ARRAY,
	JSON_STRING,
	JSON_NUMBER,
	JSON_TRUE,
	JSON_FALSE,
	JSON_NULL
};

/* One value: a view on the text. */
struct json {
	enum json_type type;
	const char *p;
	size_t len;
};

/* The text is exactly one value, and well-formed to its last byte. 0 or -1. */
int json_open(const char *text, size_t len, struct json *ret);
/* The member of an object. -1 if it is none, there is none, or it is there twice. */
int json_get(const struct json *object, const char *name, struct json *ret);
/* The elements of an array, in turn: 1 with *item, or 0 at the end; -1 if it is none. */
int json_first(const struct json *array, struct json *item);
int json_next(const struct json *array, struct json *item);
/* A string's text with a NUL. -1 if it is none, does not fit, or holds a control character (a
 * terminal might obey it), a surrogate or NUL. */
int json_text(const struct json *string, char *dst, size_t size);
/* Writes text as a JSON string with its quotes. -1 if it does not fit or is no UTF-8. */
int json_quote(char *dst, size_t size, const char *text);

#endif
