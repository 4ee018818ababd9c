#include <errno.h>
#include <string.h>

#include "broker/spawn/serve_internal.h"
#include "broker/workspace/store.h"
#include "lib/err.h"
#include "lib/loop.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"

/*
 * What operators ask of workspaces. The core has decided and recorded it; names are checked by the
 * table of messages, what they stand for by the store.
 */

#define LIST_BYTES (MSG_MAX - 4096)

struct names {
	const char *tenant, *name, *snapshot, *to;
};

static int create(struct work_store *s, const struct names *n, struct err *e)
{
	return work_create(s, n->tenant, n->name, e);
}

static int snapshot(struct work_store *s, const struct names *n, struct err *e)
{
	return work_snapshot(s, n->tenant, n->name, n->snapshot, e);
}

static int fork_one(struct work_store *s, const struct names *n, struct err *e)
{
	return work_fork(s, n->tenant, n->name, n->snapshot, n->to, e);
}

static int rollback(struct work_store *s, const struct names *n, struct err *e)
{
	return work_rollback(s, n->tenant, n->name, n->snapshot, e);
}

static int delete (struct work_store *s, const struct names *n, struct err *e)
{
	return work_delete(s, n->tenant, n->name, n->snapshot, e);
}

static const struct op {
	const char *name;
	bool snapshot, to; /* must be given */
	int (*fn)(struct work_store *s, const struct names *n, struct err *e);
} ops[] = {
    {"create", false, false, create},
    {"snapshot", true, false, snapshot},
    {"fork", false, true, fork_one},
    {"rollback", true, false, rollback},
    {"delete", false, false, delete},
};

static void refuse(struct serve *s, uint64_t id, int r, const char *why)
{
	char text[512];

	(void)str_escape(text, sizeof text, why, strlen(why));
	serve_tell(s, "workspace.refused", id,
	    json_pack("{s:i,s:s}", "code", -r & 255, "reason", text), NULL, 0);
}

/* As many as fit one answer. */
static void list(struct serve *s, struct msg *m)
{
	json_auto_t *all = work_list(s->c->work, msg_str(m, "tenant"));
	json_t *some = json_array(), *v;
	size_t left = LIST_BYTES, i, n;

	json_array_foreach(all, i, v)
	{
		n = json_dumpb(v, NULL, 0, JSON_COMPACT) + 1;
		if (n > left)
			break;
		left -= n;
		(void)json_array_append(some, v);
	}
	serve_tell(s, "workspace.done", m->id,
	    json_pack("{s:{s:o,s:b}}", "data", "workspaces", some, "more",
	        json_array_size(some) < json_array_size(all)),
	    NULL, 0);
}

static int perform(struct serve *s, const char *op, const struct names *n, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
		if (strcmp(op, ops[i].name) != 0)
			continue;
		if (!n->tenant || !n->name || (ops[i].snapshot && !n->snapshot) ||
		    (ops[i].to && !n->to))
			return err_set(e, -EINVAL, "%s needs more names", op);
		return ops[i].fn(s->c->work, n, e);
	}
	return err_set(e, -EINVAL, "there is no such operation");
}

void serve_workspace(struct serve *s, struct msg *m)
{
	const char *op = msg_str(m, "op");
	struct names n = {msg_str(m, "tenant"), msg_str(m, "workspace"), msg_str(m, "snapshot"),
	    msg_str(m, "to")};
	struct err e = ERR_INIT;
	int r;

	if (!s->c->work) {
		refuse(s, m->id, -ENOTSUP, "this spawn has no workspaces");
	} else if (strcmp(op, "list") == 0) {
		list(s, m);
	} else if (strcmp(op, "diff") == 0 || strcmp(op, "export") == 0) {
		if ((r = look_begin(s, m, &e)) < 0)
			refuse(s, m->id, r, err_text(&e));
	} else if ((r = perform(s, op, &n, &e)) < 0) {
		refuse(s, m->id, r, err_text(&e));
	} else {
		serve_tell(s, "workspace.done", m->id,
		    json_pack("{s:{s:s,s:s}}", "data", "tenant", n.tenant, "workspace",
		        n.to ? n.to : n.name),
		    NULL, 0);
		loop_timer_set(s->idle, SERVE_IDLE_NS); /* what was dropped is to be removed */
	}
}
