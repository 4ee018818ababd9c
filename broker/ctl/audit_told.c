#include "broker/ctl/audit_told.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/logs.h"
#include "creds/note.h"
#include "lib/msg.h"
#include "lib/util.h"

void audit_told_done(struct audit_told *t)
{
	for (size_t i = 0; i < t->n; i++) {
		free(t->list[i].note);
		free(t->list[i].list);
	}
	free(t->list);
	*t = (struct audit_told){0};
}

struct told *audit_told_of(struct audit_told *t, const char *log)
{
	for (size_t i = 0; i < t->n; i++)
		if (strcmp(t->list[i].log, log) == 0)
			return &t->list[i];
	return NULL;
}

static struct told *add(struct audit_told *t, const char *log)
{
	struct told *p = reallocarray(t->list, t->n + 1, sizeof *p);

	if (!p)
		return NULL;
	t->list = p;
	p = &p[t->n++];
	*p = (struct told){.every = 1};
	(void)str_copy(p->log, sizeof p->log, log);
	return p;
}

static int keep(struct told *t, const struct ranges_told *one)
{
	if (++t->passed < t->every)
		return 0;
	t->passed = 0;
	if (t->n == TOLD_MAX) {
		for (size_t i = 0; i < TOLD_MAX / 2; i++)
			t->list[i] = t->list[2 * i + 1];
		t->n = TOLD_MAX / 2;
		t->every *= 2;
	}
	if (t->n == t->max) {
		size_t max = t->max ? 2 * t->max : 16;
		void *p = reallocarray(t->list, max, sizeof *t->list);

		if (!p)
			return -ENOMEM;
		t->list = p;
		t->max = max;
	}
	t->list[t->n++] = *one;
	return 0;
}

/* The epoch in the names of those who signed; 0 if none says one. */
static uint64_t epoch_in(const struct note *n)
{
	uint64_t epoch = 0;

	for (size_t i = 0; i < n->nsignatures && epoch == 0; i++) {
		const char *at = strstr(n->signatures[i].name, "/epoch/");

		if (at && str_to_u64(at + 7, 0, INT64_MAX, &epoch) < 0)
			epoch = 0;
	}
	return epoch;
}

static int hear(struct audit_told *all, const char *log, const char *note, const struct note *n,
    const struct checkpoint *c)
{
	struct ranges_told one = {.size = c->size, .epoch = epoch_in(n)};
	struct told *t = audit_told_of(all, log);
	char *copy;

	if (!t && all->n == LOGS_MAX)
		return 0;
	if ((!t && !(t = add(all, log))) || !(copy = strdup(note)))
		return -ENOMEM;
	/* the newest: a smaller one than before is that of a log that was set back */
	if (c->size < t->size && t->nshrunk < ARRAY_LEN(t->shrunk)) {
		t->shrunk[t->nshrunk].from = t->size;
		t->shrunk[t->nshrunk++].to = c->size;
	}
	free(t->note);
	t->note = copy;
	t->size = c->size;
	memcpy(one.root, c->root, DIGEST_LEN);
	return keep(t, &one);
}

int audit_told_record(struct audit_told *t, const void *data, size_t len)
{
	static const char word[] = "\"class\":\"log.checkpoint\"";
	json_auto_t *o = NULL;
	const char *log, *note;
	struct checkpoint c;
	struct note n;
	json_t *body;
	int r = 0;

	if (!memmem(data, len, word, sizeof word - 1) || msg_json_parse(data, len, &o, NULL) < 0)
		return 0;
	note = json_string_value(json_object_get(o, "class"));
	if (!note || strcmp(note, "log.checkpoint") != 0)
		return 0;
	body = json_object_get(o, "body");
	log = json_string_value(json_object_get(body, "log"));
	note = json_string_value(json_object_get(body, "note"));
	if (!log || strlen(log) > NAME_MAX_LEN || !note ||
	    note_parse(note, strlen(note), &n, NULL) < 0)
		return 0;
	if (checkpoint_parse(n.text, n.text_len, &c, NULL) == 0)
		r = hear(t, log, note, &n, &c);
	note_done(&n);
	return r;
}

int audit_told_give(const struct told *t, struct ranges *r)
{
	for (size_t i = 0; i < t->nshrunk; i++)
		ranges_shrunk(r, t->shrunk[i].from, t->shrunk[i].to);
	return ranges_tell(r, t->list, t->n);
}
