#include "broker/ctl/audit_timeline.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "broker/audit/body.h"
#include "broker/audit/show.h"
#include "broker/audit/timeline.h"
#include "broker/ctl/audit_record.h"
#include "broker/ctl/audit_source.h"
#include "broker/ctl/ctl.h"
#include "lib/buf.h"
#include "lib/clock.h"

/*
 * A session's records lie in its tenant's log, between its connection's grant and a little behind
 * its end. Where to begin the source may know; if not, or if the grant is older, the whole log is
 * read, and nothing of it kept.
 */

#define BEFORE_NS   (600 * NSEC_PER_SEC) /* of the session's start: mostly the grant is there */
#define BEHIND      4096                 /* records of the log behind the end that are looked at */
#define TEXT_MAX    (16u * 1024 * 1024)
#define WALK_ENOUGH (-1)

struct run {
	struct timeline *t;
	const char *session;
	size_t behind;
	char conn[64]; /* while it is looked for */
	char log[NAME_MAX_LEN + 1];
};

static bool mentions(const struct audit_record *r, const char *id)
{
	return *id && memmem(r->data, r->len, id, strlen(id)) != NULL;
}

static int on_record(const struct audit_record *r, void *arg)
{
	struct run *run = arg;
	json_auto_t *record = NULL;

	if (timeline_has(run->t, "ended") && ++run->behind > BEHIND)
		return WALK_ENOUGH;
	if (!mentions(r, run->session) && !mentions(r, timeline_conn(run->t)))
		return 0;
	if (audit_record_json(r, true, &record) != EXIT_OK)
		return 0; /* said */
	return timeline_add(run->t, record) < 0 ? ctl_fail(EXIT_FAILED, "no memory") : 0;
}

static int on_search(const struct audit_record *r, void *arg)
{
	struct run *run = arg;
	struct timeline *t;

	if (!mentions(r, run->session))
		return 0;
	if (!(t = timeline_new(run->session, NULL)))
		return ctl_fail(EXIT_FAILED, "no memory");
	run->t = t;
	(void)on_record(r, run);
	(void)str_copy(run->conn, sizeof run->conn, timeline_conn(t));
	(void)str_copy(run->log, sizeof run->log, r->log);
	timeline_free(t);
	run->t = NULL;
	return *run->conn ? WALK_ENOUGH : 0;
}

static int walk(struct run *run, struct audit_source *source, const char *since)
{
	int code;

	timeline_free(run->t);
	run->behind = 0;
	if (!(run->t = timeline_new(run->session, run->conn)))
		return ctl_fail(EXIT_FAILED, "no memory");
	if ((code = audit_seek(source, since)) != EXIT_OK)
		return code;
	code = audit_walk(source, true, on_record, run);
	return code == WALK_ENOUGH ? EXIT_OK : code;
}

/* Who does not know the session reads everything until it is met. */
static int search(struct run *run, struct audit_source *source)
{
	int code = audit_walk(source, false, on_search, run);

	if (code != WALK_ENOUGH)
		return code == EXIT_OK ? ctl_fail(EXIT_NOT_FOUND, "there is no such session in %s",
		                             audit_where(source))
		                       : code;
	audit_only(source, run->log);
	return EXIT_OK;
}

static int collect(struct run *run, struct audit_source *source)
{
	struct audit_hint hint;
	char since[32];
	int64_t began;
	int code;

	audit_find_session(source, run->session, &hint);
	if (!*hint.log) {
		if ((code = search(run, source)) != EXIT_OK)
			return code;
		return walk(run, source, NULL);
	}
	(void)str_copy(run->conn, sizeof run->conn, hint.conn);
	(void)str_copy(run->log, sizeof run->log, hint.log);
	audit_only(source, run->log);
	began = timeline_time(hint.since);
	if (began > 0) {
		clock_format(since, sizeof since, began - BEFORE_NS);
		if ((code = walk(run, source, since)) != EXIT_OK || timeline_has(run->t, "grant"))
			return code;
	}
	return walk(run, source, NULL);
}

static int print(const struct ctl *c, const struct timeline *t)
{
	cleanup_buf struct buf b;

	buf_init(&b, TEXT_MAX);
	if (c->json)
		show_json(timeline_json(t), JSON_INDENT(2), &b);
	else
		timeline_text(timeline_json(t), &b);
	if (buf_status(&b) < 0)
		return ctl_fail(EXIT_FAILED, "it is too long: see --raw");
	(void)fwrite(b.data, 1, b.len, stdout);
	if (c->json)
		(void)putchar('\n');
	return EXIT_OK;
}

int audit_timeline(const struct ctl *c, struct audit_source *source, const char *session)
{
	struct run run = {.session = session};
	int code = *session ? collect(&run, source) : EXIT_NOT_FOUND;

	if (code == EXIT_OK)
		code = print(c, run.t);
	timeline_free(run.t);
	return code;
}
