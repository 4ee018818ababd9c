#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "broker/audit/body.h"
#include "broker/audit/show.h"
#include "broker/audit/timeline.h"
#include "broker/ctl/audit_timeline.h"
#include "lib/buf.h"

/* Whatever a record says, what a person sees of it is printable ASCII. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct buf *b)
{
	for (size_t i = 0; i < b->len; i++)
		assert(b->data[i] == '\n' || (b->data[i] >= 0x20 && b->data[i] < 0x7f));
}

static void show_timeline(const json_t *record, struct buf *b)
{
	struct timeline *t = timeline_new("s-1", NULL);

	if (!t)
		return;
	for (int i = 0; i < 2; i++)
		(void)timeline_add(t, record);
	timeline_text(timeline_json(t), b);
	timeline_free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t digest[DIGEST_LEN];
	json_t *record = NULL;
	struct buf b;
	size_t n;

	(void)body_named(data, size, digest, &n);
	if (show_parse(data, size, &record, NULL) < 0)
		return 0;
	buf_init(&b, 1u << 24);
	show_line(record, false, &b);
	show_line(record, true, &b);
	show_json(record, JSON_COMPACT, &b);
	show_timeline(record, &b);
	check(&b);
	buf_done(&b);
	json_decref(record);
	return 0;
}
