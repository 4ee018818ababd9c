#include "lib/msg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"
#include "lib/util.h"

const struct msg_type *msg_type_find(const char *name)
{
	for (const struct msg_type *t = msg_types; t->name; t++)
		if (strcmp(t->name, name) == 0)
			return t;
	return NULL;
}

/* jansson's parser calls itself for each level; so levels are counted before it sees the text.
 * Quotes and backslashes are followed as JSON has them, anything else malformed is left to the
 * parser. */
static bool too_deep(const char *text, size_t len)
{
	bool quoted = false;
	size_t depth = 0;

	for (size_t i = 0; i < len; i++) {
		if (quoted) {
			if (text[i] == '\\')
				i++;
			else if (text[i] == '"')
				quoted = false;
		} else if (text[i] == '"') {
			quoted = true;
		} else if (text[i] == '{' || text[i] == '[') {
			if (++depth > MSG_DEPTH_MAX)
				return true;
		} else if ((text[i] == '}' || text[i] == ']') && depth > 0) {
			depth--;
		}
	}
	return false;
}

int msg_json_parse(const void *data, size_t len, json_t **ret, struct err *e)
{
	json_error_t why;
	json_t *o;

	if (too_deep(data, len))
		return err_set(e, -EBADMSG, "nested deeper than %d", MSG_DEPTH_MAX);
	o = json_loadb(data, len, JSON_REJECT_DUPLICATES, &why);
	if (!o) {
		char shown[128];

		/* jansson quotes what it stumbled over */
		str_escape(shown, sizeof shown, why.text, strlen(why.text));
		return err_set(e, -EBADMSG, "not JSON at byte %d: %s", why.position, shown);
	}
	if (!json_is_object(o)) {
		json_decref(o);
		return err_set(e, -EBADMSG, "not a JSON object");
	}
	*ret = o;
	return 0;
}

/* {"v":1,"id":N,"type":"T","body":{...}} and nothing else. Values are borrowed from o. */
static int read_envelope(
    const json_t *o, uint64_t *ret_id, const char **ret_type, json_t **ret_body, struct err *e)
{
	const json_t *v = json_object_get(o, "v"), *id = json_object_get(o, "id");
	const json_t *type = json_object_get(o, "type");
	json_t *body = json_object_get(o, "body");

	if (json_object_size(o) != 4 || !json_is_integer(v) || !json_is_integer(id) ||
	    !json_is_string(type) || !json_is_object(body))
		return err_set(e, -EBADMSG, "not an envelope of v, id, type and body");
	if (json_integer_value(v) != MSG_VERSION)
		return err_set(e, -EBADMSG, "not version %d", MSG_VERSION);
	if (json_integer_value(id) < 0)
		return err_set(e, -EBADMSG, "the id is negative");
	*ret_id = (uint64_t)json_integer_value(id);
	*ret_type = json_string_value(type);
	*ret_body = body;
	return 0;
}

static int check_fds(const struct msg_type *t, size_t nfds, struct err *e)
{
	if (nfds < t->fds_min || nfds > t->fds_max || nfds > MSG_FDS_MAX)
		return err_set(e, -EPROTO, "%s: carries %zu descriptors", t->name, nfds);
	return 0;
}

/* Who, when, what, in this order. */
static int decode(struct msg *m, unsigned from, unsigned to, unsigned phase, const void *data,
    size_t len, size_t nfds, struct err *e)
{
	const struct msg_type *t;
	const char *type;
	char shown[72];
	json_t *body;
	uint64_t id;
	int r;

	if (len > MSG_MAX)
		return err_set(e, -EMSGSIZE, "a record of %zu bytes", len);
	json_auto_t *o = NULL;
	if ((r = msg_json_parse(data, len, &o, e)) < 0 ||
	    (r = read_envelope(o, &id, &type, &body, e)) < 0)
		return r;
	t = msg_type_find(type);
	if (!t || !(t->from & from) || !(t->to & to)) {
		str_escape(shown, sizeof shown, type, strlen(type));
		return err_set(e, -EPERM, "%s: not this peer's to send", shown);
	}
	if (!(t->phases & phase))
		return err_set(e, -EPERM, "%s: not in this phase", t->name);
	if (len > t->max)
		return err_set(e, -EMSGSIZE, "%s: a record of %zu bytes", t->name, len);
	if ((r = check_fds(t, nfds, e)) < 0 ||
	    (r = msg_check_fields(t->name, body, t->fields, e)) < 0)
		return r;
	m->id = id;
	m->type = t;
	m->body = json_incref(body);
	return 0;
}

int msg_decode(struct msg *m, unsigned from, unsigned to, unsigned phase, const void *data,
    size_t len, const int *fds, size_t nfds, struct err *e)
{
	int r = decode(m, from, to, phase, data, len, nfds, e);

	if (r < 0) {
		for (size_t i = 0; i < nfds; i++) {
			int fd = fds[i];

			util_close(&fd);
		}
		return r;
	}
	m->nfds = nfds;
	for (size_t i = 0; i < MSG_FDS_MAX; i++)
		m->fds[i] = i < nfds ? fds[i] : -1;
	return 0;
}

static int put_json(const char *text, size_t len, void *arg)
{
	struct buf *b = arg;

	buf_put(b, text, len);
	return buf_status(b) < 0 ? -1 : 0;
}

int msg_encode(
    struct buf *out, const char *type, uint64_t id, json_t *body, size_t nfds, struct err *e)
{
	const struct msg_type *t = msg_type_find(type);
	size_t start = out->len, len;
	int r;

	if (!t)
		return err_set(e, -EPERM, "%s: no such message", type);
	if (id > INT64_MAX)
		return err_set(e, -EBADMSG, "%s: the id is too large", type);
	if ((r = check_fds(t, nfds, e)) < 0 ||
	    (r = msg_check_fields(t->name, body, t->fields, e)) < 0)
		return r;
	buf_printf(out, "{\"v\":%d,\"id\":%llu,\"type\":\"%s\",\"body\":", MSG_VERSION,
	    (unsigned long long)id, t->name);
	if (json_dump_callback(body, put_json, out, JSON_COMPACT) < 0 && buf_status(out) == 0) {
		out->len = start;
		return err_set(e, -EBADMSG, "%s: cannot be written as JSON", type);
	}
	buf_put_u8(out, '}');
	if ((r = buf_status(out)) < 0) {
		out->len = start;
		return err_set(e, r == -ENOBUFS ? -EMSGSIZE : r, "%s: no room for it", type);
	}
	len = out->len - start;
	if (len > t->max || len > MSG_MAX)
		r = err_set(e, -EMSGSIZE, "%s: a record of %zu bytes", type, len);
	else if (too_deep((const char *)out->data + start, len))
		r = err_set(e, -EBADMSG, "%s: nested deeper than %d", type, MSG_DEPTH_MAX);
	if (r < 0)
		out->len = start;
	return r;
}

void msg_done(struct msg *m)
{
	json_decref(m->body);
	m->body = NULL;
	for (size_t i = 0; i < MSG_FDS_MAX; i++)
		util_close(&m->fds[i]);
	m->nfds = 0;
	m->type = NULL;
	m->id = 0;
}

bool msg_is(const struct msg *m, const char *type)
{
	return m->type && strcmp(m->type->name, type) == 0;
}

int msg_take_fd(struct msg *m, size_t i)
{
	return i < MSG_FDS_MAX ? steal_fd(&m->fds[i]) : -1;
}

json_t *msg_json_bytes(const void *data, size_t len)
{
	cleanup_free char *text = malloc(B64_LEN(len) + 1);

	if (!text)
		return NULL;
	b64_encode(text, data, len);
	return json_stringn_nocheck(text, B64_LEN(len));
}

int msg_json_decode(const json_t *v, struct buf *b)
{
	size_t len = json_string_length(v), n;
	int r;

	if (!json_is_string(v))
		return -ENOENT;
	cleanup_free uint8_t *data = malloc(len / 4 * 3 + 1);
	if (!data)
		return -ENOMEM;
	if ((r = b64_decode(data, len / 4 * 3, json_string_value(v), len, &n)) < 0)
		return r;
	buf_put(b, data, n);
	return buf_status(b);
}
