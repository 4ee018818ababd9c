#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "broker/audit/show.h"
#include "broker/ctl/audit_timeline.h"
#include "broker/ctl/table.h"
#include "lib/buf.h"
#include "lib/str.h"

/* A session's timeline for people. */

#define SHOWN 400 /* of a command or a reason */

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static json_int_t number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static void put(struct buf *out, const char *s)
{
	show_text(out, s, strlen(s), SHOWN);
}

/* " WORD VALUE" if there is one. */
static void put_word(struct buf *out, const char *word, const char *value)
{
	if (!*value)
		return;
	buf_printf(out, "%s", word);
	put(out, value);
}

static const char *span(char dst[32], json_int_t ms)
{
	if (ms < 0)
		ms = 0;
	if (ms < 1000)
		(void)snprintf(dst, 32, "%lld ms", (long long)ms);
	else if (ms < 60000)
		(void)snprintf(
		    dst, 32, "%lld.%lld s", (long long)ms / 1000, (long long)ms % 1000 / 100);
	else
		(void)span_text(dst, 32, ms / 1000);
	return dst;
}

static const char *size(char dst[32], json_int_t n)
{
	return size_text(dst, 32, n < 0 ? 0 : n);
}

/* ---- the head ---- */

static void put_list(struct buf *out, const char *word, const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *s = json_string_value(json_array_get(list, i));

		buf_printf(out, "%s", i == 0 ? word : ", ");
		put(out, s ? s : "?");
	}
}

static void put_grant(struct buf *out, const json_t *t)
{
	const json_t *g = json_object_get(t, "grant");
	char life[32];

	if (!g) {
		buf_printf(out, "  grant      not in what was read\n");
		return;
	}
	buf_printf(out, "  grant     ");
	put_list(out, " ", json_object_get(g, "actions"));
	put_list(out, "; credentials ", json_object_get(g, "credentials"));
	put_list(out, "; egress ", json_object_get(g, "egress"));
	buf_printf(out, "; %lld channels, at most %s\n", (long long)number(g, "channels"),
	    span(life, number(g, "lifetime_s") * 1000));
	if (*text(g, "force_command")) {
		put_word(out, "  forced     ", text(g, "force_command"));
		buf_printf(out, "\n");
	}
	if (*text(g, "policy")) {
		put_word(out, "  policy     ", text(g, "policy"));
		buf_printf(out, ", revision %lld\n", (long long)number(g, "revision"));
	}
}

static void put_who(struct buf *out, const json_t *t)
{
	put_word(out, "  who        ", *text(t, "person") ? text(t, "person") : "-");
	put_word(out, " as ", text(t, "role"));
	put_word(out, ", task ", text(t, "task"));
	buf_printf(out, "\n");
	if (*text(t, "key")) {
		put_word(out, "  key        ", text(t, "key"));
		put_word(out, ", key id ", text(t, "key_id"));
		put_word(out, ", certificate serial ", text(t, "serial"));
		put_word(out, ", CA ", text(t, "ca"));
		buf_printf(out, "\n");
	}
	put_word(out, "  from       ", *text(t, "peer") ? text(t, "peer") : "-");
	put_word(out, " by ", strcmp(text(t, "route"), "sshd") == 0 ? "sshd" : "ssh");
	put_word(out, ", ", text(t, "client"));
	buf_printf(out, "\n");
}

static void put_limits(struct buf *out, const json_t *t)
{
	const json_t *limits = json_object_get(t, "limits");

	char memory[32], disk[32];

	if (!json_object_size(limits))
		return;
	buf_printf(out, "  limits     memory %s, disk %s, %lld processes, cpu %lld %%\n",
	    size(memory, number(limits, "memory_bytes")), size(disk, number(limits, "disk_bytes")),
	    (long long)number(limits, "pids"), (long long)number(limits, "cpu_percent"));
}

/* ---- events ---- */

static void put_totals(struct buf *out, const json_t *o)
{
	char in[32], back[32], err[32];

	buf_printf(out, ", %s in, %s out, %s err", size(in, number(o, "bytes_in")),
	    size(back, number(o, "bytes_out")), size(err, number(o, "bytes_err")));
}

static void put_command(struct buf *out, const json_t *e)
{
	char took[32];

	put(out, text(e, "kind"));
	buf_printf(out, "%s ", json_object_get(e, "pty") ? " (terminal)" : "");
	put(out, text(e, "command"));
	put_word(out, ", forced to ", text(e, "forced"));
	buf_printf(out, "\n%14s", "");
	if (!*text(e, "ended")) {
		buf_printf(out, "has not ended");
		return;
	}
	buf_printf(out, "%s", span(took, number(e, "ms")));
	if (*text(e, "signal"))
		put_word(out, ", signal ", text(e, "signal"));
	else if (json_object_get(e, "exit"))
		buf_printf(out, ", exit %lld", (long long)number(e, "exit"));
	if (json_object_get(e, "bytes_out"))
		put_totals(out, e);
	put_word(out, ", ", text(e, "reason"));
}

static void put_credential(struct buf *out, const json_t *e)
{
	char took[32];

	put_word(out, "credential ", text(e, "kind"));
	put_word(out, " for ", text(e, "audience"));
	put_word(out, ", lease ", text(e, "lease"));
	if (!*text(e, "ended")) {
		buf_printf(out, ", has not ended");
		return;
	}
	buf_printf(out, ", ended after %s", span(took, number(e, "ms")));
	put_word(out, ": ", text(e, "reason"));
}

/* Texts that the watch has escaped already: a word a line would be long, so as they were given. */
static void put_program(struct buf *out, const json_t *e)
{
	const json_t *argv = json_object_get(e, "argv");

	put_word(out, "program ", text(e, "path"));
	for (size_t i = 0; i < json_array_size(argv); i++) {
		const char *s = json_string_value(json_array_get(argv, i));

		buf_printf(out, "%s", i == 0 ? ": " : " ");
		put(out, s ? s : "?");
	}
	if (json_is_true(json_object_get(e, "cut")))
		buf_printf(out, " (cut)");
}

static void put_event(struct buf *out, const json_t *e)
{
	const char *what = text(e, "what");
	char at[32], plus[40];

	(void)snprintf(plus, sizeof plus, "+%s", span(at, number(e, "at_ms")));
	buf_printf(out, "  %-10s  ", plus);
	if (strcmp(what, "command") == 0) {
		put_command(out, e);
	} else if (strcmp(what, "credential") == 0) {
		put_credential(out, e);
	} else if (strcmp(what, "program") == 0) {
		put_program(out, e);
	} else if (strcmp(what, "programs unsaid") == 0) {
		buf_printf(out, "%lld more programs, not told one by one",
		    (long long)number(e, "dropped"));
	} else if (strcmp(what, "refusal") == 0) {
		put_word(out, "REFUSED ", text(e, "class"));
		put_word(out, ": ", text(e, "reason"));
		put_word(out, ", rule ", text(e, "rule"));
		put_word(out, ": ", text(e, "command"));
		put_word(out, " ", text(e, "audience"));
	} else if (strcmp(what, "files changed") == 0) {
		buf_printf(out, "%lld files changed, %lld flagged", (long long)number(e, "changed"),
		    (long long)number(e, "flagged"));
	} else {
		put(out, text(e, "class"));
		buf_printf(out, " ");
		show_json(json_object_get(e, "body"), JSON_COMPACT, out);
	}
	buf_printf(out, "\n");
}

static const char *many(char dst[40], json_int_t n, const char *what)
{
	(void)snprintf(dst, 40, "%lld %s%s", (long long)n, what, n == 1 ? "" : "s");
	return dst;
}

static void put_end(struct buf *out, const json_t *t)
{
	const json_t *totals = json_object_get(t, "totals");
	char took[32], memory[32], a[40], b[40];

	if (strcmp(text(t, "state"), "open") == 0) {
		buf_printf(out, "  not ended\n");
		return;
	}
	put_word(out, "  ended      ", text(t, "ended"));
	if (json_object_get(t, "lasted_ms"))
		buf_printf(out, " after %s", span(took, number(t, "lasted_ms")));
	put_word(out, ": ", text(t, "reason"));
	buf_printf(out, "\n");
	if (!totals)
		return;
	buf_printf(out, "  totals     %s, %s", many(a, number(totals, "channels"), "command"),
	    many(b, number(totals, "leases"), "credential"));
	put_totals(out, totals);
	if (json_object_get(totals, "cpu_us"))
		buf_printf(out, ", cpu %s, memory %s", span(took, number(totals, "cpu_us") / 1000),
		    size(memory, number(totals, "memory_peak")));
	if (number(totals, "leases_unsaid"))
		buf_printf(out, ", %s too many",
		    many(a, number(totals, "leases_unsaid"), "credential question"));
	buf_printf(out, "\n");
}

void timeline_text(const json_t *t, struct buf *out)
{
	const json_t *events = json_object_get(t, "events");

	put_word(out, "session ", text(t, "session"));
	put_word(out, " of tenant ", text(t, "log"));
	put_word(out, ", connection ", text(t, "conn"));
	put_word(out, ", ", text(t, "state"));
	buf_printf(out, "\n");
	put_who(out, t);
	put_grant(out, t);
	put_limits(out, t);
	put_word(out, "  started    ", text(t, "started"));
	put_word(out, ", template ", text(t, "template"));
	buf_printf(out, "\n");
	for (size_t i = 0; i < json_array_size(events); i++)
		put_event(out, json_array_get(events, i));
	if (number(t, "more_events"))
		buf_printf(out, "  and %lld more\n", (long long)number(t, "more_events"));
	put_end(out, t);
}
