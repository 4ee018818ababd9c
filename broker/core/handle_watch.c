#include "broker/core/handlers.h"

#include <errno.h>

#include "broker/core/core.h"
#include "broker/core/session.h"
#include "lib/err.h"
#include "lib/msg.h"

/*
 * Who sees which programs a session runs. Its word is evidence: it is put on record, and decides
 * nothing. Which session it speaks of is known by its link. What its tenant's share of the log has
 * no room for is counted, and told with the next record and at the session's end.
 *
 * That it has gone is spawn's to say, who then ends the session.
 */

#define TEXT_MAX 8192 /* escaped, of broker/watch/notice.h */
#define ARGS_MAX 32

static const struct msg_field fields[] = {{"pid", MSG_INT, INT32_MAX, false},
    {"path", MSG_STRING, TEXT_MAX, false}, {"argv", MSG_STRINGS, ARGS_MAX, false},
    {"cut", MSG_BOOL, 0, false}, {NULL, 0, 0, false}};

static int on_programs(struct peer *p, struct msg *m, struct err *e)
{
	struct session *s = p->owner;
	json_t *programs = msg_obj(m, "programs"), *one;
	uint64_t n = json_array_size(programs), dropped = (uint64_t)msg_int(m, "dropped", 0);
	size_t i;
	int r;

	json_array_foreach(
	    programs, i, one) if ((r = msg_check_fields("a program", one, fields, e)) < 0) return r;
	if (!s)
		return 0;
	s->programs += n + dropped;
	s->programs_lost += dropped;
	s->programs_unsaid += dropped;
	r = note(s->core, "session.programs", s->grant.tenant, session_subject(s),
	    json_pack("{s:I, s:O, s:I}", "part", (json_int_t)++s->programs_parts, "programs",
	        programs, "dropped", (json_int_t)s->programs_unsaid));
	if (r == 0) {
		s->programs_unsaid = 0;
	} else {
		s->programs_lost += n;
		s->programs_unsaid += n;
	}
	return 0;
}

static void gone(struct peer *p)
{
	struct session *s = p->owner;

	if (s && s->watch_peer == p)
		s->watch_peer = NULL;
}

static const struct peer_handler handlers[] = {
    {"watch.programs", on_programs},
    {NULL, NULL},
};

const struct peer_class class_watch = {
    .who = "watch process", .role = MSG_WATCH, .handlers = handlers, .gone = gone};
