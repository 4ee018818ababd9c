#include "broker/export/exporter.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "broker/export/archive.h"
#include "broker/export/http.h"
#include "broker/export/pull.h"
#include "broker/export/sink.h"
#include "broker/export/witness.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/msg.h"
#include "lib/util.h"

#define REPORT_NS     NSEC_PER_SEC
#define ALONE_S       30
#define BACKOFF_FIRST NSEC_PER_SEC
#define BACKOFF_LAST  (60 * NSEC_PER_SEC)

int64_t exporter_backoff_ns(unsigned failures)
{
	unsigned doublings = failures > 6 ? 6 : failures > 0 ? failures - 1 : 0;
	int64_t ns = BACKOFF_FIRST << doublings;
	uint32_t dice;

	if (ns > BACKOFF_LAST)
		ns = BACKOFF_LAST;
	fd_random(&dice, sizeof dice);
	return ns - ns / 4 + (int64_t)(dice % 1024) * (ns / 2) / 1024;
}

/* ---- export.state ---- */

static void report(struct loop *l, void *arg)
{
	struct exporter *x = arg;
	json_t *list;

	(void)l;
	if (!pull_up(x->pull) || !(list = json_array()))
		return;
	for (size_t i = 0; i < x->config->nsinks; i++)
		if (x->sinks[i])
			(void)json_array_append_new(list, sink_report(x->sinks[i]));
	for (size_t i = 0; i < x->config->nwitnesses; i++)
		if (x->witnesses[i])
			(void)json_array_append_new(list, witness_report(x->witnesses[i]));
	x->reported_ns = clock_mono_ns();
	(void)pull_tell(x->pull, "export.state", json_pack("{s:o}", "sinks", list));
}

void exporter_changed(struct exporter *x)
{
	int64_t wait = x->reported_ns + REPORT_NS - clock_mono_ns();

	loop_timer_set(x->report, x->reported_ns == 0 || wait < 0 ? 0 : wait);
}

/* ---- logs ---- */

static void wake(struct exporter *x)
{
	for (size_t i = 0; i < EXPORT_SINKS_MAX; i++)
		if (x->sinks[i])
			sink_wake(x->sinks[i]);
	for (size_t i = 0; i < EXPORT_WITNESSES_MAX; i++)
		if (x->witnesses[i])
			witness_wake(x->witnesses[i]);
}

static struct export_log *log_of(struct exporter *x, const char *name)
{
	for (size_t i = 0; i < x->nlogs; i++)
		if (strcmp(x->logs[i].name, name) == 0)
			return &x->logs[i];
	if (x->nlogs == EXPORT_LOGS_KNOWN_MAX ||
	    !str_copy(x->logs[x->nlogs].name, sizeof x->logs[0].name, name))
		return NULL;
	return &x->logs[x->nlogs++];
}

/* The first checkpoint that there is tells what the log is called. */
static int read_origin(struct export_log *l, const json_t *notes)
{
	cleanup_buf struct buf b;
	struct checkpoint c;
	struct note n;
	uint64_t size;
	const void *note;
	size_t len;
	int r;

	buf_init(&b, MSG_MAX);
	if ((r = msg_json_decode(json_array_get(notes, 0), &b)) < 0 ||
	    (r = pull_note(b.data, b.len, &size, &note, &len)) < 0 ||
	    (r = note_parse(note, len, &n, NULL)) < 0)
		return r;
	r = checkpoint_parse(n.text, n.text_len, &c, NULL);
	note_done(&n);
	if (r < 0)
		return r;
	(void)str_copy(l->origin, sizeof l->origin, c.origin);
	return 0;
}

static void ask_origins(struct exporter *x);

/* One question at a time. */
static void on_origin(int r, const struct msg *m, void *arg)
{
	struct exporter *x = arg;
	struct export_log *l = &x->logs[x->asking - 1];

	x->asking = 0;
	if (r == 0)
		r = read_origin(l, msg_obj(m, "notes"));
	if (r < 0) /* export.grown comes again with the next checkpoint, or a link with it */
		return;
	wake(x);
	ask_origins(x);
}

static bool needed(const struct exporter *x, const char *log)
{
	for (size_t i = 0; i < x->config->nsinks; i++)
		if (export_sink_wants(&x->config->sinks[i], log))
			return true;
	return false;
}

static void ask_origins(struct exporter *x)
{
	for (size_t i = 0; i < x->nlogs && x->asking == 0; i++) {
		size_t at = (x->turn + i) % x->nlogs;
		const struct export_log *l = &x->logs[at];

		if (*l->origin || l->checkpoint == 0 || !needed(x, l->name))
			continue;
		x->turn = at + 1;
		if (pull_ask(x->pull, "export.notes",
		        json_pack("{s:s, s:s, s:I}", "log", l->name, "kind", "checkpoint", "from",
		            (json_int_t)l->checkpoint),
		        on_origin, x) < 0)
			return;
		x->asking = at + 1;
	}
}

static uint64_t number(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	return json_is_integer(v) && json_integer_value(v) >= 0 ? (uint64_t)json_integer_value(v)
	                                                        : 0;
}

static void grown(struct exporter *x, const struct msg *m)
{
	json_t *list = msg_obj(m, "logs"), *o;
	size_t i;

	json_array_foreach(list, i, o)
	{
		const char *name = json_string_value(json_object_get(o, "log"));
		struct export_log *l = name ? log_of(x, name) : NULL;

		if (!l)
			continue;
		l->size = number(o, "size");
		l->checkpoint = number(o, "checkpoint");
	}
	ask_origins(x);
	wake(x);
}

/* ---- the link ---- */

static void linked(struct exporter *x)
{
	x->asking = 0;
	for (size_t i = 0; i < EXPORT_SINKS_MAX; i++)
		if (x->sinks[i])
			sink_linked(x->sinks[i]);
	for (size_t i = 0; i < EXPORT_WITNESSES_MAX; i++)
		if (x->witnesses[i])
			witness_linked(x->witnesses[i]);
	exporter_changed(x);
}

static void reload(struct exporter *x)
{
	struct err e = ERR_INIT;

	if (exporter_reload(x, &e) < 0)
		log_error("the configuration is not taken, the old one stays: %s", err_text(&e));
}

/* A core that is gone comes back, and the supervisor then gives us a new link. One that has dropped
 * us does not: another process may do better. */
static void on_alone(struct loop *l, void *arg)
{
	(void)arg;
	log_error("no link to the core for %d seconds: ending, to be started again", ALONE_S);
	loop_stop(l);
}

static void on_said(const struct msg *m, bool up, void *arg)
{
	struct exporter *x = arg;

	if (!m) {
		loop_timer_set(x->alone, up ? -1 : ALONE_S * NSEC_PER_SEC);
		if (up)
			linked(x);
	} else if (msg_is(m, "export.grown")) {
		grown(x, m);
	} else if (msg_is(m, "export.reload")) {
		reload(x);
	} else if (msg_is(m, "archive.cut")) {
		archive_cut(x->pull, x->archive_dir, m);
	}
}

int exporter_link(struct exporter *x, int fd)
{
	return pull_link(x->pull, fd);
}

/* ---- configuration ---- */

/* What was made for a new configuration, before it takes the place of the old. */
struct made {
	struct sink *sinks[EXPORT_SINKS_MAX];
	struct witness *witnesses[EXPORT_WITNESSES_MAX];
	bool kept_sink[EXPORT_SINKS_MAX], kept_witness[EXPORT_WITNESSES_MAX]; /* by old place */
};

static int make_sink(
    struct exporter *x, const struct export_sink *c, struct made *m, size_t at, struct err *e)
{
	for (size_t k = 0; k < EXPORT_SINKS_MAX; k++)
		if (x->sinks[k] && !m->kept_sink[k] && sink_same(x->sinks[k], c)) {
			m->kept_sink[k] = true;
			m->sinks[at] = x->sinks[k];
			return 0;
		}
	return sink_new(x, c, &m->sinks[at], e);
}

static int make_witness(
    struct exporter *x, const struct export_witness *c, struct made *m, size_t at, struct err *e)
{
	for (size_t k = 0; k < EXPORT_WITNESSES_MAX; k++)
		if (x->witnesses[k] && !m->kept_witness[k] &&
		    memcmp(witness_config(x->witnesses[k]), c, sizeof *c) == 0) {
			m->kept_witness[k] = true;
			m->witnesses[at] = x->witnesses[k];
			return 0;
		}
	return witness_new(x, c, &m->witnesses[at], e);
}

static bool kept(const struct exporter *x, const struct made *m, const void *one)
{
	for (size_t k = 0; k < EXPORT_SINKS_MAX; k++)
		if (m->kept_sink[k] && x->sinks[k] == one)
			return true;
	for (size_t k = 0; k < EXPORT_WITNESSES_MAX; k++)
		if (m->kept_witness[k] && x->witnesses[k] == one)
			return true;
	return false;
}

static void undo(struct exporter *x, struct made *m)
{
	for (size_t i = 0; i < EXPORT_SINKS_MAX; i++)
		if (m->sinks[i] && !kept(x, m, m->sinks[i]))
			sink_free(m->sinks[i]);
	for (size_t i = 0; i < EXPORT_WITNESSES_MAX; i++)
		if (m->witnesses[i] && !kept(x, m, m->witnesses[i]))
			witness_free(m->witnesses[i]);
}

static void replace(struct exporter *x, struct made *m)
{
	for (size_t i = 0; i < EXPORT_SINKS_MAX; i++) {
		if (x->sinks[i] && m->kept_sink[i])
			sink_reopen(x->sinks[i]);
		else
			sink_free(x->sinks[i]);
	}
	for (size_t i = 0; i < EXPORT_WITNESSES_MAX; i++)
		if (!m->kept_witness[i])
			witness_free(x->witnesses[i]);
	memcpy(x->sinks, m->sinks, sizeof m->sinks);
	memcpy(x->witnesses, m->witnesses, sizeof m->witnesses);
}

int exporter_reload(struct exporter *x, struct err *e)
{
	cleanup_free struct export_config *c = calloc(1, sizeof *c);
	cleanup_free struct made *m = calloc(1, sizeof *m);
	int r = c && m ? export_config_load(x->config_dir, c, e) : -ENOMEM;

	for (size_t i = 0; r == 0 && i < c->nsinks; i++)
		r = make_sink(x, &c->sinks[i], m, i, e);
	for (size_t i = 0; r == 0 && i < c->nwitnesses; i++)
		r = make_witness(x, &c->witnesses[i], m, i, e);
	if (r < 0) {
		if (m)
			undo(x, m);
		return r;
	}
	replace(x, m);
	*x->config = *c;
	ask_origins(x);
	exporter_changed(x);
	return 0;
}

int exporter_init(struct exporter *x, struct loop *l, int config_dir, int export_dir,
    int archive_dir, struct err *e)
{
	*x = (struct exporter){.loop = l,
	    .config_dir = config_dir,
	    .export_dir = export_dir,
	    .archive_dir = archive_dir};
	x->pull = pull_new(l, on_said, x);
	x->http = http_new(l);
	x->config = calloc(1, sizeof *x->config);
	/* all of them at once: places stay where they are, and the pages come when they are used */
	x->logs = calloc(EXPORT_LOGS_KNOWN_MAX, sizeof *x->logs);
	x->report = loop_timer(l, -1, report, x);
	x->alone = loop_timer(l, -1, on_alone, x);
	if (x->pull && x->http && x->config && x->logs && x->report && x->alone)
		return 0;
	exporter_done(x);
	return err_set(e, -ENOMEM, "no memory");
}

void exporter_done(struct exporter *x)
{
	for (size_t i = 0; i < EXPORT_SINKS_MAX; i++)
		sink_free(steal_ptr(&x->sinks[i]));
	for (size_t i = 0; i < EXPORT_WITNESSES_MAX; i++)
		witness_free(steal_ptr(&x->witnesses[i]));
	http_free(steal_ptr(&x->http));
	pull_free(steal_ptr(&x->pull));
	loop_remove(steal_ptr(&x->report));
	loop_remove(steal_ptr(&x->alone));
	free(steal_ptr(&x->config));
	free(steal_ptr(&x->logs));
}
