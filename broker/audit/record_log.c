#include "broker/audit/record_log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/private.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/err.h"

#define LLU(x) ((unsigned long long)(x))

void waiting_free(struct waiting *w)
{
	json_decref(w->subject);
	json_decref(w->body);
	free(w);
}

void record_log_free(struct record_log_state *l)
{
	tree_tail_free(l->tail);
	free(l);
}

/* ---- loading ---- */

struct beyond {
	uint64_t seq;
	bool found, head;
	uint8_t leaf[DIGEST_LEN];
};

static int on_newest(uint64_t seq, const void *data, size_t len, void *arg)
{
	struct beyond *b = arg;

	if (seq > b->seq) {
		b->found = true;
		return 1;
	}
	b->head = true;
	merkle_leaf(data, len, b->leaf);
	return 0;
}

int record_log_load(struct store *s, struct record_log_state *l, struct err *e)
{
	struct tree_tail *tail = NULL;
	struct beyond b = {0};
	struct log_head head;
	int r;

	if ((r = logs_head(s, l->number, &head, e)) < 0)
		return r;
	/* what lies behind a head that was set back would be written over, and with it what it
	 * tells */
	b.seq = head.seq;
	r = logs_walk(s, l->number, head.seq, 2, on_newest, &b);
	if (r < 0)
		return err_set(e, r, "log %s: its records cannot be read", l->name);
	if (b.found)
		return err_set(e, -EUCLEAN, "log %s: there are records behind the newest, %llu",
		    l->name, LLU(head.seq));
	if (head.seq > 0 && !b.head)
		return err_set(e, -EUCLEAN, "log %s: the newest record, %llu, is missing", l->name,
		    LLU(head.seq));
	if (head.seq > 0 && memcmp(b.leaf, head.leaf, DIGEST_LEN) != 0)
		return err_set(e, -EUCLEAN,
		    "log %s: the newest record, %llu, does not match the log's head", l->name,
		    LLU(head.seq));
	if ((r = tree_tail_load(s, l->number, &head.tree, &tail, e)) < 0)
		return r;
	tree_tail_free(l->tail);
	l->tail = tail;
	l->head = head;
	l->suspect = false;
	return 0;
}

/* ---- writing ---- */

struct personal {
	struct private_values *values;
	const char *conn, *person;
	struct err *e;
	int r;
	char text[PRIVATE_TEXT_LEN + 1];
};

static const char *member(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

/* Whom a record is about, if it says so. */
static const char *person_of(const struct waiting *w)
{
	const char *p = member(w->subject, "person");

	if (!p)
		p = member(w->body, "person");
	if (!p)
		p = member(json_object_get(w->body, "grant"), "person");
	return p ? p : "";
}

static const char *hide(const char *key, const char *value, size_t len, void *arg)
{
	struct personal *p = arg;
	const char *person = p->person;

	if (len == 0 || p->r < 0 || !private_field(key))
		return NULL;
	if (!*person && strcmp(key, "peer") != 0)
		person = value; /* a name that nobody has proved to be theirs is that name's */
	p->r = private_commit(p->values, p->conn, person, value, len, p->text, p->e);
	return p->r < 0 ? "" : p->text;
}

int record_log_put(struct store *s, struct private_values *values, struct waiting *w,
    int64_t time_ns, uint64_t quota, struct buf *scratch, struct buf *spill, struct err *e)
{
	struct record_log_state *l = w->log;
	const char *conn = member(w->subject, "conn");
	struct personal p = {values, conn ? conn : "", person_of(w), e, 0, ""};
	struct chain_what what = {.log = l->name,
	    .class_name = w->class_name,
	    .tenant = l->number == LOG_HOST_NUMBER ? "" : l->name,
	    .subject = w->subject,
	    .body = w->body,
	    .wall_ns = clock_wall_ns(),
	    .personal = values ? hide : NULL,
	    .personal_arg = &p,
	    .spill = spill};
	struct chain_next next;
	uint8_t key[LOG_KEY_LEN];
	int r;

	if (what.wall_ns < time_ns && strcmp(w->class_name, CHAIN_CLOCK_CLASS) != 0)
		what.wall_ns = time_ns;
	if (!l->touched) {
		l->touched = true;
		l->work = l->head;
	}
	buf_reset(scratch);
	r = chain_format(&l->work, &what, scratch, &next);
	if (r == 0)
		r = p.r;
	if (r < 0)
		return err_set(e, r, "a record of class %s cannot be written", w->class_name);
	if (quota > 0 && l->work.bytes + next.len + next.body_len > quota) {
		w->r = -EDQUOT;
		return 0;
	}
	log_key(l->number, next.seq, key);
	if ((r = store_put(s, STORE_RECORDS, key, sizeof key, scratch->data, next.len, e)) < 0 ||
	    (r = tree_append(s, l->number, &l->work.tree, l->tail, next.leaf, e)) < 0)
		return r;
	if (next.body_len > 0 &&
	    (r = store_put(s, STORE_BODIES, key, sizeof key, spill->data, spill->len, e)) < 0)
		return r;
	chain_advance(&l->work, &next);
	w->seq = next.seq;
	return 0;
}

int record_log_put_head(struct store *s, struct record_log_state *l, struct err *e)
{
	uint8_t packed[LOG_HEAD_MAX], key[4];
	cleanup_buf struct buf row;
	char created[32];
	int r;

	log_number_key(l->number, key);
	if (!l->known) {
		buf_init(&row, 256);
		clock_format(created, sizeof created, clock_wall_ns());
		buf_printf(&row, "{\"name\":\"%s\",\"created\":\"%s\"}", l->name, created);
		r = store_put(s, STORE_LOGS, key, sizeof key, row.data, row.len, e);
		if (r < 0)
			return r;
	} else {
		buf_init(&row, 0);
	}
	return store_put(
	    s, STORE_HEADS, key, sizeof key, packed, log_head_pack(&l->work, packed), e);
}

/* ---- limits ---- */

void coalesced_add(struct coalesced *c, const char *class_name)
{
	size_t i = 0;

	while (i < c->n && strcmp(c->classes[i].class_name, class_name) != 0)
		i++;
	if (i == COALESCED_CLASSES)
		(void)str_copy(c->classes[i].class_name, sizeof c->classes[i].class_name, "others");
	else if (i == c->n)
		(void)str_copy(
		    c->classes[i].class_name, sizeof c->classes[i].class_name, class_name);
	if (i == c->n && i < COALESCED_CLASSES)
		c->n++;
	c->classes[i].count++;
	c->total++;
}

json_t *coalesced_body(const struct coalesced *c, const char *reason)
{
	json_t *counts = json_object(), *body;

	for (size_t i = 0; counts && i <= COALESCED_CLASSES; i++)
		if (c->classes[i].count > 0 &&
		    json_object_set_new(counts, c->classes[i].class_name,
		        json_integer((json_int_t)c->classes[i].count)) < 0) {
			json_decref(counts);
			return NULL;
		}
	body = json_pack("{s:s, s:I, s:o}", "reason", reason, "records", (json_int_t)c->total,
	    "classes", counts);
	return body;
}
