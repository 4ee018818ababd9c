#include "broker/core/ctl_log.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "broker/audit/logs.h"
#include "broker/audit/record.h"
#include "broker/core/core.h"
#include "broker/core/ctl_answers.h"
#include "broker/core/ctl_values.h"
#include "broker/core/handlers.h"
#include "broker/core/peer.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/msg.h"

#define PAGE_BYTES (80u * 1024) /* of base64 of records in one page, but for the first */
_Static_assert(
    B64_LEN(RECORD_MAX) + CTL_VALUES_BYTES + 4096 < MSG_MAX && RECORD_MAX <= MSG_ITEM_MAX,
    "one record always fits a page");

/* ---- a page ---- */

struct page {
	json_t *records, *commitments; /* commitments: the set of those that the records hold */
	size_t bytes;
	uint64_t first; /* number of the first */
};

static int on_record(uint64_t seq, const void *data, size_t len, void *arg)
{
	struct page *page = arg;

	/* a page has no holes: what comes behind one is the next page */
	if (json_array_size(page->records) == 0)
		page->first = seq;
	else if (seq != page->first + json_array_size(page->records))
		return 1;
	page->bytes += B64_LEN(len) + 4;
	if (page->bytes > PAGE_BYTES && json_array_size(page->records) > 0)
		return 1;
	/* those of one record fit always */
	if (json_object_size(page->commitments) > CTL_VALUES_MAX - 8)
		return 1;
	ctl_values_find(page->commitments, data, len);
	return json_array_append_new(page->records, msg_json_bytes(data, len)) < 0 ? -ENOMEM : 0;
}

static void answer_page(
    struct peer *p, const struct msg *m, const struct log_head *head, struct page *page)
{
	json_t *o = json_pack("{s:I, s:I, s:O, s:o}", "from", (json_int_t)page->first, "size",
	    (json_int_t)head->seq, "records", page->records, "head",
	    msg_json_bytes(head->leaf, DIGEST_LEN));

	if (o && msg_bool(m, "private"))
		(void)json_object_set_new(o, "private", ctl_values(p->core, page->commitments));
	(void)peer_send(p, "ctl.page", m->id, o);
}

int ctl_log_records(struct peer *p, struct msg *m, struct err *e)
{
	const char *name = msg_str(m, "log");
	uint64_t from = (uint64_t)msg_int(m, "from", 1);
	size_t max = (size_t)msg_int(m, "max", 1024);
	json_auto_t *records = json_array(), *commitments = json_object();
	struct page page = {.records = records, .commitments = commitments, .first = from};
	struct log_info log = {.number = LOG_HOST_NUMBER};
	struct store *s = p->core->store;
	struct log_head head;
	int r;

	(void)e;
	ctl_reading(p, m);
	if (from == 0)
		from = page.first = 1;
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
	answer_page(p, m, &head, &page);
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
	ctl_reading(p, m);
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
