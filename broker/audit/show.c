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

#define SHOWN_MAX 256   /* of one value; the whole is in the record */
#define IDS_MAX   65536 /* of one actor at a time */

int show_parse(const void *data, size_t len, json_t **ret, struct err *e)
{
	if (len > RECORD_MAX)
		return err_set(e, -EBADMSG, "too long for a record");
	return msg_json_parse(data, len, ret, e);
}

int show_body(json_t *record, const void *body, size_t len)
{
	json_t *small = json_object_get(record, "body"), *whole = NULL;

	if (msg_json_parse(body, len, &whole, NULL) < 0 || !json_is_object(whole)) {
		json_decref(whole);
		return -EBADMSG;
	}
	(void)json_object_set(whole, "body_digest", json_object_get(small, "body_digest"));
	(void)json_object_set(whole, "body_bytes", json_object_get(small, "body_bytes"));
	return json_object_set_new(record, "body", whole) < 0 ? -ENOMEM : 0;
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

/* ---- by actor ---- */

static bool is_actor(const json_t *o, const char *actor)
{
	static const char *const keys[] = {
	    "person", "role", "key", "key_id", "user", "login_user", NULL};

	for (size_t i = 0; keys[i]; i++)
		if (strcmp(text(o, keys[i]), actor) == 0)
			return true;
	return false;
}

/* A connection's grant and a session's start say whose they are; the session outlives both. */
static void learn(const struct show_filter *f, const char *class_name, const char *id,
    const char *starts, const char *ends)
{
	if (!*id)
		return;
	if (strcmp(class_name, starts) == 0 && json_object_size(f->ids) < IDS_MAX)
		(void)json_object_set_new(f->ids, id, json_true());
	else if (strcmp(class_name, ends) == 0)
		(void)json_object_del(f->ids, id);
}

static bool by_actor(const struct show_filter *f, const json_t *record)
{
	const json_t *subject = json_object_get(record, "subject"),
	             *body = json_object_get(record, "body");
	const char *conn = text(subject, "conn"), *session = text(subject, "session"),
	           *class_name = text(record, "class");
	bool match = json_object_get(f->ids, conn) || json_object_get(f->ids, session) ||
	             is_actor(subject, f->actor) || is_actor(body, f->actor) ||
	             is_actor(json_object_get(body, "grant"), f->actor);

	if (match) {
		learn(f, class_name, conn, "grant", "conn.end");
		learn(f, class_name, session, "session.start", "session.end");
	}
	return match;
}

/* ---- by text ---- */

/* As deep as a message at most: the parser saw to it. */
static bool has_text(const json_t *v, const char *wanted)
{
	const char *key;
	json_t *mutable, *member;
	size_t i;

	memcpy(&mutable, &v, sizeof v); /* the iterator's type; nothing is changed */
	if (json_is_string(v))
		return strstr(json_string_value(v), wanted) != NULL;
	json_array_foreach(mutable, i, member)
	{
		if (has_text(member, wanted))
			return true;
	}
	json_object_foreach(mutable, key, member)
	{
		if (has_text(member, wanted))
			return true;
	}
	return false;
}

/* ---- all of it ---- */

bool show_match(const struct show_filter *f, const json_t *record)
{
	const char *time = text(record, "time");

	return (!f->tenant || strcmp(text(record, "tenant"), f->tenant) == 0) &&
	       (!f->session || mentions(record, "session", f->session)) &&
	       (!f->connection || mentions(record, "conn", f->connection)) &&
	       (!f->class_name || class_matches(f->class_name, text(record, "class"))) &&
	       (!f->since || strcmp(time, f->since) >= 0) &&
	       (!f->until || strncmp(time, f->until, strlen(f->until)) <= 0) &&
	       (!f->actor || by_actor(f, record)) && (!f->text || has_text(record, f->text));
}

/* Written by JSON as it is. */
static bool plain(const char *s)
{
	for (; *s; s++)
		if (*s < 0x20 || *s == 0x7f || *s == '"' || *s == '\\')
			return false;
	return true;
}

static bool holds(const void *data, size_t len, const char *wanted)
{
	return !wanted || !plain(wanted) || memmem(data, len, wanted, strlen(wanted)) != NULL;
}

bool show_may_match(const struct show_filter *f, const void *data, size_t len)
{
	return holds(data, len, f->session) && holds(data, len, f->connection) &&
	       (f->actor || (holds(data, len, f->class_name) && holds(data, len, f->tenant)));
}

/* ---- showing ---- */

void show_text(struct buf *out, const char *s, size_t len, size_t max)
{
	char shown[8];

	for (size_t i = 0, n = 0; i < len; i++) {
		str_escape(shown, sizeof shown, s + i, 1);
		n += strlen(shown);
		if (n > max) {
			buf_printf(out, "...");
			return;
		}
		buf_printf(out, "%s", shown);
	}
}

void show_json(const json_t *v, size_t flags, struct buf *out)
{
	char *dumped = json_dumps(v, flags | JSON_ENCODE_ANY | JSON_ENSURE_ASCII);

	/* all but one control character: that can be within strings only */
	for (const char *at = dumped, *del; at; at = del ? del + 1 : NULL) {
		del = strchr(at, 0x7f);
		buf_put(out, at, del ? (size_t)(del - at) : strlen(at));
		if (del)
			buf_printf(out, "\\u007f");
	}
	free(dumped);
}

static void put_value(struct buf *out, const json_t *v, size_t max)
{
	cleanup_buf struct buf b;

	buf_init(&b, 1024u * 1024);
	if (json_is_string(v)) {
		bool quote = json_string_length(v) == 0 || strchr(json_string_value(v), ' ');

		buf_printf(out, "%s", quote ? "\"" : "");
		show_text(out, json_string_value(v), json_string_length(v), max);
		buf_printf(out, "%s", quote ? "\"" : "");
		return;
	}
	show_json(v, JSON_COMPACT | JSON_SORT_KEYS, &b);
	buf_put(out, b.data, b.len < max ? b.len : max);
	buf_printf(out, "%s", b.len > max ? "..." : "");
}

static void put_pairs(struct buf *out, const json_t *o, size_t max)
{
	const char *key;
	json_t *v, *mutable;

	memcpy(&mutable, &o, sizeof o); /* the iterator's type; nothing is changed */
	json_object_foreach(mutable, key, v)
	{
		buf_printf(out, " ");
		show_text(out, key, strlen(key), SHOWN_MAX);
		buf_printf(out, "=");
		put_value(out, v, max);
	}
}

static void put_member(struct buf *out, const json_t *record, const char *key)
{
	const char *s = text(record, key);

	show_text(out, *s ? s : "-", *s ? strlen(s) : 1, SHOWN_MAX);
	buf_printf(out, "%s", strcmp(key, "tenant") == 0 ? "" : " ");
}

void show_line(const json_t *record, bool whole, struct buf *out)
{
	size_t start = out->len, max = whole ? SIZE_MAX : SHOWN_MAX;

	buf_printf(out, "%lld ", (long long)json_integer_value(json_object_get(record, "seq")));
	put_member(out, record, "time");
	put_member(out, record, "class");
	put_member(out, record, "tenant");
	put_pairs(out, json_object_get(record, "subject"), max);
	put_pairs(out, json_object_get(record, "body"), max);
	if (!whole && out->error == 0 && out->len - start > SHOW_LINE_MAX) {
		out->len = start + SHOW_LINE_MAX - 4;
		buf_printf(out, "...");
	}
	buf_printf(out, "\n");
}
