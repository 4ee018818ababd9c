#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "broker/core/config.h"
#include "broker/core/core.h"
#include "broker/core/export_internal.h"
#include "broker/core/peer.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/msg.h"

/* What is said of exporting: postern status. broker/core/ctl_answers.h has the shape. */

#define SHOWN_MAX  128 /* logs in one answer */
#define ALARMS_MAX 32
#define ALARM_MAX  800

/* ---- what the exporter says ---- */

static const struct msg_field said_fields[] = {
    {"name", MSG_STRING, NOTE_NAME_MAX, false},
    {"kind", MSG_STRING, 16, false},
    {"state", MSG_STRING, EXPORT_STATE_MAX, false},
    {"reason", MSG_STRING, 512, true},
    {"sent", MSG_INT, INT64_MAX, true},
    {"since_s", MSG_INT, INT64_MAX, true},
    {NULL},
};

/* Kept as it is said, of those alone that are configured, and shown as the exporter's words. */
int export_state(struct peer *p, struct msg *m, struct err *e)
{
	struct exporter *x = p->core->exporting;
	const struct export_config *c = export_config_of(x);
	json_t *list = msg_obj(m, "sinks"), *o;
	size_t i;

	json_array_foreach(list, i, o)
	{
		if (msg_check_fields("export.state", o, said_fields, e) < 0)
			return -EBADMSG;
	}
	x->nsaid = 0;
	json_array_foreach(list, i, o)
	{
		const char *name = json_string_value(json_object_get(o, "name"));
		const char *state = json_string_value(json_object_get(o, "state"));
		const char *reason = json_string_value(json_object_get(o, "reason"));
		struct export_said *s = &x->said[x->nsaid];

		if (x->nsaid == sizeof x->said / sizeof x->said[0])
			break;
		if (!export_config_sink(c, name) && !export_config_witness(c, name))
			continue;
		memset(s, 0, sizeof *s);
		(void)str_copy(s->name, sizeof s->name, name);
		str_escape(s->state, sizeof s->state, state, strlen(state));
		if (reason)
			str_escape(s->reason, sizeof s->reason, reason, strlen(reason));
		s->sent = (uint64_t)json_integer_value(json_object_get(o, "sent"));
		s->since_s = json_integer_value(json_object_get(o, "since_s"));
		x->nsaid++;
	}
	return 0;
}

static const struct export_said *said_of(const struct exporter *x, const char *name)
{
	static const struct export_said nothing = {.state = "unknown"};

	for (size_t i = 0; x->core->exporter && i < x->nsaid; i++)
		if (strcmp(x->said[i].name, name) == 0)
			return &x->said[i];
	return &nothing;
}

/* ---- sinks and witnesses ---- */

static json_t *one_sink(struct exporter *x, const struct export_sink *s)
{
	const struct export_said *said = said_of(x, s->name);
	uint64_t behind = 0;
	json_int_t logs = 0;

	for (size_t i = 0; i < x->nlogs; i++) {
		struct export_cursor *k;

		if (!export_sink_wants(s, x->log[i]->name))
			continue;
		logs++;
		k = export_cursor_get(x, s->name, x->log[i]);
		if (!k || k->seq < x->log[i]->size)
			behind += x->log[i]->size - (k ? k->seq : 0);
	}
	return json_pack("{s:s, s:s, s:s, s:b, s:s, s:s, s:I, s:I, s:I, s:I}", "name", s->name,
	    "kind", export_kind_name(s->kind), "to", export_sink_where(s), "personal", s->personal,
	    "state", said->state, "reason", said->reason, "since_s", (json_int_t)said->since_s,
	    "sent", (json_int_t)said->sent, "logs", logs, "behind", (json_int_t)behind);
}

static json_t *one_witness(struct exporter *x, const struct export_witness *w)
{
	const struct export_said *said = said_of(x, w->key.name);

	return json_pack("{s:s, s:s, s:s, s:s, s:I}", "name", w->key.name, "url", w->url, "state",
	    said->state, "reason", said->reason, "since_s", (json_int_t)said->since_s);
}

static json_t *one_log(struct exporter *x, struct export_log *l)
{
	json_int_t lag = export_lag_s(x, l);

	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "log", l->name, "size",
	    (json_int_t)l->size, "sealed", (json_int_t)l->sealed, "witnessed",
	    (json_int_t)l->witnessed, "unwitnessed",
	    (json_int_t)(l->size > l->witnessed ? l->size - l->witnessed : 0), "lag_s", lag);
}

json_t *export_witness_keys(const struct core *c)
{
	json_t *list = json_array();

	for (size_t i = 0; c->config && i < c->config->export.nwitnesses; i++) {
		cleanup_buf struct buf b;

		buf_init(&b, EXPORT_URL_MAX);
		note_key_format(&c->config->export.witnesses[i].key, &b);
		if (buf_cstr(&b))
			(void)json_array_append_new(list, json_string((const char *)b.data));
	}
	return list;
}

/* ---- alarms ---- */

static void alarm(json_t *list, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void alarm(json_t *list, const char *fmt, ...)
{
	char text[ALARM_MAX];
	va_list ap;

	if (json_array_size(list) >= ALARMS_MAX)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	(void)json_array_append_new(list, json_string(text));
}

static void alarms_of(struct exporter *x, struct export_log *l, json_t *list)
{
	int64_t lag = export_lag_s(x, l);

	for (struct export_conflict *c = l->conflicts; c; c = c->next)
		alarm(list, "witness %s has seen another log %s, of %llu records: %s%s", c->witness,
		    l->name, (unsigned long long)c->size, c->reason,
		    export_config_of(x)->conflict_warn || !export_conflict_stands(x, l, c)
		        ? ""
		        : "; nothing new starts until postern audit ack");
	if (lag > EXPORT_LAG_S && l->witnessed == 0)
		alarm(list, "log %s: no record of it is witnessed yet, for %lld seconds", l->name,
		    (long long)lag);
	else if (lag > EXPORT_LAG_S)
		alarm(list, "log %s: nothing newer than record %llu is witnessed, for %lld seconds",
		    l->name, (unsigned long long)l->witnessed, (long long)lag);
}

/* A server that restarts is away for less. */
static void alarm_of_sink(struct exporter *x, const struct export_sink *s, json_t *list)
{
	const struct export_said *said = said_of(x, s->name);
	int64_t now_s = clock_wall_ns() / NSEC_PER_SEC, for_s = now_s - said->since_s;

	if (strcmp(said->state, "failing") == 0 && for_s > EXPORT_SINK_S)
		alarm(list, "sink %s has been failing for %lld seconds: %s", s->name,
		    (long long)for_s, said->reason);
}

json_t *export_status(struct core *c)
{
	json_t *sinks = json_array(), *witnesses = json_array(), *logs = json_array(),
	       *alarms = json_array();
	const struct export_config *config;
	struct exporter *x = c->exporting;

	if (!x) {
		json_decref(sinks);
		json_decref(witnesses);
		json_decref(logs);
		json_decref(alarms);
		return json_null();
	}
	config = export_config_of(x);
	export_look(x);
	if (!c->exporter && export_wanted(x))
		alarm(alarms, "the exporter is not there: nothing leaves this host");
	for (size_t i = 0; i < config->nsinks; i++) {
		(void)json_array_append_new(sinks, one_sink(x, &config->sinks[i]));
		alarm_of_sink(x, &config->sinks[i], alarms);
	}
	for (size_t i = 0; i < config->nwitnesses; i++)
		(void)json_array_append_new(witnesses, one_witness(x, &config->witnesses[i]));
	for (size_t i = 0; i < x->nlogs && config->nwitnesses > 0; i++) {
		if (i < SHOWN_MAX)
			(void)json_array_append_new(logs, one_log(x, x->log[i]));
		alarms_of(x, x->log[i], alarms);
	}
	return json_pack("{s:b, s:o, s:I, s:o, s:o, s:b, s:I, s:o}", "running", c->exporter != NULL,
	    "sinks", sinks, "quorum", (json_int_t)config->quorum, "witnesses", witnesses, "logs",
	    logs, "more", config->nwitnesses > 0 && x->nlogs > SHOWN_MAX, "skipped",
	    (json_int_t)x->skipped, "alarms", alarms);
}
