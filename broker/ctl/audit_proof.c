#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/audit/log_prove.h"
#include "broker/audit/logs.h"
#include "broker/audit/proof.h"
#include "broker/audit/prune.h"
#include "broker/audit/record.h"
#include "broker/ctl/audit_log.h"
#include "broker/ctl/audit_origin.h"
#include "broker/ctl/ctl.h"
#include "broker/ctl/table.h"
#include "lib/buf.h"
#include "lib/chan.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"

/* audit prove, audit check-proof. */

/* What a log is, as far as a proof needs it. */
struct whole {
	uint8_t (*leaf)[DIGEST_LEN];
	uint64_t n, max, wanted;
	uint64_t size; /* of the newest checkpoint */
	struct buf note, record;
	bool holes;
	bool archived; /* the first ones are elsewhere */
};

static int no_head(void *arg, const char *log, uint64_t records)
{
	(void)arg;
	(void)log;
	(void)records;
	return 0;
}

static int no_note(void *arg, const void *note, size_t len)
{
	(void)arg;
	(void)note;
	(void)len;
	return 0;
}

static int take_record(void *arg, uint64_t seq, const void *data, size_t len)
{
	struct whole *w = arg;

	if (seq != w->n + 1) {
		w->holes = true;
		return 0;
	}
	if (w->n == w->max) {
		uint64_t max = w->max ? 2 * w->max : 1024;
		void *p = reallocarray(w->leaf, max, sizeof *w->leaf);

		if (!p)
			return -ENOMEM;
		w->leaf = p;
		w->max = max;
	}
	merkle_leaf(data, len, w->leaf[w->n++]);
	if (seq == w->wanted) {
		buf_reset(&w->record);
		buf_put(&w->record, data, len);
	}
	return buf_status(&w->record);
}

static int take_checkpoint(void *arg, uint64_t size, const void *note, size_t len)
{
	struct whole *w = arg;

	w->size = size;
	buf_reset(&w->note);
	buf_put(&w->note, note, len);
	return buf_status(&w->note);
}

/* The archive is not here, or not all of it: then there are not all leaves. */
static int take_edge(
    void *arg, uint64_t seq, const uint8_t leaf[DIGEST_LEN], const struct merkle *tree)
{
	struct whole *w = arg;

	(void)leaf;
	(void)tree;
	w->archived = seq > w->n;
	return 0;
}

static const struct log_sink whole_sink = {.head = no_head,
    .host_epoch = no_note,
    .epoch = no_note,
    .record = take_record,
    .edge = take_edge,
    .checkpoint = take_checkpoint};

/* Said by whoever asks for such a proof. */
static const char archived[] = "this needs records that are in the archive: --archive DIR";

/* The whole log is read and hashed: from a bundle, or together with the archive. */
static int prove_from_all(struct audit_log *l, const char *log, enum proof_kind kind,
    uint64_t number, struct whole *w, struct proof *ret)
{
	struct err e = ERR_INIT;
	bool complete;
	int code = audit_log_feed(l, log, &whole_sink, w, &complete);

	if (code != EXIT_OK)
		return code;
	if (w->archived)
		return ctl_fail(EXIT_ARCHIVED, "%s", archived);
	if (w->size == 0)
		return ctl_fail(EXIT_UNSEALED, "nothing of this log is sealed");
	if (w->holes || w->n < w->size)
		return ctl_fail(EXIT_LOST, "records are missing in %s", audit_log_where(l));
	if (log_prove_leaves(w->leaf, w->size, kind, number, ret, &e) < 0)
		return ctl_fail(EXIT_NOT_FOUND, "%s", err_text(&e));
	ret->checkpoint = (const char *)w->note.data;
	ret->checkpoint_len = w->note.len;
	return EXIT_OK;
}

/* Whether this record has left the store. */
static bool below_edge(struct store *s, const char *log, uint64_t number)
{
	struct log_info info = {.number = LOG_HOST_NUMBER};
	struct log_edge g;

	return (strcmp(log, LOG_HOST) == 0 || logs_find(s, log, &info) == 0) &&
	       log_edge_get(s, info.number, &g, NULL) == 0 && number <= g.seq;
}

static int prove_from_store(struct store *s, const char *log, enum proof_kind kind, uint64_t number,
    struct whole *w, struct proof *ret)
{
	struct log_info info = {.number = LOG_HOST_NUMBER};
	struct err e = ERR_INIT;
	int r = log_prove(s, log, kind, number, ret, &w->note, &e);

	if (r == 0 && kind == PROOF_INCLUSION) {
		if (strcmp(log, LOG_HOST) != 0)
			r = logs_find(s, log, &info);
		if (r == 0)
			r = logs_get(s, info.number, number, &w->record);
		if (r < 0)
			(void)err_set(&e, r, "the record is missing");
	}
	if (r == -ENOENT && below_edge(s, log, number))
		return ctl_fail(EXIT_ARCHIVED, "%s", archived);
	return r == 0                         ? EXIT_OK
	       : r == -ENOENT || r == -ERANGE ? ctl_fail(EXIT_NOT_FOUND, "%s", err_text(&e))
	                                      : ctl_fail(EXIT_UNREADABLE, "%s", err_text(&e));
}

static int ask_record(struct audit_log *l, const char *log, uint64_t number, struct whole *w)
{
	struct msg m = MSG_INIT;
	int code = ctl_ask(audit_log_link(l), "ctl.records",
	    json_pack("{s:s, s:I, s:i}", "log", log, "from", (json_int_t)number, "max", 1), &m);

	if (code != EXIT_OK)
		return code;
	if (!msg_is(&m, "ctl.page") || (uint64_t)msg_int(&m, "from", 0) != number ||
	    json_array_size(msg_obj(&m, "records")) != 1)
		code = ctl_fail(EXIT_LOST, "the record is missing");
	else if (msg_json_decode(json_array_get(msg_obj(&m, "records"), 0), &w->record) < 0)
		code = ctl_fail(EXIT_UNREADABLE, "a record is longer than a record can be");
	msg_done(&m);
	return code;
}

/* A running Postern makes the proof itself: nothing is read but that. text: as it is written out.
 */
static int prove_asked(struct audit_log *l, const char *log, enum proof_kind kind, uint64_t number,
    struct whole *w, struct buf *text)
{
	struct msg m = MSG_INIT;
	int code = EXIT_ARCHIVED;

	/* once more for the words, where there are other ones than ours */
	for (int i = 0; i < 2 && code != EXIT_OK && (i == 0 || code != EXIT_ARCHIVED); i++)
		code = (i == 0 ? ctl_try : ctl_ask)(audit_log_link(l), "ctl.prove",
		    json_pack("{s:s, s:s, s:I}", "log", log, "kind",
		        kind == PROOF_INCLUSION ? "inclusion" : "consistency", "number",
		        (json_int_t)number),
		    &m);
	if (code == EXIT_ARCHIVED)
		return audit_log_archived(l, log) ? code : ctl_fail(code, "%s", archived);
	if (code != EXIT_OK)
		return code;
	if (!msg_is(&m, "ctl.proof") || msg_bytes(&m, "text", text) < 0)
		code = ctl_fail(EXIT_FAILED, "an answer to another question");
	msg_done(&m);
	return code == EXIT_OK && kind == PROOF_INCLUSION ? ask_record(l, log, number, w) : code;
}

static int prove(
    struct ctl *c, const char *log, enum proof_kind kind, uint64_t number, struct whole *w)
{
	cleanup_audit_log struct audit_log *l = NULL;
	const char *record = ctl_opt(c, "record-out"), *out = ctl_opt(c, "out");
	cleanup_close int record_fd = -1;
	cleanup_close int out_fd = -1;
	cleanup_buf struct buf text;
	struct store *store;
	struct proof p;
	int code;

	buf_init(&text, PROOF_MAX);
	if ((code = audit_create(record, &record_fd)) != EXIT_OK ||
	    (code = audit_create(out, &out_fd)) != EXIT_OK ||
	    (code = audit_log_open(c, &l)) != EXIT_OK)
		return code;
	store = audit_log_store(l);
	if (store && audit_log_archived(l, log) && below_edge(store, log, number))
		store = NULL;
	if (audit_log_link(l)) {
		code = prove_asked(l, log, kind, number, w, &text);
		if (code != EXIT_OK && (code != EXIT_ARCHIVED || !audit_log_archived(l, log)))
			return code;
	}
	if (text.len == 0) {
		code = store ? prove_from_store(store, log, kind, number, w, &p)
		             : prove_from_all(l, log, kind, number, w, &p);
		if (code != EXIT_OK)
			return code;
		proof_format(&p, &text);
	}
	if (buf_status(&text) < 0)
		return ctl_fail(EXIT_FAILED, "no memory");
	if (record &&
	    (code = audit_put(record_fd, record, w->record.data, w->record.len)) != EXIT_OK)
		return code;
	return audit_put(out_fd, out, text.data, text.len);
}

int ctl_audit_prove(struct ctl *c)
{
	const char *log = ctl_opt(c, "log"), *from = ctl_opt(c, "from");
	enum proof_kind kind = from ? PROOF_CONSISTENCY : PROOF_INCLUSION;
	struct whole w = {0};
	uint64_t number;
	int code;

	if ((c->nwords == 1) == (from != NULL))
		return ctl_fail(EXIT_USAGE, "the number of a record, or --from SIZE");
	if (from && ctl_opt(c, "record-out"))
		return ctl_fail(EXIT_USAGE, "--record-out goes with the number of a record");
	if (str_to_u64(from ? from : c->word[0], 1, INT64_MAX, &number) < 0)
		return ctl_fail(EXIT_USAGE, "%s is a number from 1 on", from ? "SIZE" : "SEQ");
	w.wanted = kind == PROOF_INCLUSION ? number : 0;
	buf_init(&w.note, NOTE_MAX);
	buf_init(&w.record, RECORD_MAX);
	code = prove(c, log ? log : LOG_HOST, kind, number, &w);
	buf_done(&w.note);
	buf_done(&w.record);
	free(w.leaf);
	return code;
}

/* ---- checking ---- */

static int load(const char *path, size_t max, struct buf *b)
{
	struct err e = ERR_INIT;

	buf_init(b, max);
	if (fd_read_file(AT_FDCWD, path, max, b, &e) < 0)
		return ctl_fail(EXIT_UNREADABLE, "%s: %s", path, err_text(&e));
	return b->len ? EXIT_OK : ctl_fail(EXIT_UNREADABLE, "%s: it is empty", path);
}

static int check_inclusion(
    struct ctl *c, const struct proof *p, const struct checkpoint *at, struct err *e)
{
	const char *path = ctl_opt(c, "record");
	cleanup_buf struct buf record = {0};
	int code;

	if (!path)
		return ctl_fail(EXIT_USAGE, "a proof of a record needs --record FILE");
	if ((code = load(path, RECORD_MAX, &record)) != EXIT_OK)
		return code;
	return proof_check_inclusion(p, at, record.data, record.len, e) < 0 ? EXIT_BROKEN : EXIT_OK;
}

static int check_growth(struct ctl *c, const struct proof *p, const struct checkpoint *at,
    const struct audit_keys *keys, struct err *e)
{
	const char *path = ctl_opt(c, "from-checkpoint");
	cleanup_buf struct buf old = {0};
	struct proof_answer a;
	int code;

	if (!path)
		return ctl_fail(EXIT_USAGE, "a proof of growth needs --from-checkpoint FILE");
	if ((code = load(path, NOTE_MAX, &old)) != EXIT_OK)
		return code;
	if (proof_note(old.data, old.len, keys->key, keys->n, &a, e) < 0)
		return EXIT_SIGNATURE;
	return proof_check_consistency(p, at, &a.checkpoint, e) < 0 ? EXIT_BROKEN : EXIT_OK;
}

static int said(struct ctl *c, const struct proof *p, const struct proof_answer *a)
{
	char origin[2 * NOTE_NAME_MAX];
	json_t *o;

	if (c->json) {
		o = json_pack("{s:s, s:s, s:I, s:I, s:b}", "proves",
		    p->kind == PROOF_INCLUSION ? "inclusion" : "consistency", "origin",
		    a->checkpoint.origin, p->kind == PROOF_INCLUSION ? "record" : "from",
		    (json_int_t)(p->number + (p->kind == PROOF_INCLUSION)), "size",
		    (json_int_t)a->checkpoint.size, "witnessed", a->witnessed);
		(void)ctl_json(o);
		json_decref(o);
		return EXIT_OK;
	}
	str_escape(origin, sizeof origin, a->checkpoint.origin, strlen(a->checkpoint.origin));
	if (p->kind == PROOF_INCLUSION)
		(void)printf(
		    "proved: it is record %llu of %s\n", (unsigned long long)p->number + 1, origin);
	else
		(void)printf("proved: %s still begins as it was at %llu records\n", origin,
		    (unsigned long long)p->number);
	(void)printf("by the checkpoint of %llu records, signed%s\n",
	    (unsigned long long)a->checkpoint.size, a->witnessed ? " and witnessed" : "");
	return EXIT_OK;
}

int ctl_audit_check_proof(struct ctl *c)
{
	cleanup_free struct audit_keys *keys = calloc(1, sizeof *keys);
	cleanup_buf struct buf text = {0};
	struct err e = ERR_INIT;
	struct proof_answer a;
	struct proof p;
	int code, r;

	if (!keys)
		return ctl_fail(EXIT_FAILED, "no memory");
	if ((code = load(c->word[0], PROOF_MAX, &text)) != EXIT_OK ||
	    (code = audit_keys_load(c, keys)) != EXIT_OK)
		return code;
	if (proof_parse((const char *)text.data, text.len, &p, &e) < 0)
		return ctl_fail(EXIT_UNREADABLE, "%s: %s", c->word[0], err_text(&e));
	if (keys->n == 0)
		return ctl_fail(EXIT_NO_KEY, "no key was given: --key or --keys");
	r = proof_note(p.checkpoint, p.checkpoint_len, keys->key, keys->n, &a, &e);
	if (r < 0)
		return ctl_fail(EXIT_SIGNATURE, "%s: %s", c->word[0], err_text(&e));
	code = p.kind == PROOF_INCLUSION ? check_inclusion(c, &p, &a.checkpoint, &e)
	                                 : check_growth(c, &p, &a.checkpoint, keys, &e);
	if (code == EXIT_OK)
		return said(c, &p, &a);
	return *e.text ? ctl_fail(code, "%s", err_text(&e)) : code;
}
