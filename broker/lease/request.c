#include "broker/lease/request.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"

#define OP                                                                                         \
	{                                                                                          \
		"op", MSG_STRING, 8, false                                                         \
	}

static const struct {
	const char *op;
	const struct msg_field fields[4];
} ops[] = {
    [LEASE_LIST] = {"list", {OP}},
    [LEASE_GET] = {"get", {OP, {"kind", MSG_STRING, LEASE_KIND_MAX, false},
                              {"audience", MSG_STRING, LEASE_AUDIENCE_MAX, false}}},
    [LEASE_RELEASE] = {"release", {OP, {"lease", MSG_STRING, LEASE_ID_MAX, false}}},
};

/* True if there is one '{' outside of strings, and no '[': so the JSON reader, which recurses, has
 * nothing to descend into. */
static bool is_flat(const char *p, size_t len)
{
	bool in_string = false;
	size_t braces = 0;

	for (size_t i = 0; i < len; i++) {
		if (in_string) {
			if (p[i] == '\\')
				i++;
			else if (p[i] == '"')
				in_string = false;
		} else if (p[i] == '"') {
			in_string = true;
		} else if (p[i] == '[' || (p[i] == '{' && ++braces > 1)) {
			return false;
		}
	}
	return true;
}

static void take(char *dst, size_t size, const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	if (s)
		(void)str_copy(dst, size, s);
}

static int understand(const json_t *o, struct lease_request *ret, struct err *e)
{
	const char *op = json_string_value(json_object_get(o, "op"));
	struct lease_request q = {0};
	size_t i = 0;
	int r;

	if (!op)
		return err_set(e, -EBADMSG, "\"op\" is missing");
	while (i < ARRAY_LEN(ops) && strcmp(ops[i].op, op) != 0)
		i++;
	if (i == ARRAY_LEN(ops))
		return err_set(e, -EBADMSG, "\"op\" is none of list, get, release");
	if ((r = msg_check_fields("request", o, ops[i].fields, e)) < 0)
		return r;
	q.op = (enum lease_op)i;
	take(q.kind, sizeof q.kind, o, "kind");
	take(q.audience, sizeof q.audience, o, "audience");
	take(q.lease, sizeof q.lease, o, "lease");
	*ret = q;
	return 0;
}

int lease_request_parse(const void *line, size_t len, struct lease_request *ret, struct err *e)
{
	json_auto_t *o = NULL;

	if (len > LEASE_LINE_MAX)
		return err_set(e, -EBADMSG, "a request is at most %d bytes", LEASE_LINE_MAX);
	if (len == 0 || !is_flat(line, len))
		return err_set(e, -EBADMSG, "a request is one flat JSON object");
	if (!(o = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL)) || !json_is_object(o))
		return err_set(e, -EBADMSG, "not a JSON object");
	return understand(o, ret, e);
}

const char *lease_request_message(const struct lease_request *q, json_t **ret_body)
{
	switch (q->op) {
	case LEASE_GET:
		*ret_body = json_pack("{s:s, s:s}", "kind", q->kind, "audience", q->audience);
		return "lease.get";
	case LEASE_RELEASE:
		*ret_body = json_pack("{s:s}", "lease", q->lease);
		return "lease.release";
	default:
		*ret_body = json_object();
		return "lease.list";
	}
}

static void put(struct buf *out, json_t *o)
{
	char *text = json_dumps(o, JSON_COMPACT);

	json_decref(o);
	if (!text) {
		buf_printf(out, "{\"ok\":false,\"error\":\"no memory\"}\n");
		return;
	}
	buf_put(out, text, strlen(text));
	buf_put(out, "\n", 1);
	free(text);
}

void lease_answer_error(struct buf *out, const char *why)
{
	char text[1024];

	put(out, json_pack("{s:b, s:s}", "ok", 0, "error",
	             str_escape(text, sizeof text, why, strlen(why))));
}

void lease_answer(struct buf *out, const struct msg *m)
{
	if (msg_is(m, "lease.listing"))
		put(out,
		    json_pack("{s:b, s:O}", "ok", 1, "credentials", msg_obj(m, "credentials")));
	else if (msg_is(m, "lease.granted"))
		put(out, json_pack("{s:b, s:s, s:s, s:I}", "ok", 1, "lease", msg_str(m, "lease"),
		             "value", msg_str(m, "value"), "expires",
		             (json_int_t)msg_int(m, "expires_s", 0)));
	else if (msg_is(m, "lease.released"))
		put(out, json_pack("{s:b}", "ok", 1));
	else
		lease_answer_error(out, msg_str(m, "reason") ? msg_str(m, "reason") : "refused");
}
