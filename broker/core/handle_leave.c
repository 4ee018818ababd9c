#include "broker/core/handlers.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "broker/core/core.h"
#include "broker/core/ctl_workspace.h"
#include "broker/core/who.h"
#include "lib/err.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"

/*
 * Who reads a workspace that is to leave (broker/walk/export.h): what leaves is on record, with
 * who has asked for it, before he may hand out a byte of it.
 */

struct leave {
	json_t *who; /* handed to the record; NULL then: it was asked once */
	char tenant[NAME_MAX_LEN + 1], workspace[NAME_MAX_LEN + 1];
};

struct going {
	struct core *core;
	uint64_t peer, question;
};

static void on_recorded(int r, uint64_t seq, void *arg)
{
	struct going *g = arg;
	struct peer *p = peer_find(g->core, g->peer);

	(void)seq;
	if (p && r == 0)
		(void)peer_send(p, "walk.go", g->question, NULL);
	else
		peer_close(p);
	free(g);
}

static int on_export(struct peer *p, struct msg *m, struct err *e)
{
	struct leave *l = p->owner;
	struct going *g;
	json_t *body;

	if (!l || !l->who)
		return err_set(e, -EPROTO, "an export is told once");
	body = json_deep_copy(m->body);
	if (!body || json_object_set_new(body, "workspace", json_string(l->workspace)) < 0 ||
	    !(g = calloc(1, sizeof *g))) {
		json_decref(body);
		return err_set(e, -ENOMEM, "no memory");
	}
	*g = (struct going){p->core, p->serial, m->id};
	if (note_then(p->core, "workspace.export", l->tenant, steal_ptr(&l->who), body, on_recorded,
	        g) < 0) {
		free(g);
		return err_set(e, -EIO, "the log cannot be written");
	}
	return 0;
}

static void drop(struct leave *l)
{
	if (l)
		json_decref(l->who);
	free(l);
}

static void gone(struct peer *p)
{
	drop(p->owner);
	p->owner = NULL;
}

static const struct peer_handler handlers[] = {
    {"walk.export", on_export},
    {NULL, NULL},
};

const struct peer_class class_leave = {
    .who = "export reader", .role = MSG_WALK, .handlers = handlers, .gone = gone};

void leave_begin(struct peer *p, int fd, const json_t *asked)
{
	struct leave *l = calloc(1, sizeof *l);
	const char *tenant = json_string_value(json_object_get(asked, "tenant"));
	const char *name = json_string_value(json_object_get(asked, "workspace"));

	if (!l || !tenant || !name) {
		free(l);
		(void)close(fd);
		return;
	}
	(void)str_copy(l->tenant, sizeof l->tenant, tenant);
	(void)str_copy(l->workspace, sizeof l->workspace, name);
	l->who = who_json(p->core->proc_fd, p->core->etc_fd, p->uid, p->pid);
	if (!peer_new(p->core, fd, &class_leave, l))
		drop(l);
}
