#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/body.h"
#include "broker/audit/logs.h"
#include "broker/audit/private.h"
#include "broker/audit/record.h"
#include "broker/ctl/audit_body.h"
#include "broker/ctl/audit_source_internal.h"
#include "broker/ctl/ctl.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/chan.h"
#include "lib/msg.h"

/* Pages of a log, from the store or from the Postern that runs. */

static int keep(struct cursor *c, const void *data, size_t len)
{
	struct fetched *f = &c->page[c->n];

	if (!(f->data = malloc(len ? len : 1)))
		return ctl_fail(EXIT_FAILED, "no memory");
	memcpy(f->data, data, len);
	f->len = len;
	c->n++;
	return EXIT_OK;
}

static int strange(void)
{
	return ctl_fail(EXIT_FAILED, "an answer to another question");
}

/* ---- the store ---- */

static int unreadable(const struct audit_source *s, int r)
{
	return ctl_fail(EXIT_UNREADABLE, "%s: %s", s->from.where, strerror(-r));
}

static int on_log(const struct log_info *l, void *arg)
{
	struct cursor *c;

	return audit_add_log(arg, l->name, l->number, &c);
}

static int list_stored(struct audit_source *s)
{
	int r = logs_list(s->from.store, on_log, s);

	return r < 0 ? unreadable(s, r) : r;
}

static int on_stored(uint64_t seq, const void *data, size_t len, void *arg)
{
	struct cursor *c = arg;
	size_t bytes = len;

	if (c->n == 0)
		c->seq = seq;
	/* a page has no holes: what comes behind one is the next page */
	if (seq != c->seq + c->n)
		return -EXDEV;
	for (size_t i = 0; i < c->n; i++)
		bytes += c->page[i].len;
	if (c->n > 0 && bytes > AUDIT_PAGE_BYTES)
		return -EXDEV;
	c->next = seq + 1;
	return keep(c, data, len);
}

static int fetch_stored(struct audit_source *s, struct cursor *c, size_t max)
{
	int r = logs_walk(s->from.store, c->number, c->next, max, on_stored, c);

	if (r == -EXDEV)
		return EXIT_OK;
	return r < 0 ? unreadable(s, r) : r;
}

/* ---- who runs ---- */

static int list_asked(struct audit_source *s)
{
	struct msg m = MSG_INIT;
	struct cursor *c;
	json_t *one;
	size_t i;
	int code = ctl_ask(s->from.link, "ctl.logs", json_object(), &m);

	if (code != EXIT_OK)
		return code;
	if (!msg_is(&m, "ctl.loglist"))
		code = strange();
	else
		json_array_foreach(msg_obj(&m, "logs"), i, one)
		{
			const char *name = json_string_value(json_object_get(one, "log"));

			if (code == EXIT_OK && name)
				code = audit_add_log(s, name, 0, &c);
		}
	msg_done(&m);
	return code;
}

/* The entries of a page by the commitments that they open. */
static json_t *private_of(json_t *list)
{
	json_t *set = json_object(), *one;
	cleanup_buf struct buf b;
	size_t i;

	buf_init(&b, PRIVATE_SALT_LEN + PRIVATE_VALUE_MAX);
	json_array_foreach(list, i, one)
	{
		char text[PRIVATE_TEXT_LEN + 1];

		buf_reset(&b);
		if (msg_json_decode(one, &b) == 0 && private_opens(b.data, b.len, text) == 0)
			(void)json_object_set(set, text, one);
	}
	return set;
}

static int ask_page(struct audit_source *s, const struct cursor *c, size_t max, struct msg *m)
{
	json_t *body = json_pack(
	    "{s:I, s:i, s:s}", "from", (json_int_t)c->next, "max", (int)max, "log", c->log);
	int code;

	if (body && s->values)
		(void)json_object_set_new(body, "private", json_true());
	if ((code = ctl_ask(s->from.link, "ctl.records", body, m)) != EXIT_OK)
		return code;
	if (msg_is(m, "ctl.page"))
		return EXIT_OK;
	msg_done(m);
	return strange();
}

static int fetch_asked(struct audit_source *s, struct cursor *c, size_t max)
{
	struct msg m = MSG_INIT;
	cleanup_buf struct buf b;
	uint64_t first;
	json_t *one;
	size_t i;
	int code;

	buf_init(&b, RECORD_MAX);
	if ((code = ask_page(s, c, max, &m)) != EXIT_OK)
		return code;
	first = (uint64_t)msg_int(&m, "from", 0);
	c->seq = c->next = first > c->next ? first : c->next;
	c->private = private_of(msg_obj(&m, "private"));
	json_array_foreach(msg_obj(&m, "records"), i, one)
	{
		buf_reset(&b);
		if (code != EXIT_OK)
			break;
		if (i >= AUDIT_PAGE || msg_json_decode(one, &b) < 0)
			code = ctl_fail(EXIT_UNREADABLE, "a record is longer than a record can be");
		else if ((code = keep(c, b.data, b.len)) == EXIT_OK)
			c->next++;
	}
	msg_done(&m);
	return code;
}

/* ---- either ---- */

int audit_list(struct audit_source *s)
{
	return s->from.store ? list_stored(s) : list_asked(s);
}

int audit_fetch(struct audit_source *s, struct cursor *c, size_t max)
{
	return s->from.store ? fetch_stored(s, c, max) : fetch_asked(s, c, max);
}

int audit_size(struct audit_source *s, struct cursor *c, uint64_t *ret)
{
	struct msg m = MSG_INIT;
	struct log_head head;
	int code, r;

	if (s->from.store) {
		if ((r = logs_head(s->from.store, c->number, &head, NULL)) < 0)
			return unreadable(s, r);
		*ret = head.seq;
		return EXIT_OK;
	}
	if ((code = ask_page(s, c, 0, &m)) != EXIT_OK)
		return code;
	*ret = (uint64_t)msg_int(&m, "size", 0);
	msg_done(&m);
	return EXIT_OK;
}

/* ---- what lies beside ---- */

static int open_entry(json_t *set, const char *key, struct buf *ret)
{
	json_t *entry = json_object_get(set, key);
	cleanup_buf struct buf b;

	buf_init(&b, PRIVATE_SALT_LEN + PRIVATE_VALUE_MAX);
	if (!entry || msg_json_decode(entry, &b) < 0 || b.len < PRIVATE_SALT_LEN)
		return -ENOENT;
	buf_put(ret, b.data + PRIVATE_SALT_LEN, b.len - PRIVATE_SALT_LEN);
	return buf_status(ret);
}

int audit_reveal(struct audit_source *s, const char *text, size_t len, struct buf *ret)
{
	char key[PRIVATE_TEXT_LEN + 1];

	if (s->from.file || !s->values)
		return -ENODATA;
	if (s->from.store)
		return private_reveal(s->from.store, text, len, ret);
	if (len != PRIVATE_TEXT_LEN)
		return -ENOENT;
	memcpy(key, text, len);
	key[len] = '\0';
	for (size_t i = 0; i < s->nlogs; i++)
		if (json_object_get(s->logs[i]->private, key))
			return open_entry(s->logs[i]->private, key, ret);
	return open_entry(s->body_private, key, ret);
}

static int ask_body(const struct audit_record *r, struct buf *ret)
{
	struct audit_source *s = r->source;
	json_auto_t *list = NULL;
	int code = audit_ask_body(s->from.link, r->log, r->seq, s->values ? &list : NULL, ret);

	json_decref(s->body_private);
	s->body_private = private_of(list);
	return code;
}

static int get_body(const struct audit_record *r, struct buf *ret)
{
	const struct audit_source *s = r->source;

	if (r->body) {
		buf_put(ret, r->body, r->body_len);
		return buf_status(ret);
	}
	if (s->from.file)
		return -ENOENT;
	if (s->from.store) {
		for (size_t i = 0; i < s->nlogs; i++)
			if (strcmp(s->logs[i]->log, r->log) == 0)
				return logs_body_get(
				    s->from.store, s->logs[i]->number, r->seq, ret);
		return -ENOENT;
	}
	return ask_body(r, ret);
}

int audit_body(const struct audit_record *r, struct buf *ret)
{
	uint8_t digest[DIGEST_LEN];
	size_t n;
	int code;

	if ((code = body_named(r->data, r->len, digest, &n)) < 0)
		return code;
	if ((code = get_body(r, ret)) < 0)
		return code;
	return body_check(r->data, r->len, ret->data, ret->len);
}

static void hint(const json_t *row, const char *tenant, struct audit_hint *ret)
{
	const char *started = json_string_value(json_object_get(row, "started")),
	           *conn = json_string_value(json_object_get(row, "conn"));

	if (!tenant || !started || !conn)
		return;
	(void)str_copy(ret->log, sizeof ret->log, tenant);
	(void)str_copy(ret->conn, sizeof ret->conn, conn);
	(void)str_copy(ret->since, sizeof ret->since, started);
}

void audit_find_session(struct audit_source *s, const char *id, struct audit_hint *ret)
{
	json_auto_t *row = NULL;
	struct msg m = MSG_INIT;
	cleanup_buf struct buf b;

	*ret = (struct audit_hint){0};
	buf_init(&b, STORE_VALUE_MAX);
	if (s->from.store && strlen(id) <= STORE_KEY_MAX &&
	    store_get(s->from.store, STORE_SESSIONS, id, strlen(id), &b) == 0)
		(void)msg_json_parse(b.data, b.len, &row, NULL);
	else if (s->from.link && strlen(id) <= 36 &&
	         ctl_try(s->from.link, "ctl.session", json_pack("{s:s}", "session", id), &m) ==
	             EXIT_OK) {
		row = json_incref(msg_obj(&m, "data"));
		msg_done(&m);
	}
	if (row)
		hint(row, json_string_value(json_object_get(row, "tenant")), ret);
}
