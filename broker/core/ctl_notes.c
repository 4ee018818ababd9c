#include "broker/core/ctl_notes.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "broker/audit/logs.h"
#include "broker/audit/prune.h"
#include "broker/core/core.h"
#include "broker/core/ctl_answers.h"
#include "broker/core/handlers.h"
#include "broker/core/peer.h"
#include "creds/note.h"
#include "lib/buf.h"
#include "lib/msg.h"
#include "lib/str.h"

#define LIST_BYTES (80u * 1024) /* of base64 in one answer */
#define LIST_MAX   256

struct list {
	json_t *notes;
	size_t bytes;
};

static int on_note(uint64_t number, const void *note, size_t len, void *arg)
{
	struct list *l = arg;
	cleanup_buf struct buf b;

	buf_init(&b, 8 + NOTE_MAX);
	l->bytes += B64_LEN(8 + len) + 4;
	if (l->bytes > LIST_BYTES && json_array_size(l->notes) > 0)
		return 1;
	buf_put_u64(&b, number);
	buf_put(&b, note, len);
	if (buf_status(&b) < 0)
		return buf_status(&b);
	return json_array_append_new(l->notes, msg_json_bytes(b.data, b.len)) < 0 ? -ENOMEM : 0;
}

/* No note, but what there is of the records that are in the archive. */
static int on_edge(struct store *s, uint32_t log, struct list *list)
{
	uint8_t packed[LOG_EDGE_MAX];
	struct log_edge g;
	int r = log_edge_get(s, log, &g, NULL);

	return r < 0 || g.seq == 0 ? r : on_note(g.seq, packed, log_edge_pack(&g, packed), list);
}

int ctl_notes(struct peer *p, struct msg *m, struct err *e)
{
	const char *name = msg_str(m, "log"), *kind = msg_str(m, "kind");
	uint64_t from = (uint64_t)msg_int(m, "from", 0);
	bool checkpoints = strcmp(kind, "checkpoint") == 0, breaks = strcmp(kind, "break") == 0;
	bool edge = strcmp(kind, "edge") == 0;
	json_auto_t *notes = json_array();
	struct list list = {.notes = notes};
	struct log_info log = {.number = LOG_HOST_NUMBER};
	struct store *s = p->core->store;
	int r;

	(void)e;
	ctl_reading(p, m);
	if (!checkpoints && !breaks && !edge && strcmp(kind, "epoch") != 0) {
		ctl_error(p, m->id, CTL_FAILED,
		    "there are notes of four kinds: checkpoint, epoch, break, edge");
		return 0;
	}
	r = !s || !notes ? -EIO : strcmp(name, LOG_HOST) != 0 ? logs_find(s, name, &log) : 0;
	if (r == -ENOENT) {
		ctl_error(p, m->id, CTL_NOT_FOUND, "there is no such log");
		return 0;
	}
	if (r == 0 && edge)
		r = on_edge(s, log.number, &list);
	else if (r == 0)
		r = (checkpoints ? logs_checkpoint_walk
		     : breaks    ? logs_break_walk
		                 : logs_epoch_walk)(s, log.number, from, LIST_MAX, on_note, &list);
	if (r < 0) {
		ctl_error(p, m->id, CTL_FAILED, "the notes cannot be read");
		return 0;
	}
	(void)peer_send(p, "ctl.notelist", m->id, json_pack("{s:O}", "notes", notes));
	return 0;
}
