#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/core.h"
#include "broker/core/export_internal.h"
#include "broker/core/peer.h"
#include "broker/store/store.h"
#include "creds/sealer.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/msg.h"

/*
 * A witness has seen another log than ours: most likely the store and the signer were set back
 * together, which nobody but a witness can tell. Nothing new starts until an operator accepts it
 * (config witnesses.conflict), and it is shown until that witness signs again.
 *
 * There is no break note of it: the signer breaks only from what it has signed and remembers, and
 * nobody here knows the root that the witness has. The acceptance is a record.
 *
 * STORE_CURSORS, "@conflict" NUL log: what stands of one log, as JSON, so that neither a restart
 * nor an exporter that keeps silent ends it.
 */

#define CONFLICT_KEY    "@conflict" /* beside the cursors; no sink has such a name */
#define CONFLICTS_PER_S 1           /* that are recorded; all are shown */
#define CONFLICTS_BURST 32
#define BREAKS_MAX      256 /* of one log, that are looked through */

_Static_assert(sizeof CONFLICT_KEY + NAME_MAX_LEN <= STORE_KEY_MAX, "the key has to fit");

static size_t key_of(const struct export_log *l, char dst[STORE_KEY_MAX])
{
	memcpy(dst, CONFLICT_KEY, sizeof CONFLICT_KEY);
	memcpy(dst + sizeof CONFLICT_KEY, l->name, strlen(l->name));
	return sizeof CONFLICT_KEY + strlen(l->name);
}

/* ---- kept ---- */

static int keep(struct exporter *x, const struct export_log *l)
{
	json_auto_t *list = json_array();
	char key[STORE_KEY_MAX], *text;
	int r;

	if (!l->conflicts)
		return store_later_key(x->core->store, STORE_CURSORS, key, key_of(l, key), NULL, 0);
	for (const struct export_conflict *c = l->conflicts; c; c = c->next)
		(void)json_array_append_new(
		    list, json_pack("{s:s, s:I, s:s, s:I, s:b}", "witness", c->witness, "size",
		              (json_int_t)c->size, "reason", c->reason, "since_s",
		              (json_int_t)c->since_s, "accepted", c->accepted));
	if (!(text = json_dumps(list, JSON_COMPACT)))
		return -ENOMEM;
	r = store_later_key(x->core->store, STORE_CURSORS, key, key_of(l, key), text, strlen(text));
	free(text);
	return r;
}

static struct export_conflict *add(struct export_log *l, const char *witness, uint64_t size)
{
	struct export_conflict *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	(void)str_copy(c->witness, sizeof c->witness, witness);
	c->size = size;
	c->next = l->conflicts;
	l->conflicts = c;
	return c;
}

void export_conflicts_load(struct exporter *x, struct export_log *l)
{
	json_auto_t *list = NULL;
	cleanup_buf struct buf b;
	char key[STORE_KEY_MAX];
	json_t *o;
	size_t i;

	buf_init(&b, STORE_VALUE_MAX);
	if (l->loaded)
		return;
	l->loaded = true;
	if (store_get(x->core->store, STORE_CURSORS, key, key_of(l, key), &b) < 0)
		return;
	list = json_loadb((const char *)b.data, b.len, JSON_REJECT_DUPLICATES, NULL);
	json_array_foreach(list, i, o)
	{
		const char *witness = json_string_value(json_object_get(o, "witness"));
		const char *reason = json_string_value(json_object_get(o, "reason"));
		json_int_t size = json_integer_value(json_object_get(o, "size"));
		struct export_conflict *c;

		if (!witness || !export_config_witness(export_config_of(x), witness) ||
		    !(c = add(l, witness, (uint64_t)size)))
			continue;
		(void)str_copy(c->reason, sizeof c->reason, reason ? reason : "");
		c->since_s = json_integer_value(json_object_get(o, "since_s"));
		c->accepted = json_is_true(json_object_get(o, "accepted"));
	}
}

static void drop(struct export_conflict **at)
{
	struct export_conflict *c = *at;

	*at = c->next;
	free(c);
}

void export_conflicts_forget(struct exporter *x, struct export_log *l)
{
	struct export_conflict **at = &l->conflicts;
	bool changed = false;

	while (*at) {
		if (export_config_witness(export_config_of(x), (*at)->witness)) {
			at = &(*at)->next;
			continue;
		}
		drop(at);
		changed = true;
	}
	if (changed)
		(void)keep(x, l);
}

void export_conflict_over(
    struct exporter *x, struct export_log *l, const char *witness, uint64_t size)
{
	for (struct export_conflict **at = &l->conflicts; *at; at = &(*at)->next) {
		if (strcmp((*at)->witness, witness) != 0 || size < (*at)->size)
			continue;
		log_warn("witness %s agrees again with log %s", witness, l->name);
		drop(at);
		(void)keep(x, l);
		return;
	}
}

/* ---- what is accepted ---- */

static int on_break(uint64_t number, const void *note, size_t len, void *arg)
{
	uint64_t *most = arg;
	struct break_note b;
	struct note n;

	(void)number;
	if (note_parse(note, len, &n, NULL) < 0)
		return 0;
	if (break_note_parse(n.text, n.text_len, &b, NULL) == 0 && b.old_size > *most)
		*most = b.old_size;
	note_done(&n);
	return 0;
}

/* An accepted break says that the log had come as far as this witness has seen. */
static bool broken_off(struct exporter *x, const struct export_log *l, uint64_t size)
{
	struct store *s = x->core->store;
	uint64_t last = 0, most = 0;

	if (logs_break_last(s, l->number, &last) < 0 || last == 0)
		return false;
	return logs_break_walk(s, l->number, last > BREAKS_MAX ? last - BREAKS_MAX : 1, BREAKS_MAX,
	           on_break, &most) >= 0 &&
	       size <= most;
}

bool export_conflict_stands(struct exporter *x, struct export_log *l, struct export_conflict *c)
{
	if (!c->accepted && broken_off(x, l, c->size)) {
		c->accepted = true;
		(void)keep(x, l);
	}
	return !c->accepted;
}

bool export_ok(struct core *c, char *why, size_t size)
{
	struct exporter *x = c->exporting;

	if (!x || export_config_of(x)->conflict_warn)
		return true;
	for (size_t i = 0; i < x->nlogs; i++)
		for (struct export_conflict *k = x->log[i]->conflicts; k; k = k->next) {
			if (!export_conflict_stands(x, x->log[i], k))
				continue;
			(void)snprintf(why, size,
			    "witness %s has seen %llu records of another log %s; an operator has "
			    "to accept it",
			    k->witness, (unsigned long long)k->size, x->log[i]->name);
			return false;
		}
	return true;
}

int export_accept(struct core *c)
{
	struct exporter *x = c->exporting;
	bool any = false;
	int r;

	for (size_t i = 0; x && i < x->nlogs; i++) {
		struct export_log *l = x->log[i];

		for (struct export_conflict *k = l->conflicts; k; k = k->next) {
			if (!export_conflict_stands(x, l, k))
				continue;
			if ((r = note(c, "log.conflict.accepted", NULL, NULL,
			         json_pack("{s:s, s:s, s:I, s:I}", "log", l->name, "witness",
			             k->witness, "size", (json_int_t)k->size, "ours",
			             (json_int_t)l->size))) < 0)
				return r;
			k->accepted = any = true;
			if ((r = keep(x, l)) < 0) {
				k->accepted = false;
				return r;
			}
		}
	}
	/* said to be accepted only when it is on the disk */
	return any ? c->log->ops->flush(c->log) : 0;
}

/* ---- the message ---- */

static struct export_conflict *find(const struct export_log *l, const char *witness)
{
	for (struct export_conflict *c = l->conflicts; c; c = c->next)
		if (strcmp(c->witness, witness) == 0)
			return c;
	return NULL;
}

/* Recorded when it begins, and once for each witness and log until that witness has signed again:
 * whoever says it cannot fill the log with it. Of more than was accepted it begins anew. */
int export_witness_conflict(struct peer *p, struct msg *m, struct err *e)
{
	struct exporter *x = p->core->exporting;
	const struct export_witness *w =
	    export_config_witness(export_config_of(x), msg_str(m, "witness"));
	struct export_log *l = w ? export_log_find(x, msg_str(m, "log")) : NULL;
	const char *reason = msg_str(m, "reason");
	uint64_t size = (uint64_t)msg_int(m, "size", 0);
	struct export_conflict *c;

	if (!l)
		return export_refuse(p, m, "there is no such witness or log");
	c = find(l, w->key.name);
	if (c && (!c->accepted || size <= c->size))
		return 0;
	if (!c && !(c = add(l, w->key.name, size)))
		return err_set(e, -ENOMEM, "no memory");
	c->size = size;
	c->accepted = false;
	str_escape(c->reason, sizeof c->reason, reason, strlen(reason));
	c->since_s = core_now_s(p->core);
	(void)keep(x, l);
	/* told, and forgotten by a signature, as often as somebody likes */
	if (!rate_take(&x->told_conflicts, clock_mono_ns(), CONFLICTS_PER_S, CONFLICTS_BURST))
		return 0;
	log_error("witness %s has seen another log %s than this one, of %llu records; ours has "
	          "%llu: %s%s",
	    c->witness, l->name, (unsigned long long)c->size, (unsigned long long)l->size,
	    c->reason,
	    export_config_of(x)->conflict_warn || !export_conflict_stands(x, l, c)
	        ? ""
	        : ": nothing new starts until an operator accepts it (postern audit ack)");
	(void)note(p->core, "log.conflict", NULL, NULL,
	    json_pack("{s:s, s:s, s:I, s:I, s:s}", "log", l->name, "witness", c->witness, "size",
	        (json_int_t)c->size, "ours", (json_int_t)l->size, "reason", c->reason));
	return 0;
}
