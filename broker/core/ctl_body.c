#include "broker/core/ctl_body.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "broker/audit/body.h"
#include "broker/audit/logs.h"
#include "broker/core/core.h"
#include "broker/core/ctl_answers.h"
#include "broker/core/ctl_values.h"
#include "broker/core/handlers.h"
#include "broker/core/peer.h"
#include "lib/buf.h"
#include "lib/msg.h"

#define PIECE (60u * 1024)
_Static_assert(B64_LEN(PIECE) + CTL_VALUES_BYTES + 2048 < MSG_MAX, "a piece fits a message");

/* Of one whole body: the values are told with its first piece. */
void body_piece(
    struct peer *p, const struct msg *m, const char *type, const struct buf *b, bool values)
{
	size_t at = (size_t)msg_int(m, "at", 0);
	json_auto_t *set = json_object();
	size_t n = b->len - at < PIECE ? b->len - at : PIECE;
	json_t *o = json_pack(
	    "{s:I, s:o}", "size", (json_int_t)b->len, "data", msg_json_bytes(b->data + at, n));

	if (o && at == 0 && values) {
		ctl_values_find(set, (const char *)b->data, b->len);
		(void)json_object_set_new(o, "private", ctl_values(p->core, set));
	}
	(void)peer_send(p, type, m->id, o);
}

int ctl_body(struct peer *p, struct msg *m, struct err *e)
{
	const char *name = msg_str(m, "log");
	size_t at = (size_t)msg_int(m, "at", 0);
	struct log_info log = {.number = LOG_HOST_NUMBER};
	struct store *s = p->core->store;
	cleanup_buf struct buf b;
	int r;

	(void)e;
	buf_init(&b, BODY_MAX);
	ctl_reading(p, m);
	r = !s ? -EIO : strcmp(name, LOG_HOST) != 0 ? logs_find(s, name, &log) : 0;
	if (r == 0)
		r = logs_body_get(s, log.number, (uint64_t)msg_int(m, "seq", 0), &b);
	if (r == -ENOENT || (r == 0 && at > b.len))
		ctl_error(p, m->id, CTL_NOT_FOUND, "there is no such body");
	else if (r < 0)
		ctl_error(p, m->id, CTL_FAILED, "the body cannot be read");
	else
		body_piece(p, m, "ctl.bodypart", &b, msg_bool(m, "private"));
	return 0;
}
