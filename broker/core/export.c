#include "broker/core/export.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/config.h"
#include "broker/core/core.h"
#include "broker/core/export_internal.h"
#include "broker/core/peer.h"
#include "broker/store/store.h"
#include "lib/clock.h"
#include "lib/loop.h"
#include "lib/msg.h"

#define GROWN_NS (EXPORT_GROWN_MS * (NSEC_PER_SEC / 1000))
#define LAG_NS   (10 * NSEC_PER_SEC)

const struct export_config *export_config_of(const struct exporter *x)
{
	static const struct export_config none;

	return x->core->config ? &x->core->config->export : &none;
}

bool export_wanted(const struct exporter *x)
{
	const struct export_config *c = export_config_of(x);

	return c->nsinks > 0 || c->nwitnesses > 0 || c->archive;
}

int export_refuse(struct peer *p, const struct msg *m, const char *why)
{
	if (m->id != 0)
		(void)peer_send(p, "export.refused", m->id, json_pack("{s:s}", "reason", why));
	return 0;
}

/* ---- logs ---- */

static struct export_log *known(const struct exporter *x, const char *name)
{
	for (size_t i = 0; i < x->nlogs; i++)
		if (strcmp(x->log[i]->name, name) == 0)
			return x->log[i];
	return NULL;
}

static int on_log(const struct log_info *info, void *arg)
{
	struct exporter *x = arg;
	struct export_log *l = known(x, info->name);

	if (l || x->nlogs == LOGS_MAX)
		return 0;
	if (!(l = calloc(1, sizeof *l)))
		return -ENOMEM;
	(void)str_copy(l->name, sizeof l->name, info->name);
	l->number = info->number;
	buf_init(&l->note, NOTE_MAX);
	x->log[x->nlogs++] = l;
	return 0;
}

static void look(struct exporter *x, struct export_log *l)
{
	struct store *s = x->core->store;
	cleanup_buf struct buf note;
	struct log_head head;
	uint64_t sealed;

	buf_init(&note, NOTE_MAX);
	export_conflicts_load(x, l);
	if (logs_head(s, l->number, &head, NULL) == 0)
		l->size = head.seq;
	if (logs_checkpoint_latest(s, l->number, INT64_MAX, &sealed, &note) == 0)
		l->sealed = sealed;
}

struct export_log *export_log_find(struct exporter *x, const char *name)
{
	struct export_log *l = known(x, name);

	/* logs come with commits: a name that is none costs one look for each of them */
	if (!l && x->listed != x->commits + 1 && logs_list(x->core->store, on_log, x) >= 0) {
		x->listed = x->commits + 1;
		l = known(x, name);
	}
	if (l)
		look(x, l);
	return l;
}

void export_look(struct exporter *x)
{
	(void)logs_list(x->core->store, on_log, x);
	for (size_t i = 0; i < x->nlogs; i++)
		look(x, x->log[i]);
}

/* ---- what has grown ---- */

static void tell(struct exporter *x)
{
	json_t *list = json_array();

	export_look(x);
	for (size_t i = 0; i < x->nlogs; i++) {
		struct export_log *l = x->log[i];

		if (l->size == l->told_size && l->sealed == l->told_sealed)
			continue;
		l->told_size = l->size;
		l->told_sealed = l->sealed;
		(void)json_array_append_new(
		    list, json_pack("{s:s, s:I, s:I}", "log", l->name, "size", (json_int_t)l->size,
		              "checkpoint", (json_int_t)l->sealed));
	}
	if (json_array_size(list) > 0)
		(void)peer_send(
		    x->core->exporter, "export.grown", 0, json_pack("{s:O}", "logs", list));
	json_decref(list);
}

static void on_grown(struct loop *loop, void *arg)
{
	struct exporter *x = arg;

	(void)loop;
	x->grown_armed = false;
	x->grown_ns = clock_mono_ns();
	export_cursors_keep(x);
	if (x->core->exporter && export_wanted(x))
		tell(x);
}

void export_soon(struct exporter *x)
{
	int64_t since = clock_mono_ns() - x->grown_ns;

	if (x->grown_armed)
		return;
	x->grown_armed = true;
	loop_timer_set(x->grown, since >= GROWN_NS ? 0 : GROWN_NS - since);
}

/* In the middle of a commit: nothing but the timer. */
static void on_commit(void *arg)
{
	struct exporter *x = arg;

	x->commits++;
	if (x->core->exporter && export_wanted(x))
		export_soon(x);
}

void export_linked(struct core *c)
{
	struct exporter *x = c->exporting;

	if (!x)
		return;
	for (size_t i = 0; i < x->nlogs; i++)
		x->log[i]->told_size = x->log[i]->told_sealed = 0;
	export_soon(x);
}

static void on_lag(struct loop *loop, void *arg)
{
	struct exporter *x = arg;

	(void)loop;
	loop_timer_set(x->lag, LAG_NS);
	export_lag_check(x);
}

void export_reloaded(struct core *c)
{
	struct exporter *x = c->exporting;

	if (!x)
		return;
	for (size_t i = 0; i < x->nlogs; i++) {
		x->log[i]->counted = false; /* holds for the witnesses of now alone */
		export_conflicts_forget(x, x->log[i]);
	}
	x->since_boot_ns = clock_boot_ns();
	loop_timer_set(x->lag, export_config_of(x)->nwitnesses > 0 ? LAG_NS : -1);
	if (c->exporter)
		(void)peer_send(c->exporter, "export.reload", 0, NULL);
	export_linked(c);
}

/* ---- for others ---- */

uint64_t export_witnessed(struct core *c, const char *log)
{
	struct exporter *x = c->exporting;
	struct export_log *l;

	if (!x || export_config_of(x)->nwitnesses == 0)
		return INT64_MAX;
	if (!(l = export_log_find(x, log)))
		return 0;
	export_witness_count(x, l);
	return l->witnessed;
}

uint64_t export_taken(struct core *c, const char *log)
{
	struct exporter *x = c->exporting;
	const struct export_config *config;
	uint64_t least = INT64_MAX;
	struct export_log *l;

	if (!x)
		return INT64_MAX;
	config = export_config_of(x);
	if (!(l = export_log_find(x, log)))
		return 0;
	for (size_t i = 0; i < config->nsinks; i++) {
		struct export_cursor *k;

		if (!export_sink_wants(&config->sinks[i], log))
			continue;
		k = export_cursor_get(x, config->sinks[i].name, l);
		if (!k || k->seq < least)
			least = k ? k->seq : 0;
	}
	return least;
}

/* ---- the beginning and the end ---- */

int export_start(struct core *c)
{
	struct exporter *x;

	if (!c->store)
		return 0;
	if (!(x = calloc(1, sizeof *x)))
		return -ENOMEM;
	c->exporting = x;
	x->core = c;
	x->since_boot_ns = clock_boot_ns();
	x->grown = loop_timer(c->loop, -1, on_grown, x);
	x->lag = loop_timer(c->loop, export_config_of(x)->nwitnesses > 0 ? LAG_NS : -1, on_lag, x);
	if (!x->grown || !x->lag)
		return -ENOMEM;
	store_on_commit(c->store, on_commit, x);
	export_look(x); /* a conflict that stands has to be known */
	return 0;
}

void export_finish(struct core *c)
{
	if (c->exporting)
		export_cursors_keep(c->exporting);
}

static void free_log(struct export_log *l)
{
	while (l->conflicts) {
		struct export_conflict *next = l->conflicts->next;

		free(l->conflicts);
		l->conflicts = next;
	}
	buf_done(&l->note);
	free(l);
}

void export_free(struct core *c)
{
	struct exporter *x = c->exporting;

	if (!x)
		return;
	c->exporting = NULL;
	store_on_commit(c->store, NULL, NULL);
	for (struct export_ticket *t = x->tickets; t; t = t->next)
		t->x = NULL;
	for (size_t i = 0; i < x->nlogs; i++)
		free_log(x->log[i]);
	for (size_t i = 0; i < x->ncursors; i++)
		free(x->cursor[i]);
	free(x->cursor);
	loop_remove(x->grown);
	loop_remove(x->lag);
	free(x);
}
