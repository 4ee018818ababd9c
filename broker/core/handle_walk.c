#include "broker/core/handlers.h"

#include <string.h>

#include "broker/core/core.h"
#include "broker/core/session.h"
#include "broker/core/walk_report.h"
#include "lib/err.h"
#include "lib/msg.h"

/*
 * Who reads what a session has left in its files, after its end. Its word is evidence: it is put on
 * record, and decides nothing. Which session it speaks of is known by its link.
 */

static int on_changed(struct peer *p, struct msg *m, struct err *e)
{
	struct session *s = p->owner;
	json_t *files = msg_obj(m, "files");
	int r = walk_report_check(files, e);

	if (r < 0)
		return r;
	if (s)
		(void)note(s->core, "session.files", s->grant.tenant, session_subject(s),
		    json_pack("{s:s, s:I, s:O}", "layer", msg_str(m, "layer"), "part",
		        (json_int_t)++s->files_parts, "files", files));
	return 0;
}

static int on_done(struct peer *p, struct msg *m, struct err *e)
{
	struct session *s = p->owner;

	(void)e;
	if (!s)
		return 0;
	json_decref(s->files);
	s->files = json_deep_copy(m->body);
	return 0;
}

static void gone(struct peer *p)
{
	struct session *s = p->owner;

	if (!s || s->walk_peer != p)
		return;
	s->walk_peer = NULL;
	session_walked(s);
}

static const struct peer_handler handlers[] = {
    {"walk.changed", on_changed},
    {"walk.done", on_done},
    {NULL, NULL},
};

const struct peer_class class_walk = {
    .who = "walk process", .role = MSG_WALK, .handlers = handlers, .gone = gone};
