#include <errno.h>
#include <string.h>

#include "broker/audit/body.h"
#include "broker/core/archive.h"
#include "broker/core/core.h"
#include "broker/core/ctl_body.h"
#include "broker/core/ctl_values.h"
#include "broker/core/export_internal.h"
#include "broker/core/peer.h"
#include "broker/store/store.h"
#include "lib/msg.h"

/*
 * Records and notes for the exporter: page by page, by what its sinks are configured to have.
 */

#define PAGE_BYTES (80u * 1024) /* of base64 in one answer, but for its first element */
#define NOTES_MAX  256

struct page {
	json_t *items, *commitments;
	uint64_t next; /* the record that has to come now */
	size_t bytes;
};

static int on_record(uint64_t seq, const void *data, size_t len, void *arg)
{
	struct page *page = arg;

	page->bytes += B64_LEN(len) + 4;
	if (seq != page->next || (page->bytes > PAGE_BYTES && json_array_size(page->items) > 0))
		return 1;
	/* those of one record fit always */
	if (page->commitments && json_object_size(page->commitments) > CTL_VALUES_MAX - 8)
		return 1;
	if (page->commitments)
		ctl_values_find(page->commitments, data, len);
	page->next++;
	return json_array_append_new(page->items, msg_json_bytes(data, len)) < 0 ? -ENOMEM : 0;
}

static int answer(struct peer *p, const struct msg *m, const struct export_log *l, uint64_t from,
    struct page *page)
{
	json_t *o = json_pack("{s:I, s:I, s:O}", "from", (json_int_t)from, "size",
	    (json_int_t)l->size, "records", page->items);

	if (o && page->commitments)
		(void)json_object_set_new(o, "private", ctl_values(p->core, page->commitments));
	(void)peer_send(p, "export.batch", m->id, o);
	return 0;
}

/* Whether this sink is to have this log: it, or NULL for the archive. */
static bool may_have(struct peer *p, struct msg *m, const struct export_sink **ret)
{
	const struct export_config *config = export_config_of(p->core->exporting);
	const struct export_sink *s = export_config_sink(config, msg_str(m, "sink"));

	*ret = s;
	return (strcmp(msg_str(m, "sink"), EXPORT_ARCHIVE) == 0 && config->archive) ||
	       (s && export_sink_wants(s, msg_str(m, "log")));
}

static void for_archive(struct peer *p, struct msg *m, const char *number)
{
	if (p->core->archive && strcmp(msg_str(m, "sink"), EXPORT_ARCHIVE) == 0)
		archive_read(p->core->archive, msg_str(m, "log"), (uint64_t)msg_int(m, number, 0));
}

int export_body(struct peer *p, struct msg *m, struct err *e)
{
	struct exporter *x = p->core->exporting;
	const struct export_sink *s;
	struct export_log *l;
	cleanup_buf struct buf b;
	int r;

	(void)e;
	buf_init(&b, BODY_MAX);
	if (!may_have(p, m, &s))
		return export_refuse(p, m, "no sink of this name has such a log");
	for_archive(p, m, "seq");
	if (!(l = export_log_find(x, msg_str(m, "log"))))
		return export_refuse(p, m, "there is no such log");
	r = logs_body_get(p->core->store, l->number, (uint64_t)msg_int(m, "seq", 0), &b);
	if ((r < 0 && r != -ENOENT) || (size_t)msg_int(m, "at", 0) > b.len)
		return export_refuse(p, m, "the body cannot be read");
	body_piece(p, m, "export.bodypart", &b, s && s->personal);
	return 0;
}

int export_pull(struct peer *p, struct msg *m, struct err *e)
{
	struct exporter *x = p->core->exporting;
	uint64_t from = (uint64_t)msg_int(m, "from", 1);
	json_auto_t *items = json_array(), *commitments = NULL;
	struct page page = {.items = items, .next = from};
	const struct export_sink *s;
	struct export_log *l;

	(void)e;
	if (!may_have(p, m, &s))
		return export_refuse(p, m, "no sink of this name has such a log");
	if (!(l = export_log_find(x, msg_str(m, "log"))) || !items)
		return export_refuse(p, m, "there is no such log");
	for_archive(p, m, "from");
	if (from == 0)
		return export_refuse(p, m, "records are counted from 1");
	if (s && s->personal)
		page.commitments = commitments = json_object();
	if (logs_walk(p->core->store, l->number, from, (size_t)msg_int(m, "max", 0), on_record,
	        &page) < 0)
		return export_refuse(p, m, "the log cannot be read");
	if (page.next == from && from <= l->size && from < export_first(x, l))
		return export_refuse(p, m, "these records are in the archive");
	return answer(p, m, l, from, &page);
}

/* ---- notes ---- */

static int on_note(uint64_t number, const void *note, size_t len, void *arg)
{
	struct page *page = arg;
	cleanup_buf struct buf b;

	buf_init(&b, 8 + NOTE_MAX);
	page->bytes += B64_LEN(8 + len) + 4;
	if (page->bytes > PAGE_BYTES && json_array_size(page->items) > 0)
		return 1;
	buf_put_u64(&b, number);
	buf_put(&b, note, len);
	if (buf_status(&b) < 0)
		return buf_status(&b);
	return json_array_append_new(page->items, msg_json_bytes(b.data, b.len)) < 0 ? -ENOMEM : 0;
}

/* Notes tell sizes and roots, which witnesses get of every log. */
static bool may_have_notes(const struct export_config *c, const char *log)
{
	if (c->archive || c->nwitnesses > 0)
		return true;
	for (size_t i = 0; i < c->nsinks; i++)
		if (export_sink_wants(&c->sinks[i], log))
			return true;
	return false;
}

int export_notes(struct peer *p, struct msg *m, struct err *e)
{
	const char *kind = msg_str(m, "kind");
	int (*walk)(struct store *, uint32_t, uint64_t, size_t, logs_note_fn, void *) =
	    strcmp(kind, "checkpoint") == 0 ? logs_checkpoint_walk
	    : strcmp(kind, "epoch") == 0    ? logs_epoch_walk
	    : strcmp(kind, "break") == 0    ? logs_break_walk
	                                    : NULL;
	struct exporter *x = p->core->exporting;
	json_auto_t *items = json_array();
	struct page page = {.items = items};
	struct export_log *l;

	(void)e;
	if (!walk)
		return export_refuse(
		    p, m, "there are notes of three kinds: checkpoint, epoch, break");
	if (!may_have_notes(export_config_of(x), msg_str(m, "log")) ||
	    !(l = export_log_find(x, msg_str(m, "log"))) || !items)
		return export_refuse(p, m, "there is no such log");
	if (walk(p->core->store, l->number, (uint64_t)msg_int(m, "from", 0), NOTES_MAX, on_note,
	        &page) < 0)
		return export_refuse(p, m, "the notes cannot be read");
	(void)peer_send(p, "export.notelist", m->id, json_pack("{s:O}", "notes", items));
	return 0;
}
