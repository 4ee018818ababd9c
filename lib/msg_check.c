/* A message's body against its row of the table: each field's type, length and bounds. */
#include "lib/msg.h"

#include <errno.h>
#include <string.h>

#include "lib/err.h"
#include "lib/str.h"

static int bad(struct err *e, const char *what, const char *key, const char *why)
{
	char shown[72];

	str_escape(shown, sizeof shown, key, strlen(key));
	return err_set(e, -EBADMSG, "%s: %s: %s", what, shown, why);
}

/* NULL if good, else the reason. */
static const char *check_string(const json_t *v, size_t max)
{
	if (!json_is_string(v))
		return "must be a string";
	if (json_string_length(v) > max)
		return "too long";
	if (memchr(json_string_value(v), 0, json_string_length(v)))
		return "holds a NUL";
	return NULL;
}

static const char *check_bytes(const json_t *v, size_t max)
{
	size_t n;

	if (!json_is_string(v))
		return "must be a string of base64";
	if (b64_decode(NULL, 0, json_string_value(v), json_string_length(v), &n) < 0)
		return "not canonical base64";
	return n > max ? "too long" : NULL;
}

static const char *check_int(const json_t *v, int64_t min, int64_t max)
{
	if (!json_is_integer(v))
		return "must be an integer";
	if (json_integer_value(v) < min || json_integer_value(v) > max)
		return "out of range";
	return NULL;
}

static const char *check_array(const json_t *v, const struct msg_field *f)
{
	const char *why = NULL;
	const json_t *item;
	size_t i;

	if (!json_is_array(v))
		return "must be an array";
	if (json_array_size(v) > (size_t)f->max)
		return "too many elements";
	json_array_foreach(v, i, item)
	{
		if (f->kind == MSG_STRINGS)
			why = check_string(item, MSG_ITEM_MAX);
		else if (f->kind == MSG_BLOBS)
			why = check_bytes(item, MSG_ITEM_MAX);
		else if (f->kind == MSG_INTS)
			why = check_int(item, 0, INT32_MAX);
		else
			why = json_is_object(item) ? NULL : "must be an array of objects";
		if (why)
			return why;
	}
	return NULL;
}

static const char *check_value(const json_t *v, const struct msg_field *f)
{
	switch (f->kind) {
	case MSG_NAME:
		if (!json_is_string(v) || !name_valid(json_string_value(v), json_string_length(v)))
			return "must be a name";
		return NULL;
	case MSG_STRING:
		return check_string(v, (size_t)f->max);
	case MSG_BYTES:
		return check_bytes(v, (size_t)f->max);
	case MSG_INT:
		return check_int(v, 0, f->max);
	case MSG_SIGNED:
		return check_int(v, -f->max, f->max);
	case MSG_BOOL:
		return json_is_boolean(v) ? NULL : "must be true or false";
	case MSG_OBJECT:
		if (!json_is_object(v))
			return "must be an object";
		return json_object_size(v) > (size_t)f->max ? "too many keys" : NULL;
	case MSG_STRINGS:
	case MSG_BLOBS:
	case MSG_INTS:
	case MSG_OBJECTS:
		return check_array(v, f);
	}
	return "of an unknown kind";
}

int msg_check_fields(
    const char *what, const json_t *o, const struct msg_field *fields, struct err *e)
{
	size_t known = 0;

	if (!json_is_object(o))
		return err_set(e, -EBADMSG, "%s: must be an object", what);
	for (const struct msg_field *f = fields; f->name; f++) {
		const json_t *v = json_object_get(o, f->name);
		const char *why;

		if (!v && f->optional)
			continue;
		why = v ? check_value(v, f) : "missing";
		if (why)
			return bad(e, what, f->name, why);
		known++;
	}
	if (known == json_object_size(o))
		return 0;
	/* fewer known keys than keys: find one to name */
	for (void *i = json_object_iter((json_t *)(uintptr_t)o); i;
	     i = json_object_iter_next((json_t *)(uintptr_t)o, i)) {
		const struct msg_field *f = fields;

		while (f->name && strcmp(f->name, json_object_iter_key(i)) != 0)
			f++;
		if (!f->name)
			return bad(e, what, json_object_iter_key(i), "unknown key");
	}
	return err_set(e, -EBADMSG, "%s: unknown key", what);
}

const char *msg_str(const struct msg *m, const char *field)
{
	return json_string_value(json_object_get(m->body, field));
}

int64_t msg_int(const struct msg *m, const char *field, int64_t dflt)
{
	const json_t *v = json_object_get(m->body, field);

	return v ? json_integer_value(v) : dflt;
}

bool msg_bool(const struct msg *m, const char *field)
{
	return json_is_true(json_object_get(m->body, field));
}

json_t *msg_obj(const struct msg *m, const char *field)
{
	return json_object_get(m->body, field);
}

int msg_bytes(const struct msg *m, const char *field, struct buf *b)
{
	return msg_json_decode(json_object_get(m->body, field), b);
}
