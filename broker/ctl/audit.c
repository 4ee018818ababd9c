#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/show.h"
#include "broker/ctl/audit_source.h"
#include "broker/ctl/ctl.h"
#include "broker/ctl/table.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/str.h"

#define LIMIT_MAX 100000
#define LINE_MAX_ (256u * 1024)
#define FOLLOW_MS 500

/* What is shown: with a limit, a ring of the newest lines; else each line at once. */
struct shown {
	struct show_filter filter;
	bool json;
	char **ring; /* NULL: no limit */
	size_t limit, count;
};

static char *one_line(const struct shown *s, const json_t *record)
{
	struct buf b;
	char *text;

	if (s->json)
		return json_dumps(record, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_PRESERVE_ORDER);
	buf_init(&b, LINE_MAX_);
	show_line(record, &b);
	text = buf_cstr(&b) ? strdup((const char *)b.data) : NULL;
	buf_done(&b);
	if (text)
		text[strcspn(text, "\n")] = '\0';
	return text;
}

static int reveal_one(const char *text, size_t len, struct buf *ret, void *arg)
{
	return audit_reveal(arg, text, len, ret);
}

static int show_one(const struct audit_record *r, void *arg)
{
	struct shown *s = arg;
	json_auto_t *record = NULL;
	struct err e = ERR_INIT;
	char **at, *text;

	if (show_parse(r->data, r->len, &record, &e) < 0) {
		(void)ctl_fail(
		    0, "log %s: record %llu: %s", r->log, (unsigned long long)r->seq, err_text(&e));
		return 0;
	}
	show_reveal(record, reveal_one, r->source);
	if (!show_match(&s->filter, record))
		return 0;
	if (!(text = one_line(s, record)))
		return ctl_fail(EXIT_FAILED, "no memory");
	if (!s->ring) {
		(void)puts(text);
		free(text);
		return 0;
	}
	at = &s->ring[s->count++ % s->limit];
	free(*at);
	*at = text;
	return 0;
}

static void print_ring(struct shown *s)
{
	for (size_t i = 0; s->ring && i < s->limit; i++) {
		char **at = &s->ring[(s->count + i) % s->limit];

		if (*at)
			(void)puts(*at);
		free(*at);
		*at = NULL;
	}
	free(s->ring);
	s->ring = NULL;
}

/* "5m" becomes the time five minutes ago; anything else is a time, or its beginning. */
static const char *time_of(const char *text, char dst[32])
{
	int64_t ago;

	if (!text || (strchr(text, '-') || str_to_seconds(text, &ago) < 0))
		return text;
	clock_format(dst, 32, clock_wall_ns() - ago * NSEC_PER_SEC);
	return dst;
}

static int show(struct ctl *c, struct audit_source *source, struct shown *s)
{
	int r;

	r = audit_walk(source, false, show_one, s);
	print_ring(s);
	while (r == EXIT_OK && ctl_opt(c, "follow")) {
		(void)fflush(stdout);
		if (ferror(stdout))
			return EXIT_FAILED;
		(void)poll(NULL, 0, FOLLOW_MS);
		r = audit_walk(source, false, show_one, s);
	}
	return r;
}

int ctl_audit_show(struct ctl *c)
{
	cleanup_audit struct audit_source *source = NULL;
	struct shown s = {.json = c->json};
	const char *limit = ctl_opt(c, "limit");
	char since[32], until[32];
	uint64_t n;
	int code;

	s.filter = (struct show_filter){
	    .tenant = ctl_opt(c, "tenant"),
	    .session = ctl_opt(c, "session"),
	    .connection = ctl_opt(c, "connection"),
	    .class_name = ctl_opt(c, "class"),
	    .since = time_of(ctl_opt(c, "since"), since),
	    .until = time_of(ctl_opt(c, "until"), until),
	};
	if (limit && str_to_u64(limit, 1, LIMIT_MAX, &n) < 0)
		return ctl_fail(EXIT_USAGE, "--limit is a number from 1 to %d", LIMIT_MAX);
	if ((code = audit_open(c, NULL, false, &source)) != EXIT_OK)
		return code;
	if (limit) {
		s.limit = (size_t)n;
		if (!(s.ring = calloc(s.limit, sizeof *s.ring)))
			return ctl_fail(EXIT_FAILED, "no memory");
	}
	return show(c, source, &s);
}
