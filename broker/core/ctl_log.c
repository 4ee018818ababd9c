#include "broker/core/ctl_log.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "broker/audit/logs.h"
#include "broker/audit/private.h"
#include "broker/audit/record.h"
#include "broker/core/core.h"
#include "broker/core/ctl_answers.h"
#include "broker/core/handlers.h"
#include "broker/core/peer.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/msg.h"

#define PAGE_BYTES    (80u * 1024) /* of base64 of records in one page */
#define PRIVATE_BYTES (24u * 1024) /* and of private entries */
#define PRIVATE_MAX   128

/* ---- a page ---- */

struct page {
	json_t *records, *commitments; /* commitments: the set of those that the records hold */
	size_t bytes;
	int r;
};

/* Everything that looks like one. What is foreign cannot: its quote marks are escaped, and a value
 * that was not committed to is not found. */
static void find_commitments(struct page *page, const char *data, size_t len)
{
	const char *end = data + len, *at = data;

	while (at < end && (at = memmem(at, (size_t)(end - at), "\"c:", 3)) != NULL) {
		char text[PRIVATE_TEXT_LEN + 1] = "";

		at++;
		if ((size_t)(end - at) <= PRIVATE_TEXT_LEN)
			return;
		memcpy(text, at, PRIVATE_TEXT_LEN);
		if (private_is_text(text, PRIVATE_TEXT_LEN) &&
		    json_object_size(page->commitments) < PRIVATE_MAX)
			(void)json_object_set_new(page->commitments, text, json_true());
	}
}

static int on_record(uint64_t seq, const void *data, size_t len, void *arg)
{
	struct page *page = arg;

	(void)seq;
	page->bytes += B64_LEN(len) + 4;
	if (page->bytes > PAGE_BYTES && json_array_size(page->records) > 0)
		return 1;
	/* those of one record fit always */
	if (json_object_size(page->commitments) > PRIVATE_MAX - 8)
		return 1;
	find_commitments(page, data, len);
	return json_array_append_new(page->records, msg_json_bytes(data, len)) < 0 ? -ENOMEM : 0;
}

static json_t *private_values(struct core *c, json_t *commitments)
{
	json_t *list = json_array(), *v;
	cleanup_buf struct buf b;
	size_t bytes = 0;
	const char *text;

	buf_init(&b, PRIVATE_SALT_LEN + PRIVATE_VALUE_MAX);
	json_object_foreach(commitments, text, v)
	{
		buf_reset(&b);
		if (private_entry(c->store, text, strlen(text), &b) < 0)
			continue; /* erased */
		bytes += B64_LEN(b.len) + 4;
		if (bytes > PRIVATE_BYTES)
			break;
		if (list)
			(void)json_array_append_new(list, msg_json_bytes(b.data, b.len));
	}
	return list;
}

static void answer_page(struct peer *p, const struct msg *m, uint64_t from,
    const struct log_head *head, struct page *page)
{
	(void)peer_send(p, "ctl.page", m->id,
	    json_pack("{s:I, s:I, s:O, s:o, s:o}", "from", (json_int_t)from, "size",
	        (json_int_t)head->seq, "records", page->records, "head",
	        msg_json_bytes(head->leaf, DIGEST_LEN), "private",
	        private_values(p->core, page->commitments)));
}

int ctl_log_records(struct peer *p, struct msg *m, struct err *e)
{
	const char *name = msg_str(m, "log");
	uint64_t from = (uint64_t)msg_int(m, "from", 1);
	size_t max = (size_t)msg_int(m, "max", 1024);
	json_auto_t *records = json_array(), *commitments = json_object();
	struct page page = {.records = records, .commitments = commitments};
	struct log_info log = {.number = LOG_HOST_NUMBER};
	struct store *s = p->core->store;
	struct log_head head;
	int r;

	(void)e;
	if (!p->owner) { /* the first page of this reader */
		p->owner = p;
		ctl_record(p, m);
	}
	if (from == 0)
		from = 1;
	r = !s ? -EIO : name && strcmp(name, LOG_HOST) != 0 ? logs_find(s, name, &log) : 0;
	if (r == -ENOENT) {
		ctl_error(p, m->id, CTL_NOT_FOUND, "there is no such log");
		return 0;
	}
	if (r < 0 || !records || !commitments || logs_head(s, log.number, &head, NULL) < 0 ||
	    (max > 0 && logs_walk(s, log.number, from, max, on_record, &page) < 0)) {
		ctl_error(p, m->id, CTL_FAILED, "the log cannot be read");
		return 0;
	}
	answer_page(p, m, from, &head, &page);
	return 0;
}

/* ---- the list ---- */

static int on_log(const struct log_info *l, void *arg)
{
	json_t *o = json_pack("{s:s, s:I}", "log", l->name, "number", (json_int_t)l->number);

	return json_array_append_new(arg, o) < 0 ? -ENOMEM : 0;
}

static int describe(struct store *s, json_t *o)
{
	struct log_head head;
	char time[32] = "";
	int r =
	    logs_head(s, (uint32_t)json_integer_value(json_object_get(o, "number")), &head, NULL);

	if (r < 0)
		return r;
	if (head.seq > 0)
		clock_format(time, sizeof time, head.time_ns);
	return json_object_set_new(o, "seq", json_integer((json_int_t)head.seq)) < 0 ||
	               json_object_set_new(o, "bytes", json_integer((json_int_t)head.bytes)) < 0 ||
	               json_object_set_new(o, "time", json_string(time)) < 0
	           ? -ENOMEM
	           : 0;
}

int ctl_log_list(struct peer *p, struct msg *m, struct err *e)
{
	json_auto_t *list = json_array();
	struct store *s = p->core->store;
	size_t i;
	json_t *o;
	int r;

	(void)e;
	if (!p->owner) {
		p->owner = p;
		ctl_record(p, m);
	}
	r = s && list ? logs_list(s, on_log, list) : -EIO;
	json_array_foreach(list, i, o)
	{
		if (r == 0)
			r = describe(s, o);
	}
	if (r < 0) {
		ctl_error(p, m->id, CTL_FAILED, "the list of logs cannot be read");
		return 0;
	}
	(void)peer_send(p, "ctl.loglist", m->id, json_pack("{s:O}", "logs", list));
	return 0;
}
