#include <errno.h>
#include <stdlib.h>

#include "broker/audit/private.h"
#include "broker/export/pull.h"
#include "broker/export/sink_internal.h"
#include "lib/clock.h"
#include "lib/msg.h"

/* What the core gave, as events. */

size_t sink_line_max(const struct sink *s)
{
	return s->config.kind == EXPORT_JSONL ? 4 * OCSF_LINE_MAX : OCSF_LINE_MAX;
}

void sink_batch_drop(struct sink *s)
{
	for (size_t i = 0; i < s->batch.n; i++)
		ocsf_done(&s->batch.events[i]);
	free(s->batch.events);
	s->batch = (struct sink_batch){0};
	s->passed_over = s->body_at = 0;
}

static struct export_log *log_of(const struct sink *s, size_t feed)
{
	return &s->x->logs[feed];
}

static int batch_begin(struct sink *s, size_t feed, size_t max)
{
	sink_batch_drop(s);
	s->batch.events = calloc(max > 0 ? max : 1, sizeof *s->batch.events);
	s->batch.origin = log_of(s, feed)->origin;
	s->batch.log = log_of(s, feed)->name;
	s->batch_feed = feed;
	return s->batch.events ? 0 : -ENOMEM;
}

json_t *sink_personal(const struct sink *s, const json_t *list)
{
	json_t *o;
	cleanup_buf struct buf b;

	buf_init(&b, PRIVATE_SALT_LEN + PRIVATE_VALUE_MAX);
	if (!s->config.personal || !list || !(o = json_object()))
		return NULL;
	for (size_t i = 0; i < json_array_size(list); i++) {
		char text[PRIVATE_TEXT_LEN + 1];

		buf_reset(&b);
		if (msg_json_decode(json_array_get(list, i), &b) == 0 &&
		    private_opens(b.data, b.len, text) == 0)
			(void)json_object_set_new(o, text,
			    json_stringn(
			        (const char *)b.data + PRIVATE_SALT_LEN, b.len - PRIVATE_SALT_LEN));
	}
	return o;
}

int sink_batch_records(struct sink *s, size_t feed, const struct msg *m)
{
	json_t *list = msg_obj(m, "records");
	uint64_t from = (uint64_t)msg_int(m, "from", 0);
	json_auto_t *personal = sink_personal(s, msg_obj(m, "private"));
	const struct ocsf_from of = {log_of(s, feed)->origin, log_of(s, feed)->name, personal,
	    sink_line_max(s), clock_wall_ns()};
	cleanup_buf struct buf b;
	int r = batch_begin(s, feed, json_array_size(list));

	buf_init(&b, MSG_MAX);
	for (size_t i = 0; i < json_array_size(list) && r == 0; i++) {
		buf_reset(&b);
		if ((r = msg_json_decode(json_array_get(list, i), &b)) == 0 &&
		    (r = ocsf_record(&of, from + i, b.data, b.len, &s->batch.events[s->batch.n])) ==
		        0)
			s->batch.n++;
	}
	return r;
}

/* Those that cover no record which is still to come. */
int sink_batch_checkpoints(struct sink *s, size_t feed, const struct msg *m)
{
	json_t *list = msg_obj(m, "notes");
	const struct ocsf_from of = {log_of(s, feed)->origin, log_of(s, feed)->name, NULL,
	    sink_line_max(s), clock_wall_ns()};
	cleanup_buf struct buf b;
	int r = batch_begin(s, feed, json_array_size(list));

	buf_init(&b, MSG_MAX);
	for (size_t i = 0; i < json_array_size(list) && r == 0; i++) {
		uint64_t size;
		const void *note;
		size_t len;

		buf_reset(&b);
		if ((r = msg_json_decode(json_array_get(list, i), &b)) < 0 ||
		    (r = pull_note(b.data, b.len, &size, &note, &len)) < 0 ||
		    size > s->feeds[feed].seq)
			break;
		if (size <= s->feeds[feed].checkpoint)
			continue;
		r = ocsf_checkpoint(&of, size, note, len, &s->batch.events[s->batch.n]);
		if (r == 0)
			s->batch.n++;
	}
	return r;
}
