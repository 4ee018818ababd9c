#include "tests/support/record_memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/loop.h"

struct waiting {
	struct waiting *next;
	json_t *record;
	record_fn done;
	void *arg;
};

struct record_memory {
	struct record_log base;
	enum record_memory_mode mode;
	struct loop_source *commit;
	struct waiting *first, **last;
	json_t *records;
	int64_t behind_s;
};

static struct record_memory *self(struct record_log *l)
{
	return (struct record_memory *)l;
}

static int append(struct record_log *l, const char *class_name, const char *tenant, json_t *subject,
    json_t *body, bool critical, record_fn done, void *arg)
{
	struct waiting *w = calloc(1, sizeof *w);

	if (!w)
		return -ENOMEM;
	w->record = json_pack("{s:s, s:s, s:o?, s:o?, s:b}", "class", class_name, "tenant",
	    tenant ? tenant : "", "subject", subject, "body", body, "critical", critical ? 1 : 0);
	w->done = done;
	w->arg = arg;
	*self(l)->last = w;
	self(l)->last = &w->next;
	loop_defer_arm(self(l)->commit);
	return 0;
}

static int commit(struct record_memory *m)
{
	struct waiting *batch = m->first;
	int r = m->mode == RECORD_FAILS ? -ENOSPC : 0;

	m->first = NULL;
	m->last = &m->first;
	while (batch) {
		struct waiting *w = batch;

		batch = w->next;
		if (r == 0)
			(void)json_array_append(m->records, w->record);
		if (w->done)
			w->done(r, r < 0 ? 0 : json_array_size(m->records), w->arg);
		json_decref(w->record);
		free(w);
	}
	return r;
}

static int flush(struct record_log *l)
{
	return self(l)->mode == RECORD_HOLDS ? 0 : commit(self(l));
}

static void on_commit(struct loop *l, void *arg)
{
	(void)l;
	(void)flush(arg);
}

static int clock_ok(struct record_log *l, struct err *e)
{
	if (self(l)->behind_s <= 60)
		return 0;
	return err_set(
	    e, -ETIME, "the clock is %d s behind the newest record", (int)self(l)->behind_s);
}

static int clock_accept(struct record_log *l)
{
	self(l)->behind_s = 0;
	return 0;
}

static int64_t now_ns(struct record_log *l)
{
	return clock_wall_ns() + self(l)->behind_s * NSEC_PER_SEC;
}

static uint64_t size(struct record_log *l)
{
	return json_array_size(self(l)->records);
}

static void log_free(struct record_log *l)
{
	self(l)->mode = RECORD_FAILS;
	(void)commit(self(l));
	loop_remove(self(l)->commit);
	json_decref(self(l)->records);
	free(l);
}

static const struct record_ops ops = {
    append, flush, clock_ok, clock_accept, now_ns, size, log_free};

struct record_log *record_memory_new(struct loop *l)
{
	struct record_memory *m = calloc(1, sizeof *m);

	m->base.ops = &ops;
	m->last = &m->first;
	m->records = json_array();
	m->commit = loop_defer(l, on_commit, m);
	return &m->base;
}

void record_memory_mode(struct record_log *l, enum record_memory_mode mode)
{
	self(l)->mode = mode;
}

void record_memory_release(struct record_log *l)
{
	self(l)->mode = RECORD_COMMITS;
	(void)commit(self(l));
}

void record_memory_behind(struct record_log *l, int64_t seconds)
{
	self(l)->behind_s = seconds;
}

size_t record_memory_count(struct record_log *l, const char *class_name)
{
	size_t n = 0, i;
	json_t *r;

	json_array_foreach(self(l)->records, i, r) n +=
	    strcmp(json_string_value(json_object_get(r, "class")), class_name) == 0;
	return n;
}

json_t *record_memory_last(struct record_log *l, const char *class_name)
{
	for (size_t i = json_array_size(self(l)->records); i > 0; i--) {
		json_t *r = json_array_get(self(l)->records, i - 1);

		if (strcmp(json_string_value(json_object_get(r, "class")), class_name) == 0)
			return r;
	}
	return NULL;
}

const char *record_memory_text(struct record_log *l, const char *class_name, const char *field)
{
	const json_t *body = json_object_get(record_memory_last(l, class_name), "body");
	const char *s = json_string_value(json_object_get(body, field));

	return s ? s : "";
}
