#include "broker/core/handlers.h"

#include <string.h>

#include "broker/core/core.h"
#include "broker/core/session.h"
#include "lib/err.h"
#include "lib/msg.h"

/*
 * Who reads what a session has left in its files, after its end. Its word is evidence: it is put on
 * record, and decides nothing. Which session it speaks of is known by its link.
 */

#define PATH_MAX_ESCAPED 4096 /* LINE_PATH_MAX of broker/walk/line.h */

static const struct msg_field fields[] = {{"path", MSG_STRING, PATH_MAX_ESCAPED, false},
    {"change", MSG_STRING, 16, false}, {"kind", MSG_STRING, 16, false},
    {"mode", MSG_STRING, 8, false}, {"uid", MSG_INT, UINT32_MAX, false},
    {"gid", MSG_INT, UINT32_MAX, false}, {"size", MSG_INT, INT64_MAX, true},
    {"links", MSG_INT, INT64_MAX, true}, {"sha256", MSG_STRING, 64, true},
    {"skipped", MSG_STRING, 16, true}, {"flags", MSG_STRINGS, 32, true}, {"cut", MSG_BOOL, 0, true},
    {"deep", MSG_BOOL, 0, true}, {"unstable", MSG_BOOL, 0, true}, {NULL, 0, 0, false}};

static int on_changed(struct peer *p, struct msg *m, struct err *e)
{
	struct session *s = p->owner;
	json_t *files = msg_obj(m, "files"), *one;
	size_t i;
	int r;

	json_array_foreach(
	    files, i, one) if ((r = msg_check_fields("a file", one, fields, e)) < 0) return r;
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
