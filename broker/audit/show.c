#include "broker/audit/show.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/private.h"
#include "broker/audit/record.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/msg.h"
#include "lib/str.h"

#define SHOWN_MAX 256 /* of one value; the whole is in the record */

int show_parse(const void *data, size_t len, json_t **ret, struct err *e)
{
	if (len > RECORD_MAX)
		return err_set(e, -EBADMSG, "too long for a record");
	return msg_json_parse(data, len, ret, e);
}

static json_t *revealed(const json_t *v, show_reveal_fn fn, void *arg)
{
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, PRIVATE_VALUE_MAX);
	r = fn(json_string_value(v), json_string_length(v), &b, arg);
	if (r == -ENOENT)
		return json_string("(erased)");
	return r == 0 ? json_stringn((const char *)b.data, b.len) : NULL;
}

/* depth: of objects; what is deeper stays as it is. */
static void reveal(json_t *o, int depth, show_reveal_fn fn, void *arg)
{
	const char *key;
	json_t *v, *other;

	json_object_foreach(o, key, v)
	{
		if (json_is_object(v) && depth > 0)
			reveal(v, depth - 1, fn, arg);
		if (!json_is_string(v) || !private_field(key) ||
		    !private_is_text(json_string_value(v), json_string_length(v)))
			continue;
		if ((other = revealed(v, fn, arg)) != NULL)
			(void)json_object_set_new(
			    o, key, other); /* a member that is there: allowed */
	}
}

void show_reveal(json_t *record, show_reveal_fn fn, void *arg)
{
	reveal(json_object_get(record, "subject"), 3, fn, arg);
	reveal(json_object_get(record, "body"), 3, fn, arg);
}

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

/* In the subject, or in the body under the same name. */
static bool mentions(const json_t *record, const char *key, const char *wanted)
{
	return strcmp(text(json_object_get(record, "subject"), key), wanted) == 0 ||
	       strcmp(text(json_object_get(record, "body"), key), wanted) == 0;
}

static bool class_matches(const char *wanted, const char *class_name)
{
	size_t n = strlen(wanted);

	if (n > 0 && wanted[n - 1] == '.')
		return strncmp(class_name, wanted, n) == 0;
	return strcmp(class_name, wanted) == 0;
}

bool show_match(const struct show_filter *f, const json_t *record)
{
	const char *time = text(record, "time");

	return (!f->tenant || strcmp(text(record, "tenant"), f->tenant) == 0) &&
	       (!f->session || mentions(record, "session", f->session)) &&
	       (!f->connection || mentions(record, "conn", f->connection)) &&
	       (!f->class_name || class_matches(f->class_name, text(record, "class"))) &&
	       (!f->since || strcmp(time, f->since) >= 0) &&
	       (!f->until || strncmp(time, f->until, strlen(f->until)) <= 0);
}

static void put_escaped(struct buf *out, const char *s, size_t len)
{
	char shown[SHOWN_MAX];

	str_escape(shown, sizeof shown, s, len);
	buf_printf(out, "%s", shown);
}

static void put_value(struct buf *out, const json_t *v)
{
	char *dumped;

	if (json_is_string(v)) {
		bool quote = json_string_length(v) == 0 || strchr(json_string_value(v), ' ');

		buf_printf(out, "%s", quote ? "\"" : "");
		put_escaped(out, json_string_value(v), json_string_length(v));
		buf_printf(out, "%s", quote ? "\"" : "");
		return;
	}
	/* a nested value: JSON in pure ASCII, its control characters escaped by the encoder; of a
	 * quote mark inside it str_escape() would make noise */
	dumped = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_SORT_KEYS);
	if (!dumped)
		return;
	for (char *c = dumped; *c; c++)
		if (*c == 0x7f) /* the one control character that the encoder leaves */
			*c = '?';
	buf_printf(out, "%.*s%s", SHOWN_MAX, dumped, strlen(dumped) > SHOWN_MAX ? "..." : "");
	free(dumped);
}

static void put_pairs(struct buf *out, const json_t *o, const char *const *skip)
{
	const char *key;
	json_t *v, *mutable;

	memcpy(&mutable, &o, sizeof o); /* the iterator's type; nothing is changed */
	json_object_foreach(mutable, key, v)
	{
		bool skipped = false;

		for (size_t i = 0; skip && skip[i]; i++)
			skipped = skipped || strcmp(skip[i], key) == 0;
		if (skipped)
			continue;
		buf_printf(out, " ");
		put_escaped(out, key, strlen(key));
		buf_printf(out, "=");
		put_value(out, v);
	}
}

void show_line(const json_t *record, struct buf *out)
{
	const char *tenant = text(record, "tenant");

	buf_printf(out, "%lld ", (long long)json_integer_value(json_object_get(record, "seq")));
	put_escaped(out, text(record, "time"), strlen(text(record, "time")));
	buf_printf(out, " ");
	put_escaped(out, text(record, "class"), strlen(text(record, "class")));
	buf_printf(out, " ");
	put_escaped(out, *tenant ? tenant : "-", *tenant ? strlen(tenant) : 1);
	put_pairs(out, json_object_get(record, "subject"), NULL);
	put_pairs(out, json_object_get(record, "body"), NULL);
	buf_printf(out, "\n");
}
