#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/audit/show.h"
#include "broker/audit/verify.h"
#include "broker/ctl/audit_source.h"
#include "broker/ctl/ctl.h"
#include "broker/ctl/table.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/str.h"
#include "lib/util.h"

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

int ctl_audit_verify(struct ctl *c)
{
	cleanup_audit struct audit_source *source = NULL;
	struct verify v;
	char hex[DIGEST_HEX_LEN + 1];
	json_t *o;
	int code;

	code = audit_open(c, ctl_opt(c, "file"), ctl_opt(c, "offline") != NULL, &source);
	if (code != EXIT_OK || (code = audit_prove(source, &v)) != EXIT_OK)
		return code;
	hex_encode(hex, v.digest, DIGEST_LEN);
	if (c->json) {
		o = json_pack("{s:s, s:I, s:s, s:s}", "source", audit_where(source), "records",
		    (json_int_t)v.seq, "newest", v.time, "digest", hex);
		(void)ctl_json(o);
		json_decref(o);
		return EXIT_OK;
	}
	(void)printf(
	    "unbroken: %llu records in %s\n", (unsigned long long)v.seq, audit_where(source));
	field_print(stdout, "newest", v.time);
	field_print(stdout, "digest", hex);
	(void)puts(
	    "Keep the number and the digest elsewhere: they show later that nothing was cut.");
	return EXIT_OK;
}

static int export_one(const struct audit_record *r, void *arg)
{
	FILE *f = arg;

	if (fwrite(r->data, 1, r->len, f) != r->len || fputc('\n', f) == EOF)
		return ctl_fail(EXIT_FAILED, "cannot write: %m");
	return 0;
}

/* Whoever reads the core's store is not root any more: so the file is made before, and a child of a
 * moment fills it. */
static int export_into(struct ctl *c, FILE *f)
{
	cleanup_audit struct audit_source *source = NULL;
	int code = audit_open(c, NULL, false, &source);

	if (code == EXIT_OK)
		code = audit_walk(source, true, export_one, f);
	if (fclose(f) != 0 && code == EXIT_OK)
		code = ctl_fail(EXIT_FAILED, "cannot write %s: %m", c->word[0]);
	return code;
}

int ctl_audit_export(struct ctl *c)
{
	int fd = open(c->word[0], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), status;
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
	pid_t pid;

	if (!f) {
		status = ctl_fail(EXIT_FAILED, "cannot write %s: %m", c->word[0]);
		util_close(&fd);
		return status;
	}
	pid = fork();
	if (pid == 0) {
		status = export_into(c, f);
		(void)fflush(NULL);
		_exit(status);
	}
	(void)fclose(f);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		status = ctl_fail(EXIT_FAILED, "cannot start a reader: %m");
	else
		status = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED;
	if (status != EXIT_OK)
		(void)unlink(c->word[0]);
	return status;
}
