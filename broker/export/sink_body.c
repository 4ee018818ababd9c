#include <errno.h>

#include "broker/export/pull.h"
#include "broker/export/sink_internal.h"
#include "lib/clock.h"
#include "lib/log.h"

/* Bodies that lie beside records: asked for one by one, before their batch is sent. */

static int put(struct sink *s, const void *data, size_t len, const json_t *private)
{
	const struct export_log *l = &s->x->logs[s->batch_feed];
	json_auto_t *personal = sink_personal(s, private);
	const struct ocsf_from of = {
	    l->origin, l->name, personal, sink_line_max(s), clock_wall_ns()};

	return ocsf_body(&of, data, len, &s->batch.events[s->body_at]);
}

static void on_body(
    int r, const char *why, const void *data, size_t len, const json_t *private, void *arg)
{
	struct sink *s = arg;

	if (r == 0)
		r = put(s, data, len, private);
	if (r == -ENOENT) {
		log_warn("export %s: the body of record %llu of %s is missing", s->config.name,
		    (unsigned long long)s->batch.events[s->body_at].number, s->batch.log);
		r = 0;
	}
	s->body_at++;
	sink_go_on(s, r, why);
}

int sink_body_ask(struct sink *s)
{
	for (; s->body_at < s->batch.n; s->body_at++) {
		const struct ocsf_event *ev = &s->batch.events[s->body_at];
		int r;

		if (ev->body_len == 0 || ev->line.len + ev->body_len > sink_line_max(s))
			continue;
		r = pull_body(s->x->pull, s->config.name, s->batch.log, ev->number, on_body, s);
		return r < 0 ? r : 1;
	}
	return 0;
}
