#include "broker/ctl/audit_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/audit/record.h"
#include "broker/audit/verify.h"
#include "broker/ctl/ctl.h"
#include "broker/store/store.h"
#include "lib/chan.h"
#include "lib/confine.h"
#include "lib/err.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"

#define PAGE 256

/* One of three is set. */
struct audit_source {
	struct chan *link;
	struct store *store;
	FILE *file;
	char where[PATH_MAX + 32];
};

/* Between a walk's callback and store_walk(), verify and the three readers. */
struct walk {
	audit_fn fn;
	void *arg;
	uint64_t next;
	size_t seen;
};

/* LMDB maps the core's file as it finds it, and is not made for a hostile one: so root becomes the
 * file's owner first, for good. A core that was taken over gains nothing by the look at its log. */
static int become_owner(int dir, struct err *e)
{
	struct stat st;
	int r;

	if (fstat(dir, &st) < 0)
		return err_set(e, -errno, "%m");
	if (geteuid() != 0 || st.st_uid == 0)
		return 0;
	r = confine_ids(st.st_uid, st.st_gid);
	return r < 0 ? err_set(e, r, "cannot become its owner: %s", strerror(-r)) : 0;
}

static int open_store(const struct ctl *c, struct audit_source *s)
{
	const struct store_config config = {.read_only = true};
	cleanup_close int dir = -1;
	struct err e = ERR_INIT;
	char path[PATH_MAX];
	int r;

	ctl_path(c, "core", "/var/lib/postern/core", path);
	(void)snprintf(s->where, sizeof s->where, "the files in %s", path);
	if ((dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return ctl_fail(errno == ENOENT ? EXIT_MISSING : EXIT_UNREADABLE,
		    "no Postern runs, and there is no log in %s: %m", path);
	if ((r = become_owner(dir, &e)) < 0 || (r = store_open(dir, &config, &s->store, &e)) < 0)
		return ctl_fail(
		    r == -ENOENT ? EXIT_MISSING : EXIT_UNREADABLE, "%s: %s", path, err_text(&e));
	return EXIT_OK;
}

static int open_any(const struct ctl *c, const char *file, bool offline, struct audit_source *s)
{
	int code;

	if (file) {
		(void)snprintf(s->where, sizeof s->where, "%s", file);
		if (!(s->file = fopen(file, "re")))
			return ctl_fail(
			    errno == ENOENT ? EXIT_MISSING : EXIT_UNREADABLE, "%s: %m", file);
		return EXIT_OK;
	}
	if (offline)
		return open_store(c, s);
	if ((code = ctl_dial(c, &s->link, 1)) == EXIT_NO_DAEMON)
		return open_store(c, s);
	(void)snprintf(s->where, sizeof s->where, "the Postern that runs");
	return code;
}

int audit_open(const struct ctl *c, const char *file, bool offline, struct audit_source **ret)
{
	struct audit_source *s = calloc(1, sizeof *s);
	int code;

	if (!s)
		return ctl_fail(EXIT_FAILED, "no memory");
	if ((code = open_any(c, file, offline, s)) != EXIT_OK) {
		audit_close(s);
		return code;
	}
	*ret = s;
	return EXIT_OK;
}

void audit_close(struct audit_source *s)
{
	if (!s)
		return;
	chan_free(s->link);
	store_close(s->store);
	if (s->file)
		(void)fclose(s->file);
	free(s);
}

const char *audit_where(const struct audit_source *s)
{
	return s->where;
}

/* ---- a running Postern ---- */

/* One page: its records are handed on; *ret_more is false when it was the last. */
static int page(struct audit_source *s, struct walk *w, bool *ret_more)
{
	struct msg m = MSG_INIT;
	char *data = NULL;
	json_t *list, *one;
	size_t i, len;
	uint64_t size;
	int code;

	code = ctl_ask(s->link, "ctl.records",
	    json_pack("{s:I, s:i}", "from", (json_int_t)w->next, "max", PAGE), &m);
	if (code != EXIT_OK)
		return code;
	if (!msg_is(&m, "ctl.page")) {
		msg_done(&m);
		return ctl_fail(EXIT_FAILED, "an answer to another question");
	}
	list = msg_obj(&m, "records");
	size = (uint64_t)msg_int(&m, "size", 0);
	if (!(data = malloc(RECORD_MAX)))
		code = ctl_fail(EXIT_FAILED, "no memory");
	for (i = 0; code == EXIT_OK && i < json_array_size(list); i++) {
		one = json_array_get(list, i);
		if (b64_decode(data, RECORD_MAX, json_string_value(one), json_string_length(one),
		        &len) < 0)
			code = ctl_fail(EXIT_UNREADABLE, "a record is longer than a record can be");
		else
			code = w->fn(w->next++, data, len, w->arg);
	}
	*ret_more = i > 0 && w->next <= size;
	free(data);
	msg_done(&m);
	return code;
}

/* ---- files ---- */

static int stored(const void *key, size_t klen, const void *value, size_t len, void *arg)
{
	struct walk *w = arg;
	uint64_t seq = 0;

	if (klen != 8)
		return ctl_fail(EXIT_BROKEN, "a record's number has %zu bytes", klen);
	for (size_t i = 0; i < 8; i++)
		seq = seq << 8 | ((const uint8_t *)key)[i];
	w->next = seq + 1;
	w->seen++;
	return w->fn(seq, value, len, w->arg);
}

static int walk_store(struct audit_source *s, struct walk *w)
{
	uint8_t key[8];
	int r;

	do {
		for (size_t i = 0; i < 8; i++)
			key[i] = (uint8_t)(w->next >> (56 - 8 * i));
		w->seen = 0;
		r = store_walk(s->store, STORE_RECORDS, key, sizeof key, PAGE, stored, w);
	} while (r == 0 && w->seen == PAGE);
	if (r < 0)
		return ctl_fail(EXIT_UNREADABLE, "%s: %s", s->where, strerror(-r));
	return r;
}

/* An exported log: a record a line, from number 1 on. */
static int walk_file(struct audit_source *s, struct walk *w)
{
	cleanup_free char *line = NULL;
	uint64_t seq = 0;
	size_t size = 0;
	ssize_t n;
	int r = 0;

	rewind(s->file);
	while (r == 0 && (n = getline(&line, &size, s->file)) > 0) {
		if (line[n - 1] == '\n')
			n--;
		if (++seq >= w->next)
			r = w->fn(seq, line, (size_t)n, w->arg);
	}
	if (r == 0 && ferror(s->file))
		return ctl_fail(EXIT_UNREADABLE, "%s: %m", s->where);
	return r;
}

int audit_walk(struct audit_source *s, uint64_t from, audit_fn fn, void *arg)
{
	struct walk w = {fn, arg, from ? from : 1, 0};
	bool more = true;
	int r = 0;

	if (s->store)
		return walk_store(s, &w);
	if (s->file)
		return walk_file(s, &w);
	while (r == 0 && more)
		r = page(s, &w, &more);
	return r;
}

/* ---- proof ---- */

struct prove {
	struct verify *v;
	struct err e;
};

static int prove_one(uint64_t seq, const void *data, size_t len, void *arg)
{
	struct prove *p = arg;

	return verify_record(p->v, seq, data, len, &p->e) < 0 ? EXIT_BROKEN : EXIT_OK;
}

int audit_prove(struct audit_source *s, struct verify *v)
{
	struct prove p = {v, ERR_INIT};
	int r;

	verify_init(v);
	if (s->store) {
		r = verify_store(s->store, v, &p.e);
		r = r == 0 ? EXIT_OK : r == -EBADMSG ? EXIT_BROKEN : EXIT_UNREADABLE;
	} else if ((r = audit_walk(s, 1, prove_one, &p)) != EXIT_OK && r != EXIT_BROKEN) {
		return r; /* said */
	}
	if (r != EXIT_OK)
		return ctl_fail(r, "%s", err_text(&p.e));
	if (v->seq == 0)
		return ctl_fail(EXIT_MISSING, "there is no record in %s", s->where);
	return EXIT_OK;
}
