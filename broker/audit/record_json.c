#include "broker/audit/record_json.h"

#include <string.h>

#include "lib/buf.h"
#include "lib/msg.h"

#define LITERAL(out, s) buf_put((out), (s), sizeof(s) - 1)

void record_json_int(struct buf *out, long long v)
{
	char text[24];
	size_t at = sizeof text;
	unsigned long long n = v < 0 ? 0 - (unsigned long long)v : (unsigned long long)v;

	do
		text[--at] = (char)('0' + n % 10);
	while (n /= 10);
	if (v < 0)
		text[--at] = '-';
	buf_put(out, text + at, sizeof text - at);
}

static void put_escape(struct buf *out, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	char text[] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};

	if (c == '"' || c == '\\') {
		text[1] = (char)c;
		buf_put(out, text, 2);
	} else if (c == '\n' || c == '\t') {
		text[1] = c == '\n' ? 'n' : 't';
		buf_put(out, text, 2);
	} else {
		buf_put(out, text, sizeof text);
	}
}

void record_json_string(struct buf *out, const char *s, size_t len)
{
	size_t from = 0;

	LITERAL(out, "\"");
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)
			continue;
		buf_put(out, s + from, i - from);
		put_escape(out, c);
		from = i + 1;
	}
	buf_put(out, s + from, len - from);
	LITERAL(out, "\"");
}

struct writer {
	struct buf *out;
	record_json_fn fn;
	void *arg;
};

static void put(const struct writer *w, const json_t *v, int depth);

static void put_object(const struct writer *w, const json_t *o, int depth)
{
	const char *key, *comma = "{";
	json_t *mutable, *v;

	memcpy(&mutable, &o, sizeof o); /* the iterator's type; nothing is changed */
	json_object_foreach(mutable, key, v)
	{
		const char *other = NULL;

		buf_put(w->out, comma, 1);
		comma = ",";
		record_json_string(w->out, key, strlen(key));
		LITERAL(w->out, ":");
		if (w->fn && json_is_string(v))
			other = w->fn(key, json_string_value(v), json_string_length(v), w->arg);
		if (other)
			record_json_string(w->out, other, strlen(other));
		else
			put(w, v, depth - 1);
	}
	buf_put(w->out, "{}", *comma == '{' ? 1 : 0);
	LITERAL(w->out, "}");
}

static void put_array(const struct writer *w, const json_t *a, int depth)
{
	LITERAL(w->out, "[");
	for (size_t i = 0; i < json_array_size(a); i++) {
		if (i > 0)
			LITERAL(w->out, ",");
		put(w, json_array_get(a, i), depth - 1);
	}
	LITERAL(w->out, "]");
}

static void put_real(struct buf *out, double v)
{
	char text[64];
	json_t *real = json_real(v);
	size_t n = real ? json_dumpb(real, text, sizeof text, JSON_ENCODE_ANY) : 0;

	json_decref(real);
	if (n > 0 && n <= sizeof text)
		buf_put(out, text, n);
	else
		LITERAL(out, "null");
}

/* As deep as depth at most. */
static void put(const struct writer *w, const json_t *v, int depth)
{
	switch (depth > 0 ? json_typeof(v) : JSON_NULL) {
	case JSON_OBJECT:
		put_object(w, v, depth);
		break;
	case JSON_ARRAY:
		put_array(w, v, depth);
		break;
	case JSON_STRING:
		record_json_string(w->out, json_string_value(v), json_string_length(v));
		break;
	case JSON_INTEGER:
		record_json_int(w->out, json_integer_value(v));
		break;
	case JSON_REAL:
		put_real(w->out, json_real_value(v));
		break;
	case JSON_TRUE:
		LITERAL(w->out, "true");
		break;
	case JSON_FALSE:
		LITERAL(w->out, "false");
		break;
	default:
		LITERAL(w->out, "null");
		break;
	}
}

void record_json(struct buf *out, const json_t *v, record_json_fn fn, void *arg)
{
	const struct writer w = {out, fn, arg};

	put(&w, v, MSG_DEPTH_MAX);
}
