#include "broker/ctl/audit_source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/ctl/audit_source_internal.h"
#include "broker/ctl/ctl.h"
#include "lib/chan.h"

#define TIME_AT "\"time\":\""

int audit_open(const struct ctl *c, const char *file, bool offline, struct audit_source **ret)
{
	struct audit_source *s = calloc(1, sizeof *s);
	int code;

	if (!s)
		return ctl_fail(EXIT_FAILED, "no memory");
	if ((code = audit_origin_open(c, file, offline, &s->from)) != EXIT_OK) {
		audit_close(s);
		return code;
	}
	*ret = s;
	return EXIT_OK;
}

void audit_drop_page(struct cursor *c)
{
	for (size_t i = 0; i < c->n; i++)
		free(c->page[i].data);
	c->n = c->at = 0;
	json_decref(c->private);
	c->private = NULL;
}

void audit_close(struct audit_source *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->nlogs; i++) {
		audit_drop_page(s->logs[i]);
		free(s->logs[i]);
	}
	json_decref(s->body_private);
	audit_origin_done(&s->from);
	free(s);
}

const char *audit_where(const struct audit_source *s)
{
	return s->from.where;
}

void audit_only(struct audit_source *s, const char *log)
{
	s->only = log;
}

bool audit_has_logs(const struct audit_source *s)
{
	return s->from.file || s->nlogs > 0;
}

void audit_want_values(struct audit_source *s)
{
	s->values = true;
}

int audit_again(const struct ctl *c, struct audit_source *s)
{
	struct chan *link = NULL;
	int code;

	if (!s->from.link)
		return EXIT_USAGE;
	if ((code = ctl_dial(c, &link, 1)) != EXIT_OK)
		return code;
	chan_free(s->from.link);
	s->from.link = link;
	return EXIT_OK;
}

/* ---- where in a log ---- */

void audit_time(const void *data, size_t len, char dst[AUDIT_TIME_LEN + 1])
{
	const char *p = data, *at = memmem(p, len, TIME_AT, sizeof TIME_AT - 1);

	memset(dst, 0, AUDIT_TIME_LEN + 1);
	if (at && (size_t)(p + len - at) >= sizeof TIME_AT - 1 + AUDIT_TIME_LEN)
		memcpy(dst, at + sizeof TIME_AT - 1, AUDIT_TIME_LEN);
}

/* Whether the first record from `seq` on is before the time; *ret_next: that record's number and
 * one. None there: it is not. */
static int is_before(struct audit_source *s, struct cursor *c, uint64_t seq, bool *ret)
{
	char time[AUDIT_TIME_LEN + 1];
	int code;

	audit_drop_page(c);
	c->next = seq;
	if ((code = audit_fetch(s, c, 1)) != EXIT_OK)
		return code;
	*ret = false;
	if (c->n > 0) {
		audit_time(c->page[0].data, c->page[0].len, time);
		*ret = strcmp(time, s->since) < 0;
	}
	return EXIT_OK;
}

/* A log's times do not go back (but where an operator agreed to it, and there the search may begin
 * later than it could). */
static int seek(struct audit_source *s, struct cursor *c)
{
	uint64_t low = 1, high = 0;
	int code = EXIT_OK;

	if (*s->since)
		code = audit_size(s, c, &high);
	while (code == EXIT_OK && low <= high) {
		uint64_t mid = low + (high - low) / 2;
		bool before = false;

		if ((code = is_before(s, c, mid, &before)) != EXIT_OK)
			break;
		if (before)
			low = mid + 1;
		else
			high = mid - 1;
	}
	audit_drop_page(c);
	c->next = low;
	return code;
}

int audit_add_log(struct audit_source *s, const char *name, uint32_t number, struct cursor **ret)
{
	struct cursor *c;

	for (size_t i = 0; i < s->nlogs; i++)
		if (strcmp(s->logs[i]->log, name) == 0) {
			*ret = s->logs[i];
			return EXIT_OK;
		}
	*ret = NULL;
	if (s->only && strcmp(s->only, name) != 0)
		return EXIT_OK;
	if (s->nlogs == AUDIT_LOGS || !(c = calloc(1, sizeof *c)))
		return ctl_fail(EXIT_FAILED, "no memory for so many logs");
	(void)str_copy(c->log, sizeof c->log, name);
	c->number = number;
	c->next = 1;
	s->logs[s->nlogs++] = *ret = c;
	return EXIT_OK;
}

int audit_seek(struct audit_source *s, const char *time)
{
	int code = EXIT_OK;

	(void)str_copy(s->since, sizeof s->since, time ? time : "");
	if (s->from.file)
		return EXIT_OK;
	for (size_t i = 0; i < s->nlogs; i++) { /* those of another choice */
		audit_drop_page(s->logs[i]);
		free(s->logs[i]);
	}
	s->nlogs = 0;
	code = audit_list(s);
	for (size_t i = 0; i < s->nlogs && code == EXIT_OK; i++)
		code = seek(s, s->logs[i]);
	return code;
}

/* ---- walking ---- */

static int fill(struct audit_source *s, struct cursor *c)
{
	int code;

	if (c->at < c->n || c->dry)
		return EXIT_OK;
	audit_drop_page(c);
	code = audit_fetch(s, c, AUDIT_PAGE);
	c->dry = c->n == 0;
	return code;
}

static int hand_on(struct audit_source *s, struct cursor *c, audit_fn fn, void *arg)
{
	struct audit_record r = {.log = c->log,
	    .seq = c->seq,
	    .data = c->page[c->at].data,
	    .len = c->page[c->at].len,
	    .source = s};
	int code = fn(&r, arg);

	c->at++;
	c->seq++;
	return code;
}

/* The one whose next record is the oldest; NULL: none has any. */
static int oldest(struct audit_source *s, struct cursor **ret)
{
	char best[AUDIT_TIME_LEN + 1] = "", time[AUDIT_TIME_LEN + 1];
	int code = EXIT_OK;

	*ret = NULL;
	for (size_t i = 0; i < s->nlogs && code == EXIT_OK; i++) {
		struct cursor *c = s->logs[i];

		if ((code = fill(s, c)) != EXIT_OK || c->at == c->n)
			continue;
		audit_time(c->page[c->at].data, c->page[c->at].len, time);
		if (!*ret || strcmp(time, best) < 0) {
			memcpy(best, time, sizeof best);
			*ret = c;
		}
	}
	return code;
}

static int walk_by_time(struct audit_source *s, audit_fn fn, void *arg)
{
	struct cursor *c;
	int code;

	while ((code = oldest(s, &c)) == EXIT_OK && c)
		if ((code = hand_on(s, c, fn, arg)) != 0)
			break;
	return code;
}

static int walk_by_log(struct audit_source *s, audit_fn fn, void *arg)
{
	int code = EXIT_OK;

	for (size_t i = 0; i < s->nlogs && code == EXIT_OK; i++)
		while ((code = fill(s, s->logs[i])) == EXIT_OK && s->logs[i]->at < s->logs[i]->n)
			if ((code = hand_on(s, s->logs[i], fn, arg)) != 0)
				return code;
	return code;
}

int audit_walk(struct audit_source *s, bool by_log, audit_fn fn, void *arg)
{
	size_t known = s->nlogs;
	int code;

	if (s->from.file)
		return audit_walk_file(s, fn, arg);
	if ((code = audit_list(s)) != EXIT_OK)
		return code;
	for (size_t i = known; i < s->nlogs && code == EXIT_OK; i++)
		code = seek(s, s->logs[i]);
	for (size_t i = 0; i < s->nlogs; i++)
		s->logs[i]->dry = false;
	if (code != EXIT_OK)
		return code;
	return by_log ? walk_by_log(s, fn, arg) : walk_by_time(s, fn, arg);
}
