#include "broker/core/ctl_sessions.h"

#include <stdlib.h>
#include <string.h>

#include "broker/core/conn.h"
#include "broker/core/ctl_answers.h"
#include "broker/core/lease.h"
#include "broker/core/session.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/msg.h"
#include "lib/util.h"

#define CTL_SESSIONS_BYTES (MSG_MAX - 4096)
#define COMMAND_SHOWN      256

/* What a row has that is nobody's business but a restarted core's. */
static const char *const internal[] = {"started_ns", "ends_boot_ns", "boot", "tie"};
static const char *const details[] = {"grant", "plan", "enforced", "pid", "totals"};

static void drop(json_t *o, const char *const *keys, size_t n)
{
	for (size_t i = 0; i < n; i++)
		(void)json_object_del(o, keys[i]);
}

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

struct rows {
	const char *tenant;
	json_t *list; /* of rows */
	char last[STORE_KEY_MAX + 1];
	size_t n;
};

static int on_row(const void *key, size_t klen, const void *value, size_t len, void *arg)
{
	struct rows *r = arg;
	json_t *o = json_loadb(value, len, JSON_REJECT_DUPLICATES, NULL);

	memcpy(r->last, key, klen < STORE_KEY_MAX ? klen : STORE_KEY_MAX);
	r->last[klen < STORE_KEY_MAX ? klen : STORE_KEY_MAX] = '\0';
	r->n++;
	if (strcmp(text(o, "state"), "ended") != 0 ||
	    (r->tenant && strcmp(text(o, "tenant"), r->tenant) != 0))
		json_decref(o);
	else
		(void)json_array_append_new(r->list, o);
	return 0;
}

/* Ended sessions, in no order. */
static json_t *ended(struct core *c, const char *tenant)
{
	struct rows r = {.tenant = tenant, .list = json_array()};

	if (c->store)
		(void)store_walk(c->store, STORE_SESSIONS, "", 0, STORE_WALK_MAX, on_row, &r);
	return r.list;
}

static int newest_first(const void *a, const void *b)
{
	const json_t *const *x = a, *const *y = b;

	return strcmp(text(*y, "started"), text(*x, "started"));
}

/* The rows of list as an array that is sorted; the pointers are borrowed. */
static json_t **sorted(json_t *list)
{
	size_t n = json_array_size(list);
	json_t **rows = calloc(n + 1, sizeof *rows);

	for (size_t i = 0; rows && i < n; i++)
		rows[i] = json_array_get(list, i);
	if (rows)
		qsort(rows, n, sizeof *rows, newest_first);
	return rows;
}

/* One more, taken over. False: the answer has no room for it, as people have long names. */
static bool add(json_t *list, json_t *o, size_t *left)
{
	size_t n = json_dumpb(o, NULL, 0, JSON_COMPACT) + 1;

	if (n > *left || json_array_size(list) >= CTL_SESSIONS_MAX) {
		json_decref(o);
		return false;
	}
	*left -= n;
	return json_array_append_new(list, o) == 0;
}

static void add_ended(struct core *c, const char *tenant, json_t *list, size_t *left, bool *more)
{
	json_auto_t *rows = ended(c, tenant);
	cleanup_free json_t **order = sorted(rows);

	for (size_t i = 0; order && order[i]; i++) {
		drop(order[i], internal, ARRAY_LEN(internal));
		drop(order[i], details, ARRAY_LEN(details));
		if (!add(list, json_incref(order[i]), left)) {
			*more = true;
			return;
		}
	}
}

json_t *ctl_sessions(struct core *c, const char *tenant, bool all)
{
	json_t *list = json_array();
	size_t left = CTL_SESSIONS_BYTES;
	bool more = false;

	for (const struct session *s = c->sessions; s; s = s->next) {
		if (tenant && strcmp(s->grant.tenant, tenant) != 0)
			continue;
		if (!add(list, session_summary(s), &left)) {
			more = true;
			break;
		}
	}
	if (all)
		add_ended(c, tenant, list, &left, &more);
	return json_pack("{s:o, s:b}", "sessions", list, "more", more ? 1 : 0);
}

/* The beginning of a command, so much that all of a session's fit one answer. */
static json_t *beginning(const char *s)
{
	json_t *v = NULL;

	for (size_t n = strnlen(s, COMMAND_SHOWN); n > 0; n /= 2) {
		v = json_stringn(s, n); /* NULL: the cut is within a character */
		if (v && json_dumpb(v, NULL, 0, JSON_ENCODE_ANY) <= 2 * COMMAND_SHOWN)
			return v;
		json_decref(v);
		v = NULL;
	}
	return v;
}

static json_t *open_channels(const struct session *s)
{
	json_t *list = json_array();
	char started[32];

	for (const struct channel *ch = s->conn ? s->conn->channels : NULL; ch; ch = ch->next) {
		json_t *o = json_pack("{s:I, s:s, s:b}", "channel", (json_int_t)ch->id, "kind",
		    command_kind_name(ch->command.kind), "pty", ch->command.pty ? 1 : 0);

		clock_format(started, sizeof started, ch->started_ns);
		if (o && ch->command.text)
			(void)json_object_set_new(o, "command", beginning(ch->command.text));
		if (o)
			(void)json_object_set_new(o, "started", json_string(started));
		(void)json_array_append_new(list, o);
	}
	return list;
}

static json_t *live(const struct session *s)
{
	json_t *o = session_summary(s);

	if (!o)
		return NULL;
	(void)json_object_set_new(o, "grant", grant_json(&s->grant));
	(void)json_object_set_new(o, "plan", plan_pack(&s->plan));
	if (s->enforced)
		(void)json_object_set(o, "enforced", s->enforced);
	(void)json_object_set_new(o, "pid", json_integer(s->pid));
	(void)json_object_set_new(o, "leases", lease_list(s));
	(void)json_object_set_new(o, "open", open_channels(s));
	return o;
}

json_t *ctl_session(struct core *c, const char *id)
{
	const struct session *s = session_find(c, id);
	cleanup_buf struct buf b = {0};
	json_t *o;

	buf_init(&b, STORE_VALUE_MAX);
	if (s)
		return live(s);
	if (!c->store || strlen(id) == 0 || strlen(id) > CORE_ID_MAX ||
	    store_get(c->store, STORE_SESSIONS, id, strlen(id), &b) < 0)
		return NULL;
	o = json_loadb((const char *)b.data, b.len, JSON_REJECT_DUPLICATES, NULL);
	if (o)
		drop(o, internal, ARRAY_LEN(internal));
	return o;
}

void ctl_sessions_prune(struct core *c)
{
	json_auto_t *rows = ended(c, NULL);
	cleanup_free json_t **order = sorted(rows);

	for (size_t i = 0; order && order[i]; i++)
		if (i >= SESSION_ENDED_KEPT)
			(void)store_later(c->store, STORE_SESSIONS, text(order[i], "id"), NULL, 0);
}
