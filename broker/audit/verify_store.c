/*
 * Verification of a log in the store (verify.h): its records, its tree, its head, and what
 * belongs to no log.
 */
#include "broker/audit/verify.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/chain.h"
#include "broker/audit/logs.h"
#include "broker/audit/prune.h"
#include "broker/store/store.h"
#include "lib/err.h"
#include "lib/reader.h"

struct logs {
	struct log_info info[LOGS_MAX];
	size_t n;
};

static int on_log(const struct log_info *l, void *arg)
{
	struct logs *all = arg;

	if (all->n == LOGS_MAX)
		return -EUCLEAN;
	all->info[all->n++] = *l;
	return 0;
}

/* The records of all logs are one table, so that what belongs to none is met as well. */
struct walk {
	struct store *s;
	struct verify *v;
	struct err *e;
	uint32_t only; /* the log that is walked */
	size_t n;
	bool other; /* a record of another log was met */
	uint32_t other_log;
};

static int damaged(struct walk *w)
{
	w->v->broken = w->v->seq + 1;
	return err_set(w->e, -EBADMSG, "log %s: record %llu has a damaged key", w->v->log,
	    (unsigned long long)w->v->seq + 1);
}

static int on_record(const void *key, size_t klen, const void *value, size_t len, void *arg)
{
	struct walk *w = arg;
	struct reader r;
	uint32_t log;
	uint64_t seq;

	reader_init(&r, key, klen);
	if (reader_u32(&r, &log) < 0 || reader_u64(&r, &seq) < 0 || reader_end(&r) < 0)
		return damaged(w);
	if (log != w->only) {
		w->other = true;
		w->other_log = log;
		return 1;
	}
	w->n++;
	return verify_record(w->v, seq, value, len, w->e);
}

static int check_tree(struct verify *v, const struct log_head *head, struct err *e)
{
	uint8_t ours[DIGEST_LEN], theirs[DIGEST_LEN];

	merkle_root(&v->tree, ours);
	merkle_root(&head->tree, theirs);
	if (head->tree.size == v->tree.size && memcmp(ours, theirs, DIGEST_LEN) == 0)
		return 0;
	v->broken = v->seq;
	return err_set(e, -EBADMSG, "log %s: its tree is not that of its records", v->log);
}

/* *ret_next: the log of the first record behind this one's, UINT64_MAX: none. */
static int walk_log(struct store *s, uint32_t log, const char *name, struct verify *v,
    uint64_t *ret_next, struct err *e)
{
	struct walk w = {.s = s, .v = v, .e = e, .only = log};
	uint8_t from[LOG_KEY_LEN];
	struct log_head head;
	struct log_edge edge;
	int r;

	verify_init(v);
	if ((r = logs_head(s, log, &head, e)) < 0 || (r = log_edge_get(s, log, &edge, e)) < 0)
		return r == -EUCLEAN ? -EBADMSG : r;
	if (edge.seq > 0) { /* what is before it is in the archive */
		verify_init_at(v, edge.seq, edge.leaf);
		v->tree = edge.tree;
		v->partial = false;
	}
	(void)str_copy(v->log, sizeof v->log, name);
	do {
		w.n = 0;
		/* record 0 does not exist; were it there, it would be found here */
		log_key(log, v->seq ? v->seq + 1 : 0, from);
		r = store_walk(s, STORE_RECORDS, from, v->seq ? sizeof from : 4, STORE_WALK_MAX,
		    on_record, &w);
		if (r < 0)
			return v->broken ? r : err_set(e, r, "the records cannot be read");
	} while (w.n == STORE_WALK_MAX);
	*ret_next = w.other ? w.other_log : UINT64_MAX;
	if ((r = verify_head(v, head.seq, head.leaf, e)) < 0)
		return r;
	return check_tree(v, &head, e);
}

int verify_log(struct store *s, uint32_t log, const char *name, struct verify *v, struct err *e)
{
	uint64_t next;

	return walk_log(s, log, name, v, &next, e);
}

static int check_first(struct store *s, const struct logs *all, struct err *e)
{
	struct verify v;
	uint64_t next;
	int r;

	/* a store that has records and no list of logs */
	if (all->n > 0 && all->info[0].number == LOG_HOST_NUMBER)
		return 0;
	r = walk_log(s, LOG_HOST_NUMBER, LOG_HOST, &v, &next, e);
	if (r < 0)
		return r;
	return next == UINT64_MAX || (all->n > 0 && next >= all->info[0].number)
	           ? 0
	           : err_set(e, -EBADMSG, "there are records of a log that does not exist");
}

static int verify_all(struct store *s, const struct logs *all, struct verify *ret, struct err *e)
{
	uint64_t total = 0, next;
	struct verify v;
	int r = check_first(s, all, e);

	for (size_t i = 0; r == 0 && i < all->n; i++) {
		r = walk_log(s, all->info[i].number, all->info[i].name, &v, &next, e);
		if (r < 0 || v.seq > 0)
			*ret = v;
		total += v.seq;
		if (r == 0 && next != UINT64_MAX &&
		    (i + 1 == all->n || next < all->info[i + 1].number))
			r = err_set(e, -EBADMSG,
			    "there are records of a log that does not exist, number %llu",
			    (unsigned long long)next);
	}
	if (r == 0)
		ret->seq = total;
	return r;
}

int verify_store(struct store *s, struct verify *ret, struct err *e)
{
	struct logs *all = calloc(1, sizeof *all);
	int r;

	verify_init(ret);
	if (!all)
		return err_set(e, -ENOMEM, "no memory for the list of logs");
	if ((r = logs_list(s, on_log, all)) < 0)
		r = err_set(e, r == -EUCLEAN ? -EBADMSG : r, "the list of logs cannot be read");
	else
		r = verify_all(s, all, ret, e);
	free(all);
	return r;
}
