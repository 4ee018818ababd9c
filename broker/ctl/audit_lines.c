#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/export_file.h"
#include "broker/audit/logs.h"
#include "broker/ctl/audit_source_internal.h"
#include "broker/ctl/ctl.h"
#include "lib/err.h"
#include "lib/util.h"

/* Files: a bundle of one log, or a record a line. Nothing of them is believed. */

#define LINE_HEAD "{\"v\":"
#define FILE_HEAD "{\"v\":2,\"log\":\""

/* ---- a bundle ---- */

/* A record waits for its body, which comes behind it. */
struct bundle {
	struct audit_source *source;
	audit_fn fn;
	void *arg;
	int code; /* what ended the walk */
	char log[NAME_MAX_LEN + 1];
	uint64_t seq;
	char *data, *body;
	size_t len, body_len;
};

static void drop(struct bundle *b)
{
	free(b->data);
	free(b->body);
	b->data = b->body = NULL;
}

static int hand_on(struct bundle *b)
{
	struct audit_record r = {.log = b->log,
	    .seq = b->seq,
	    .data = b->data,
	    .len = b->len,
	    .body = b->body,
	    .body_len = b->body_len,
	    .source = b->source};

	if (b->data && b->code == 0 && (!b->source->only || strcmp(b->source->only, b->log) == 0))
		b->code = b->fn(&r, b->arg);
	drop(b);
	return b->code == 0 ? 0 : 1;
}

static char *copied(const void *data, size_t len)
{
	char *p = malloc(len ? len : 1);

	if (p)
		memcpy(p, data, len);
	return p;
}

static int on_head(void *arg, const char *log, uint64_t records)
{
	(void)records;
	(void)str_copy(((struct bundle *)arg)->log, NAME_MAX_LEN + 1, log);
	return 0;
}

static int on_note(void *arg, const void *note, size_t len)
{
	(void)arg, (void)note, (void)len;
	return 0;
}

static int on_record(void *arg, uint64_t seq, const void *data, size_t len)
{
	struct bundle *b = arg;
	int r = hand_on(b);

	if (r != 0)
		return r;
	b->seq = seq;
	b->len = len;
	return (b->data = copied(data, len)) ? 0 : -ENOMEM;
}

static int on_body(void *arg, uint64_t seq, const void *data, size_t len)
{
	struct bundle *b = arg;

	if (!b->data || b->seq != seq || b->body)
		return 0; /* audit verify says so */
	b->body_len = len;
	return (b->body = copied(data, len)) ? 0 : -ENOMEM;
}

static int on_checkpoint(void *arg, uint64_t size, const void *note, size_t len)
{
	(void)size, (void)note, (void)len;
	return hand_on(arg);
}

/* Records before it are in other segments of an archive. */
static int on_edge(
    void *arg, uint64_t seq, const uint8_t leaf[DIGEST_LEN], const struct merkle *tree)
{
	(void)arg, (void)seq, (void)leaf, (void)tree;
	return 0;
}

static int walk_bundle(struct audit_source *s, audit_fn fn, void *arg)
{
	static const struct log_sink sink = {.head = on_head,
	    .host_epoch = on_note,
	    .epoch = on_note,
	    .record = on_record,
	    .checkpoint = on_checkpoint,
	    .edge = on_edge,
	    .body = on_body};
	struct bundle b = {.source = s, .fn = fn, .arg = arg};
	struct err e = ERR_INIT;
	bool complete = false;
	int r = export_read_file(s->from.file, &sink, &b, &complete, &e);

	if (r == 0)
		(void)hand_on(&b);
	drop(&b);
	if (r < 0)
		return ctl_fail(EXIT_UNREADABLE, "%s: %s", s->from.where, err_text(&e));
	if (b.code == 0 && !complete)
		return ctl_fail(EXIT_UNREADABLE, "%s: it breaks off", s->from.where);
	return b.code;
}

/* ---- lines ---- */

/* Which log a record of an exported file is of. */
static void log_of(const char *line, size_t len, char dst[NAME_MAX_LEN + 1])
{
	size_t head = sizeof FILE_HEAD - 1, n = 0;

	(void)str_copy(dst, NAME_MAX_LEN + 1, LOG_HOST);
	if (len <= head || memcmp(line, FILE_HEAD, head) != 0)
		return;
	while (head + n < len && n <= NAME_MAX_LEN && line[head + n] != '"')
		n++;
	if (name_valid(line + head, n)) {
		memcpy(dst, line + head, n);
		dst[n] = '\0';
	}
}

/* An exported log: a record a line; of each log from number 1 on. */
static int walk_lines(struct audit_source *s, audit_fn fn, void *arg)
{
	cleanup_free char *line = NULL;
	char name[NAME_MAX_LEN + 1];
	struct cursor *c;
	size_t size = 0;
	bool first = true;
	ssize_t n;
	int r = 0;

	while (r == 0 && (n = getline(&line, &size, s->from.file)) > 0) {
		struct audit_record one = {.log = name, .data = line, .source = s};

		/* one line of another kind is a record that was changed, a first one no log */
		if (first && strncmp(line, LINE_HEAD, sizeof LINE_HEAD - 1) != 0)
			return ctl_fail(EXIT_UNREADABLE, "%s: it is no log", s->from.where);
		first = false;
		if (line[n - 1] == '\n')
			n--;
		log_of(line, (size_t)n, name);
		if ((r = audit_add_log(s, name, 0, &c)) != EXIT_OK || !c)
			continue;
		one.seq = c->next++;
		one.len = (size_t)n;
		r = fn(&one, arg);
	}
	if (r == 0 && ferror(s->from.file))
		return ctl_fail(EXIT_UNREADABLE, "%s: %m", s->from.where);
	return r;
}

int audit_walk_file(struct audit_source *s, audit_fn fn, void *arg)
{
	char head[EXPORT_MAGIC_LEN];
	size_t n;

	rewind(s->from.file);
	n = fread(head, 1, sizeof head, s->from.file);
	rewind(s->from.file);
	for (size_t i = 0; i < s->nlogs; i++)
		s->logs[i]->next = 1;
	if (n == sizeof head && memcmp(head, EXPORT_MAGIC, sizeof head) == 0)
		return walk_bundle(s, fn, arg);
	return walk_lines(s, fn, arg);
}
