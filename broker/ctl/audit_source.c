#include "broker/ctl/audit_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/audit/logs.h"
#include "broker/audit/private.h"
#include "broker/audit/record.h"
#include "broker/audit/verify.h"
#include "broker/ctl/audit_origin.h"
#include "broker/ctl/ctl.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/chan.h"
#include "lib/confine.h"
#include "lib/err.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"

#define PAGE      256
#define LOGS      1024
#define TIME_AT   "\"time\":\""
#define TIME_LEN  27
#define FILE_HEAD "{\"v\":2,\"log\":\""

struct fetched {
	char *data;
	size_t len;
};

/* A log, and what of it has been read and not handed on. */
struct cursor {
	char log[NAME_MAX_LEN + 1];
	uint32_t number;
	uint64_t next; /* to be read */
	uint64_t seq;  /* of page[at] */
	size_t n, at;
	bool dry; /* there is no more now */
	struct fetched page[PAGE];
	json_t *private; /* of the page: commitment -> base64 of salt and value */
};

/* One of the first three is set. */
struct audit_source {
	struct audit_origin from;
	struct cursor *logs[LOGS];
	size_t nlogs;
};

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

static void drop_page(struct cursor *c)
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
		drop_page(s->logs[i]);
		free(s->logs[i]);
	}
	audit_origin_done(&s->from);
	free(s);
}

const char *audit_where(const struct audit_source *s)
{
	return s->from.where;
}

/* ---- logs and their pages ---- */

static int add_log(struct audit_source *s, const char *name, uint32_t number)
{
	struct cursor *c;

	for (size_t i = 0; i < s->nlogs; i++)
		if (strcmp(s->logs[i]->log, name) == 0)
			return EXIT_OK;
	if (s->nlogs == LOGS || !(c = calloc(1, sizeof *c)))
		return ctl_fail(EXIT_FAILED, "no memory for so many logs");
	(void)str_copy(c->log, sizeof c->log, name);
	c->number = number;
	c->next = 1;
	s->logs[s->nlogs++] = c;
	return EXIT_OK;
}

static int keep(struct cursor *c, const void *data, size_t len)
{
	struct fetched *f = &c->page[c->n];

	if (!(f->data = malloc(len ? len : 1)))
		return ctl_fail(EXIT_FAILED, "no memory");
	memcpy(f->data, data, len);
	f->len = len;
	c->n++;
	return EXIT_OK;
}

static int on_log(const struct log_info *l, void *arg)
{
	return add_log(arg, l->name, l->number);
}

static int list_stored(struct audit_source *s)
{
	int r = logs_list(s->from.store, on_log, s);

	return r < 0 ? ctl_fail(EXIT_UNREADABLE, "%s: %s", s->from.where, strerror(-r)) : r;
}

static int on_stored(uint64_t seq, const void *data, size_t len, void *arg)
{
	struct cursor *c = arg;

	if (c->n == 0)
		c->seq = seq;
	c->next = seq + 1;
	/* a page has no holes: what comes behind one is the next page */
	if (seq != c->seq + c->n)
		return -EXDEV;
	return keep(c, data, len);
}

static int fetch_stored(struct audit_source *s, struct cursor *c)
{
	uint64_t from = c->next;
	int r = logs_walk(s->from.store, c->number, from, PAGE, on_stored, c);

	if (r == -EXDEV)
		c->next = c->seq + c->n;
	else if (r < 0)
		return ctl_fail(EXIT_UNREADABLE, "%s: %s", s->from.where, strerror(-r));
	return r == -EXDEV ? EXIT_OK : r;
}

static int list_asked(struct audit_source *s)
{
	struct msg m = MSG_INIT;
	json_t *one;
	size_t i;
	int code = ctl_ask(s->from.link, "ctl.logs", json_object(), &m);

	if (code != EXIT_OK)
		return code;
	if (!msg_is(&m, "ctl.loglist"))
		code = ctl_fail(EXIT_FAILED, "an answer to another question");
	else
		json_array_foreach(msg_obj(&m, "logs"), i, one)
		{
			const char *name = json_string_value(json_object_get(one, "log"));

			if (code == EXIT_OK && name)
				code = add_log(s, name, 0);
		}
	msg_done(&m);
	return code;
}

/* The entries of a page by the commitments that they open. */
static void keep_private(struct cursor *c, json_t *list)
{
	cleanup_buf struct buf b;
	size_t i;
	json_t *one;

	buf_init(&b, PRIVATE_SALT_LEN + PRIVATE_VALUE_MAX);
	c->private = json_object();
	json_array_foreach(list, i, one)
	{
		char text[PRIVATE_TEXT_LEN + 1];

		buf_reset(&b);
		if (msg_json_decode(one, &b) == 0 && private_opens(b.data, b.len, text) == 0)
			(void)json_object_set(c->private, text, one);
	}
}

static int fetch_asked(struct audit_source *s, struct cursor *c)
{
	struct msg m = MSG_INIT;
	cleanup_buf struct buf b;
	json_t *one;
	size_t i;
	int code;

	buf_init(&b, RECORD_MAX);
	code = ctl_ask(s->from.link, "ctl.records",
	    json_pack("{s:I, s:i, s:s}", "from", (json_int_t)c->next, "max", PAGE, "log", c->log),
	    &m);
	if (code != EXIT_OK)
		return code;
	if (!msg_is(&m, "ctl.page")) {
		msg_done(&m);
		return ctl_fail(EXIT_FAILED, "an answer to another question");
	}
	c->seq = c->next;
	keep_private(c, msg_obj(&m, "private"));
	json_array_foreach(msg_obj(&m, "records"), i, one)
	{
		buf_reset(&b);
		if (code != EXIT_OK)
			break;
		if (i >= PAGE || msg_json_decode(one, &b) < 0)
			code = ctl_fail(EXIT_UNREADABLE, "a record is longer than a record can be");
		else if ((code = keep(c, b.data, b.len)) == EXIT_OK)
			c->next++;
	}
	msg_done(&m);
	return code;
}

static int fill(struct audit_source *s, struct cursor *c)
{
	int code;

	if (c->at < c->n || c->dry)
		return EXIT_OK;
	drop_page(c);
	code = s->from.store ? fetch_stored(s, c) : fetch_asked(s, c);
	c->dry = c->n == 0;
	return code;
}

int audit_reveal(struct audit_source *s, const char *text, size_t len, struct buf *ret)
{
	cleanup_buf struct buf b;

	buf_init(&b, PRIVATE_SALT_LEN + PRIVATE_VALUE_MAX);
	if (s->from.file)
		return -ENODATA;
	if (s->from.store)
		return private_reveal(s->from.store, text, len, ret);
	for (size_t i = 0; i < s->nlogs; i++) {
		json_t *entry;
		char key[PRIVATE_TEXT_LEN + 1];

		if (len != PRIVATE_TEXT_LEN)
			return -ENOENT;
		memcpy(key, text, len);
		key[len] = '\0';
		entry = json_object_get(s->logs[i]->private, key);
		if (!entry || msg_json_decode(entry, &b) < 0)
			continue;
		buf_put(ret, b.data + PRIVATE_SALT_LEN, b.len - PRIVATE_SALT_LEN);
		return buf_status(ret);
	}
	return -ENOENT;
}

/* ---- walking ---- */

/* The text of a record's time; "" if it has none. */
static void time_of(const struct fetched *f, char dst[TIME_LEN + 1])
{
	const char *at = memmem(f->data, f->len, TIME_AT, sizeof TIME_AT - 1);

	memset(dst, 0, TIME_LEN + 1);
	if (at && (size_t)(f->data + f->len - at) >= sizeof TIME_AT - 1 + TIME_LEN)
		memcpy(dst, at + sizeof TIME_AT - 1, TIME_LEN);
}

static int hand_on(struct audit_source *s, struct cursor *c, audit_fn fn, void *arg)
{
	struct audit_record r = {c->log, c->seq, c->page[c->at].data, c->page[c->at].len, s};
	int code = fn(&r, arg);

	c->at++;
	c->seq++;
	return code;
}

/* The one whose next record is the oldest; NULL: none has any. */
static int oldest(struct audit_source *s, struct cursor **ret)
{
	char best[TIME_LEN + 1] = "", time[TIME_LEN + 1];
	int code = EXIT_OK;

	*ret = NULL;
	for (size_t i = 0; i < s->nlogs && code == EXIT_OK; i++) {
		struct cursor *c = s->logs[i];

		if ((code = fill(s, c)) != EXIT_OK || c->at == c->n)
			continue;
		time_of(&c->page[c->at], time);
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

/* Which log a record of an exported file is of. */
static void log_of(const char *line, size_t len, char dst[NAME_MAX_LEN + 1])
{
	size_t head = sizeof FILE_HEAD - 1, n = 0;

	(void)str_copy(dst, NAME_MAX_LEN + 1, LOG_HOST);
	if (len <= head || memcmp(line, FILE_HEAD, head) != 0)
		return;
	while (head + n < len && n <= NAME_MAX_LEN && line[head + n] != '"')
		n++;
	if (n > 0 && n <= NAME_MAX_LEN) {
		memcpy(dst, line + head, n);
		dst[n] = '\0';
	}
}

/* An exported log: a record a line; of each log from number 1 on. */
static int walk_file(struct audit_source *s, audit_fn fn, void *arg)
{
	cleanup_free char *line = NULL;
	char name[NAME_MAX_LEN + 1];
	size_t size = 0, i;
	ssize_t n;
	int r = 0;

	rewind(s->from.file);
	while (r == 0 && (n = getline(&line, &size, s->from.file)) > 0) {
		struct audit_record one = {.log = name, .data = line, .source = s};

		if (line[n - 1] == '\n')
			n--;
		log_of(line, (size_t)n, name);
		if ((r = add_log(s, name, 0)) != EXIT_OK)
			break;
		for (i = 0; strcmp(s->logs[i]->log, name) != 0; i++)
			;
		one.seq = s->logs[i]->next++;
		one.len = (size_t)n;
		r = fn(&one, arg);
	}
	if (r == 0 && ferror(s->from.file))
		return ctl_fail(EXIT_UNREADABLE, "%s: %m", s->from.where);
	return r;
}

int audit_walk(struct audit_source *s, bool by_log, audit_fn fn, void *arg)
{
	int code;

	if (s->from.file)
		return walk_file(s, fn, arg);
	if ((code = s->from.store ? list_stored(s) : list_asked(s)) != EXIT_OK)
		return code;
	for (size_t i = 0; i < s->nlogs; i++)
		s->logs[i]->dry = false;
	return by_log ? walk_by_log(s, fn, arg) : walk_by_time(s, fn, arg);
}

/* ---- proof ---- */

struct prove {
	struct verify v[LOGS];
	size_t n;
	uint64_t total;
	struct err e;
};

static int prove_one(const struct audit_record *r, void *arg)
{
	struct prove *p = arg;
	size_t i = 0;

	while (i < p->n && strcmp(p->v[i].log, r->log) != 0)
		i++;
	if (i == p->n) {
		if (p->n == LOGS)
			return EXIT_BROKEN;
		verify_init(&p->v[i]);
		(void)str_copy(p->v[i].log, sizeof p->v[i].log, r->log);
		p->n++;
	}
	if (verify_record(&p->v[i], r->seq, r->data, r->len, &p->e) < 0)
		return EXIT_BROKEN;
	p->total++;
	return EXIT_OK;
}

int audit_prove(struct audit_source *s, struct verify *v)
{
	cleanup_free struct prove *p = calloc(1, sizeof *p);
	int r;

	if (!p)
		return ctl_fail(EXIT_FAILED, "no memory");
	verify_init(v);
	if (s->from.store) {
		r = verify_store(s->from.store, v, &p->e);
		r = r == 0 ? EXIT_OK : r == -EBADMSG ? EXIT_BROKEN : EXIT_UNREADABLE;
	} else if ((r = audit_walk(s, true, prove_one, p)) != EXIT_OK && r != EXIT_BROKEN) {
		return r; /* said */
	} else if (r == EXIT_OK && p->n > 0) {
		*v = p->v[p->n - 1];
		v->seq = p->total;
	}
	if (r != EXIT_OK)
		return ctl_fail(r, "%s", err_text(&p->e));
	if (v->seq == 0)
		return ctl_fail(EXIT_MISSING, "there is no record in %s", s->from.where);
	return EXIT_OK;
}
