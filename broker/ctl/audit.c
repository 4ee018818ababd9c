/* audit show: which records, in which order, how many. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/audit/show.h"
#include "broker/ctl/audit_record.h"
#include "broker/ctl/audit_shelf.h"
#include "broker/ctl/audit_source.h"
#include "broker/ctl/audit_timeline.h"
#include "broker/ctl/ctl.h"
#include "broker/ctl/table.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/str.h"

#define LIMIT_MAX   100000
#define LINE_MAX_   (1024u * 1024)
#define FOLLOW_MS   500
#define SECONDS_LEN (sizeof "2026-11-23T15:38:48" - 1)
#define AGAIN_NS    (60 * NSEC_PER_SEC) /* a core that is away comes back sooner */
#define WALK_CLOSED (-1)                /* nobody reads what we write */

/* What is shown: with a limit, a ring of the newest lines; else each line at once. */
struct shown {
	json_t *seen; /* records of the archive that were shown */
	uint64_t seq; /* 0: any */
	bool shelf;   /* they are, now */
	struct show_filter filter;
	bool json, body;
	char **ring; /* NULL: no limit */
	size_t limit, count;
};

static volatile sig_atomic_t stopped;

static void on_stop(int signo)
{
	(void)signo;
	stopped = 1;
}

static char *one_line(const struct shown *s, const json_t *record)
{
	struct buf b;
	char *text;

	buf_init(&b, LINE_MAX_);
	if (s->json)
		show_json(record, JSON_COMPACT | JSON_PRESERVE_ORDER, &b);
	else
		show_line(record, s->body, &b);
	text = buf_cstr(&b) ? strdup((const char *)b.data) : NULL;
	buf_done(&b);
	if (text)
		text[strcspn(text, "\n")] = '\0';
	return text;
}

static int show_one(const struct audit_record *r, void *arg)
{
	struct shown *s = arg;
	json_auto_t *record = NULL;
	char **at, *text;

	if (stopped)
		return WALK_CLOSED;
	if (s->seq && r->seq != s->seq)
		return 0;
	if (!s->shelf && audit_shelf_seen(s->seen, r))
		return 0;
	if (!show_may_match(&s->filter, r->data, r->len))
		return 0;
	if (audit_record_json(r, s->json || s->body || s->filter.text, &record) != EXIT_OK)
		return 0; /* said */
	if (!show_match(&s->filter, record))
		return 0;
	if (!(text = one_line(s, record)))
		return ctl_fail(EXIT_FAILED, "no memory");
	if (!s->ring) {
		(void)puts(text);
		free(text);
		return ferror(stdout) ? WALK_CLOSED : 0;
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

/* A time as records have it, or any beginning of one from the year on; a Z may follow the seconds.
 */
static bool is_time(const char *text)
{
	static const char form[] = "0000-00-00T00:00:00.000000Z";
	size_t n = strlen(text);

	if (n < 4 || n >= sizeof form)
		return false;
	if (n == SECONDS_LEN + 1 && text[SECONDS_LEN] == 'Z')
		n = SECONDS_LEN;
	for (size_t i = 0; i < n; i++)
		if (form[i] == '0' ? text[i] < '0' || text[i] > '9' : text[i] != form[i])
			return false;
	return true;
}

/* "5m" becomes the time five minutes ago; anything else is a time, or its beginning. */
static const char *time_of(const char *text, char dst[32])
{
	int64_t ago;

	if (!text)
		return NULL;
	if (strchr(text, '-') || str_to_seconds(text, &ago) < 0) {
		if (!is_time(text))
			return text; /* and refused */
		(void)snprintf(dst, 32, "%s", text);
		if (strlen(dst) == SECONDS_LEN + 1)
			dst[SECONDS_LEN] = '\0'; /* records have a point there */
		return dst;
	}
	clock_format(dst, 32, clock_wall_ns() - ago * NSEC_PER_SEC);
	return dst;
}

/* ---- following ---- */

/* False: it was interrupted, or nobody reads any more. */
static bool wait_a_moment(void)
{
	struct pollfd out = {.fd = STDOUT_FILENO};

	if (fflush(stdout) != 0 || ferror(stdout))
		return false;
	(void)poll(&out, 1, FOLLOW_MS);
	return !stopped && !(out.revents & (POLLERR | POLLNVAL));
}

/* A core that restarts closes the connection, and the next one answers at the same socket. */
static int follow(struct ctl *c, struct audit_source *source, struct shown *s)
{
	int64_t away_ns = 0;
	int code = EXIT_OK;

	while (wait_a_moment()) {
		if (away_ns && (code = audit_again(c, source)) != EXIT_OK) {
			if (code != EXIT_NO_DAEMON || clock_mono_ns() - away_ns > AGAIN_NS)
				return ctl_fail(code, "Postern did not come back");
			continue;
		}
		code = audit_walk(source, false, show_one, s);
		if (code == WALK_CLOSED)
			break;
		if (code != EXIT_OK && code != EXIT_NO_DAEMON)
			return code;
		if (code == EXIT_OK)
			away_ns = 0;
		else if (!away_ns)
			away_ns = clock_mono_ns();
	}
	return EXIT_OK;
}

static int show(struct ctl *c, struct audit_source *source, struct shown *s)
{
	int code;

	code = audit_seek(source, s->filter.actor ? NULL : s->filter.since);
	if (code == EXIT_OK)
		code = audit_walk(source, false, show_one, s);
	if (code == WALK_CLOSED)
		return EXIT_OK;
	print_ring(s);
	if (code == EXIT_OK && ctl_opt(c, "follow"))
		return follow(c, source, s);
	if (code == EXIT_OK && ctl_opt(c, "log") && !audit_has_logs(source))
		return ctl_fail(EXIT_NOT_FOUND, "there is no such log");
	return code;
}

/* ---- options ---- */

/* The ends that a reader chooses are no failures: Ctrl-C, and `| head`. */
static void take_signals(void)
{
	struct sigaction a = {.sa_handler = on_stop};

	(void)sigaction(SIGINT, &a, NULL);
	(void)sigaction(SIGTERM, &a, NULL);
	a.sa_handler = SIG_IGN;
	(void)sigaction(SIGPIPE, &a, NULL);
}

static bool wants_timeline(const struct ctl *c)
{
	return ctl_opt(c, "timeline") ||
	       (ctl_opt(c, "session") && !ctl_opt(c, "raw") && !ctl_opt(c, "follow") && !c->json &&
	           isatty(STDOUT_FILENO));
}

static int check_options(struct ctl *c, struct shown *s)
{
	const char *limit = ctl_opt(c, "limit"), *n_opt = ctl_opt(c, "seq");
	uint64_t n;

	if (limit && str_to_u64(limit, 1, LIMIT_MAX, &n) < 0)
		return ctl_fail(EXIT_USAGE, "--limit is a number from 1 to %d", LIMIT_MAX);
	if ((n_opt && str_to_u64(n_opt, 1, INT64_MAX, &s->seq) < 0))
		return ctl_fail(EXIT_USAGE, "--seq is the number of a record");
	if ((s->filter.since && !is_time(s->filter.since)) ||
	    (s->filter.until && !is_time(s->filter.until)))
		return ctl_fail(EXIT_USAGE, "a time is 2026-11-23T15:38:48 in UTC, any beginning "
		                            "of it, or 5m for five minutes ago");
	if (ctl_opt(c, "timeline") && (!ctl_opt(c, "session") || ctl_opt(c, "follow")))
		return ctl_fail(EXIT_USAGE, "--timeline is of one --session, and has an end");
	if (ctl_opt(c, "file") && ctl_opt(c, "follow"))
		return ctl_fail(EXIT_USAGE, "a file does not grow: --follow is of what runs");
	if (limit) {
		s->limit = (size_t)n;
		if (!(s->ring = calloc(s->limit, sizeof *s->ring)))
			return ctl_fail(EXIT_FAILED, "no memory");
	}
	return EXIT_OK;
}

static int show_source(struct ctl *c, struct shown *s)
{
	cleanup_audit struct audit_source *source = NULL;
	int code = EXIT_OK;

	/* first: whoever opens the store becomes its owner */
	if (!wants_timeline(c)) {
		s->shelf = true;
		code = audit_shelf_walk(c, s->seen, show_one, s);
		s->shelf = false;
	}
	if (code == WALK_CLOSED)
		return EXIT_OK;
	if (code == EXIT_OK)
		code = audit_open(c, ctl_opt(c, "file"), ctl_opt(c, "offline") != NULL, &source);
	if (code != EXIT_OK)
		return code;
	audit_only(source, ctl_opt(c, "log"));
	audit_want_values(source);
	if (wants_timeline(c))
		return audit_timeline(c, source, ctl_opt(c, "session"));
	return show(c, source, s);
}

int ctl_audit_show(struct ctl *c)
{
	json_auto_t *ids = json_object(), *seen = json_object();
	char since[32], until[32];
	struct shown s = {.json = c->json, .body = ctl_opt(c, "body") != NULL, .seen = seen};
	int code;

	s.filter = (struct show_filter){
	    .tenant = ctl_opt(c, "tenant"),
	    .session = ctl_opt(c, "session"),
	    .connection = ctl_opt(c, "connection"),
	    .class_name = ctl_opt(c, "class"),
	    .since = time_of(ctl_opt(c, "since"), since),
	    .until = time_of(ctl_opt(c, "until"), until),
	    .actor = ctl_opt(c, "actor"),
	    .text = ctl_opt(c, "text"),
	    .ids = ids,
	};
	if ((code = check_options(c, &s)) != EXIT_OK)
		return code;
	take_signals();
	code = show_source(c, &s);
	print_ring(&s);
	if (fflush(stdout) != 0 && errno == EPIPE) {
		clearerr(stdout);
		return EXIT_OK;
	}
	return code;
}
