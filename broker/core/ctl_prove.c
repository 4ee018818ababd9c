#include "broker/core/ctl_prove.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "broker/audit/log_prove.h"
#include "broker/audit/logs.h"
#include "broker/audit/prune.h"
#include "broker/core/core.h"
#include "broker/core/ctl_answers.h"
#include "broker/core/handlers.h"
#include "broker/core/peer.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/msg.h"

_Static_assert(B64_LEN(PROOF_MAX) + 1024 < MSG_MAX && PROOF_MAX <= 32 * 1024, "a proof fits");

struct proving {
	const char *log;
	uint32_t number; /* of the log */
	enum proof_kind kind;
	uint64_t n;
	struct buf note;
	struct proof proof;
};

static bool archived(struct store *s, const struct proving *w)
{
	struct log_edge g;

	return log_edge_get(s, w->number, &g, NULL) == 0 && w->n <= g.seq;
}

static int code_of(struct store *s, const struct proving *w, int r)
{
	if (r == -ENOENT && archived(s, w))
		return CTL_ARCHIVED;
	if (r == -ERANGE && w->note.len == 0)
		return CTL_UNSEALED;
	return r == -ENOENT ? CTL_LOST : r == -ERANGE ? CTL_NOT_FOUND : CTL_FAILED;
}

static void answer(struct peer *p, const struct msg *m, const struct proving *w)
{
	cleanup_buf struct buf text;

	buf_init(&text, PROOF_MAX);
	proof_format(&w->proof, &text);
	if (buf_status(&text) < 0) {
		ctl_error(p, m->id, CTL_FAILED, "no memory");
		return;
	}
	(void)peer_send(
	    p, "ctl.proof", m->id, json_pack("{s:o}", "text", msg_json_bytes(text.data, text.len)));
}

int ctl_prove(struct peer *p, struct msg *m, struct err *e)
{
	struct log_info info = {.number = LOG_HOST_NUMBER};
	struct store *s = p->core->store;
	struct err why = ERR_INIT;
	struct proving w = {.log = msg_str(m, "log"),
	    .kind = strcmp(msg_str(m, "kind"), "consistency") == 0 ? PROOF_CONSISTENCY
	                                                           : PROOF_INCLUSION,
	    .n = (uint64_t)msg_int(m, "number", 0)};
	int r;

	(void)e;
	ctl_reading(p, m);
	r = !s ? -EIO : strcmp(w.log, LOG_HOST) == 0 ? 0 : logs_find(s, w.log, &info);
	if (r < 0) {
		ctl_error(p, m->id, r == -ENOENT ? CTL_NOT_FOUND : CTL_FAILED,
		    r == -ENOENT ? "there is no such log" : "the log cannot be read");
		return 0;
	}
	w.number = info.number;
	buf_init(&w.note, NOTE_MAX);
	if ((r = log_prove(s, w.log, w.kind, w.n, &w.proof, &w.note, &why)) == 0)
		answer(p, m, &w);
	else
		ctl_error(p, m->id, code_of(s, &w, r), err_text(&why));
	buf_done(&w.note);
	return 0;
}
