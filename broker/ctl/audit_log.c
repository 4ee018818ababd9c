#include "broker/ctl/audit_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/body.h"
#include "broker/audit/export_file.h"
#include "broker/audit/logs.h"
#include "broker/audit/prune.h"
#include "broker/audit/record.h"
#include "broker/ctl/audit_archive.h"
#include "broker/ctl/audit_body.h"
#include "broker/ctl/audit_origin.h"
#include "broker/ctl/ctl.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/chan.h"
#include "lib/err.h"
#include "lib/msg.h"
#include "lib/reader.h"
#include "lib/util.h"

#define PAGE 256

struct audit_log {
	const struct ctl *c;
	struct audit_origin from;
	const char *asked; /* the log of the pages that are asked for */
	uint64_t upto;     /* its size at the first question: what comes later is another time's */
	struct audit_archive *archive; /* NULL: none */
	uint64_t edge;                 /* of the log that was fed last */
};

int audit_log_open(struct ctl *c, struct audit_log **ret)
{
	struct audit_log *l = calloc(1, sizeof *l);
	int code;

	if (!l)
		return ctl_fail(EXIT_FAILED, "no memory");
	l->c = c;
	/* first: whoever opens the store becomes its owner */
	code = audit_archive_open(c, ctl_opt(c, "file") == NULL, ctl_opt(c, "log"), &l->archive);
	if (code == EXIT_OK)
		code = audit_origin_open(
		    c, ctl_opt(c, "file"), ctl_opt(c, "offline") != NULL, &l->from);
	if (code != EXIT_OK) {
		audit_log_close(l);
		return code;
	}
	*ret = l;
	return EXIT_OK;
}

void audit_log_close(struct audit_log *l)
{
	if (!l)
		return;
	audit_origin_done(&l->from);
	audit_archive_close(l->archive);
	free(l);
}

const char *audit_log_where(const struct audit_log *l)
{
	return l->from.where;
}

struct store *audit_log_store(const struct audit_log *l)
{
	return l->from.store;
}

struct chan *audit_log_link(const struct audit_log *l)
{
	return l->from.link;
}

/* ---- which there are ---- */

struct names {
	audit_log_fn fn;
	void *arg;
	char name[LOGS_MAX][NAME_MAX_LEN + 1];
	size_t n;
};

static int on_info(const struct log_info *i, void *arg)
{
	struct names *n = arg;

	if (n->n < LOGS_MAX)
		(void)str_copy(n->name[n->n++], sizeof n->name[0], i->name);
	return 0;
}

static int on_bundle(void *arg, const char *log, uint64_t records)
{
	struct names *n = arg;

	(void)records;
	(void)str_copy(n->name[n->n++], sizeof n->name[0], log);
	return 1; /* that is all */
}

static int ask_names(struct audit_log *l, struct names *n)
{
	struct msg m = MSG_INIT;
	json_t *one;
	size_t i;
	int code = ctl_ask(l->from.link, "ctl.logs", json_object(), &m);

	if (code != EXIT_OK)
		return code;
	if (!msg_is(&m, "ctl.loglist")) {
		msg_done(&m);
		return ctl_fail(EXIT_FAILED, "an answer to another question");
	}
	json_array_foreach(msg_obj(&m, "logs"), i, one)
	{
		const char *name = json_string_value(json_object_get(one, "log"));

		if (name && n->n < LOGS_MAX && strlen(name) <= NAME_MAX_LEN)
			(void)str_copy(n->name[n->n++], sizeof n->name[0], name);
	}
	msg_done(&m);
	return EXIT_OK;
}

static int bundle_name(struct audit_log *l, struct names *n)
{
	static const struct log_sink sink = {.head = on_bundle};
	struct err e = ERR_INIT;
	bool complete;
	int r;

	rewind(l->from.file);
	r = export_read_file(l->from.file, &sink, n, &complete, &e);
	return r < 0 ? ctl_fail(EXIT_UNREADABLE, "%s: %s", l->from.where, err_text(&e)) : EXIT_OK;
}

int audit_log_list(struct audit_log *l, audit_log_fn fn, void *arg)
{
	struct names *n = calloc(1, sizeof *n);
	int code;

	if (!n)
		return ctl_fail(EXIT_FAILED, "no memory");
	if (l->from.file)
		code = bundle_name(l, n);
	else if (l->from.link)
		code = ask_names(l, n);
	else
		code = logs_list(l->from.store, on_info, n) < 0
		           ? ctl_fail(EXIT_UNREADABLE, "%s: the list of logs cannot be read",
		                 l->from.where)
		           : EXIT_OK;
	for (size_t i = 0; code == EXIT_OK && i < n->n; i++)
		code = fn(n->name[i], arg);
	free(n);
	return code;
}

/* ---- a running Postern ---- */

static int ask_records(void *source, uint64_t from, log_part_fn fn, void *arg)
{
	struct audit_log *l = source;
	struct msg m = MSG_INIT;
	cleanup_buf struct buf b;
	json_t *one;
	size_t i;
	int r = 0;

	buf_init(&b, RECORD_MAX);
	if (ctl_ask(l->from.link, "ctl.records",
	        json_pack(
	            "{s:I, s:i, s:s}", "from", (json_int_t)from, "max", PAGE, "log", l->asked),
	        &m) != EXIT_OK)
		return -EREMOTEIO;
	if (!msg_is(&m, "ctl.page"))
		r = -EPROTO;
	else if ((uint64_t)msg_int(&m, "from", 0) > from)
		from = (uint64_t)msg_int(&m, "from", 0); /* what is before it is not there */
	json_array_foreach(r == 0 ? msg_obj(&m, "records") : NULL, i, one)
	{
		if (from + i > l->upto)
			break;
		buf_reset(&b);
		if ((r = msg_json_decode(one, &b)) < 0 ||
		    (r = fn(from + i, b.data, b.len, arg)) != 0)
			break;
	}
	msg_done(&m);
	return r;
}

/* Each blob: u64 number, note. */
static int ask_notes(struct audit_log *l, const char *log, const char *kind, uint64_t from,
    uint64_t upto, log_part_fn fn, void *arg)
{
	struct msg m = MSG_INIT;
	cleanup_buf struct buf b;
	json_t *one;
	size_t i;
	int r = 0;

	buf_init(&b, NOTE_MAX + 8);
	if (ctl_ask(l->from.link, "ctl.notes",
	        json_pack("{s:s, s:s, s:I}", "log", log, "kind", kind, "from", (json_int_t)from),
	        &m) != EXIT_OK)
		return -EREMOTEIO;
	if (!msg_is(&m, "ctl.notelist"))
		r = -EPROTO;
	json_array_foreach(r == 0 ? msg_obj(&m, "notes") : NULL, i, one)
	{
		struct reader in;
		uint64_t number;

		buf_reset(&b);
		if ((r = msg_json_decode(one, &b)) < 0)
			break;
		reader_init(&in, b.data, b.len);
		if ((r = reader_u64(&in, &number)) == 0 && number > upto)
			break;
		if (r < 0 || (r = fn(number, in.p, in.left, arg)) != 0)
			break;
	}
	msg_done(&m);
	return r;
}

static int ask_body(void *source, uint64_t seq, log_part_fn fn, void *arg)
{
	const struct audit_log *l = source;
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, BODY_MAX);
	r = audit_ask_body(l->from.link, l->asked, seq, NULL, &b);
	return r == 0 ? fn(seq, b.data, b.len, arg) : r == -ENOENT ? 0 : r;
}

static int ask_checkpoints(void *source, uint64_t from, log_part_fn fn, void *arg)
{
	struct audit_log *l = source;

	return ask_notes(l, l->asked, "checkpoint", from, l->upto, fn, arg);
}

static int ask_epochs(void *source, bool host, uint64_t from, log_part_fn fn, void *arg)
{
	struct audit_log *l = source;

	return ask_notes(l, host ? LOG_HOST : l->asked, "epoch", from, UINT64_MAX, fn, arg);
}

static int ask_breaks(void *source, bool host, uint64_t from, log_part_fn fn, void *arg)
{
	struct audit_log *l = source;

	return ask_notes(l, host ? LOG_HOST : l->asked, "break", from, UINT64_MAX, fn, arg);
}

/* How many records there are now: the page that has none says so. */
static int ask_size(struct audit_log *l, uint64_t *ret)
{
	struct msg m = MSG_INIT;
	int code = ctl_ask(l->from.link, "ctl.records",
	    json_pack("{s:i, s:i, s:s}", "from", 1, "max", 0, "log", l->asked), &m);

	if (code == EXIT_OK)
		*ret = (uint64_t)msg_int(&m, "size", 0);
	msg_done(&m);
	return code;
}

static int on_edge(uint64_t seq, const void *data, size_t len, void *arg)
{
	(void)seq;
	return log_edge_parse(data, len, arg) < 0 ? -EBADMSG : 1;
}

static int ask_edge(void *source, struct log_edge *ret)
{
	struct audit_log *l = source;
	int r;

	memset(ret, 0, sizeof *ret);
	r = ask_notes(l, l->asked, "edge", 0, UINT64_MAX, on_edge, ret);
	l->edge = ret->seq;
	return r < 0 ? r : 0;
}

static int feed_asked(struct audit_log *l, const char *name, const struct log_sink *sink, void *arg)
{
	static const struct log_parts parts = {.records = ask_records,
	    .body = ask_body,
	    .checkpoints = ask_checkpoints,
	    .epochs = ask_epochs,
	    .breaks = ask_breaks,
	    .edge = ask_edge};
	int r;

	l->asked = name;
	if ((r = ask_size(l, &l->upto)) != EXIT_OK)
		return r;
	r = log_feed(&parts, l, name, l->upto, sink, arg);
	if (r == -EREMOTEIO)
		return EXIT_FAILED; /* said */
	return r < 0 ? ctl_fail(EXIT_UNREADABLE, "%s: %s", l->from.where, strerror(-r)) : EXIT_OK;
}

/* ---- all of one ---- */

static int feed_file(
    struct audit_log *l, const struct log_sink *sink, void *arg, bool *ret_complete)
{
	struct err e = ERR_INIT;
	int r;

	rewind(l->from.file);
	r = export_read_file(l->from.file, sink, arg, ret_complete, &e);
	return r < 0 ? ctl_fail(EXIT_UNREADABLE, "%s: %s", l->from.where, err_text(&e)) : EXIT_OK;
}

static uint64_t stored_edge(const struct audit_log *l, const char *name)
{
	struct log_info info = {.number = LOG_HOST_NUMBER};
	struct log_edge g;

	if ((strcmp(name, LOG_HOST) != 0 && logs_find(l->from.store, name, &info) < 0) ||
	    log_edge_get(l->from.store, info.number, &g, NULL) < 0)
		return 0;
	return g.seq;
}

static int feed(struct audit_log *l, const char *name, const struct log_sink *sink, void *arg,
    bool *ret_complete)
{
	struct err e = ERR_INIT;
	int r;

	*ret_complete = true;
	if (l->from.file)
		return feed_file(l, sink, arg, ret_complete);
	if (l->from.link)
		return feed_asked(l, name, sink, arg);
	l->edge = stored_edge(l, name);
	r = log_feed_store(l->from.store, name, sink, arg, &e);
	return r == -ENOENT ? ctl_fail(EXIT_NOT_FOUND, "%s: %s", name, err_text(&e))
	       : r < 0 ? ctl_fail(EXIT_UNREADABLE, "%s: %s: %s", l->from.where, name, err_text(&e))
	               : EXIT_OK;
}

int audit_log_feed(struct audit_log *l, const char *name, const struct log_sink *sink, void *arg,
    bool *ret_complete)
{
	struct audit_joined j;

	if (!audit_log_archived(l, name))
		return feed(l, name, sink, arg, ret_complete);
	audit_archive_join(&j, l->archive, name, sink, arg);
	return feed(l, name, &j.sink, &j, ret_complete);
}

bool audit_log_archived(const struct audit_log *l, const char *name)
{
	return audit_archive_of(l->archive, name);
}

bool audit_log_moved(struct audit_log *l, const char *name)
{
	struct log_edge g;
	uint64_t before = l->edge;
	bool moved;

	if (l->from.link) {
		moved = ask_edge(l, &g) == 0 && g.seq != before;
		if (moved || audit_archive_last(l->archive, name) < before)
			moved |= audit_archive_again(l->c, name, &l->archive);
		return moved;
	}
	return l->from.store && stored_edge(l, name) != before;
}

/* ---- keys ---- */

static int add_key(struct audit_keys *k, const char *text, size_t len, const char *from)
{
	struct err e = ERR_INIT;

	if (k->n == AUDIT_KEYS_MAX)
		return ctl_fail(EXIT_USAGE, "more than %d keys", AUDIT_KEYS_MAX);
	if (note_key_parse(text, len, &k->key[k->n], &e) < 0)
		return ctl_fail(EXIT_USAGE, "%s: %s", from, err_text(&e));
	k->n++;
	k->from = from;
	return EXIT_OK;
}

/* The last word of each line that has a plus sign in it. */
static int keys_of_text(struct audit_keys *k, char *text, const char *from)
{
	char *save = NULL;
	int code = EXIT_OK;

	for (char *line = strtok_r(text, "\n", &save); line && code == EXIT_OK;
	     line = strtok_r(NULL, "\n", &save)) {
		char *word = strrchr(line, ' ');

		word = word ? word + 1 : line;
		if (*line != '#' && strchr(word, '+'))
			code = add_key(k, word, strlen(word), from);
	}
	return code;
}

static int keys_of_file(struct audit_keys *k, const char *path, bool must)
{
	cleanup_free char *text = NULL;
	size_t size = 256u * 1024, n;
	FILE *f = fopen(path, "re");
	int code;

	if (!f)
		return must ? ctl_fail(EXIT_USAGE, "%s: %m", path) : EXIT_OK;
	if (!(text = malloc(size))) {
		(void)fclose(f);
		return ctl_fail(EXIT_FAILED, "no memory");
	}
	n = fread(text, 1, size - 1, f);
	(void)fclose(f);
	text[n] = '\0';
	n = k->n;
	if ((code = keys_of_text(k, text, path)) == EXIT_OK && must && k->n == n)
		return ctl_fail(EXIT_USAGE, "%s: there is no key in it", path);
	return code;
}

static int told_keys(struct audit_log *l, struct audit_keys *k)
{
	static const char from[] = "the Postern that runs";
	struct msg m = MSG_INIT;
	json_t *data, *o;
	const char *text;
	size_t i;
	int code = ctl_ask(l->from.link, "ctl.keys", json_object(), &m);

	if (code != EXIT_OK)
		return EXIT_OK; /* none then; said */
	data = msg_obj(&m, "data");
	text = json_string_value(json_object_get(data, "first"));
	if (text && *text)
		code = add_key(k, text, strlen(text), from);
	json_array_foreach(json_object_get(data, "logs"), i, o)
	{
		text = json_string_value(json_object_get(o, "key"));
		if (code == EXIT_OK && text && *text)
			code = add_key(k, text, strlen(text), from);
	}
	json_array_foreach(json_object_get(data, "witnesses"), i, o)
	{
		text = json_string_value(o);
		if (code == EXIT_OK && text && *text)
			code = add_key(k, text, strlen(text), from);
	}
	k->told = k->n > 0;
	msg_done(&m);
	return code;
}

int audit_keys_ask(struct audit_log *l, struct audit_keys *k)
{
	return k->n > 0 || !l->from.link ? EXIT_OK : told_keys(l, k);
}

int audit_keys_load(struct ctl *c, struct audit_keys *ret)
{
	static char path[PATH_MAX];
	const char *file = ctl_opt(c, "keys"), *key;
	int code = EXIT_OK;

	*ret = (struct audit_keys){0};
	for (size_t i = 0; code == EXIT_OK && (key = ctl_opt_nth(c, "key", i)); i++)
		code = add_key(ret, key, strlen(key), "--key");
	if (code == EXIT_OK && file)
		code = keys_of_file(ret, file, true);
	if (code != EXIT_OK || ret->n > 0)
		return code;
	ctl_path(c, "etc/log.keys", "/etc/postern/log.keys", path);
	return keys_of_file(ret, path, false);
}
