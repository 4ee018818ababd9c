#include <stdio.h>
#include <string.h>

#include "broker/ctl/ctl.h"
#include "broker/ctl/table.h"
#include "lib/clock.h"
#include "lib/util.h"

/* broker/core/ctl_answers.h has the shapes. */

#define CELL 256
#define LINE 2048 /* of a field */

enum { STARTED = 7, ENDS }; /* columns of `session list` */

/* A time to the second: a table for people has no room for six digits more. --json has them. */
static void cut_fraction(char *time)
{
	char *dot = strchr(time, '.');

	if (dot)
		memcpy(dot, "Z", sizeof "Z");
}

int ctl_session_list(struct ctl *c)
{
	static const char *const columns[] = {"ID", "STATE", "TENANT", "ROLE", "PERSON", "PEER",
	    "ROUTE", "STARTED", "ENDS", "CHANNELS", "REASON", NULL};
	static const char *const keys[] = {"id", "state", "tenant", "role", "person", "peer",
	    "route", [STARTED] = "started", [ENDS] = "ends", "channels", "reason"};
	cleanup_table struct table *t = table_new(columns);
	json_auto_t *data = NULL;
	json_t *body = json_object(), *list, *s;
	const char *tenant = ctl_opt(c, "tenant");
	size_t i;
	int code;

	if (tenant)
		(void)json_object_set_new(body, "tenant", json_string(tenant));
	if (ctl_opt(c, "all"))
		(void)json_object_set_new(body, "all", json_true());
	if ((code = ctl_query(c, "ctl.sessions", body, &data)) != EXIT_OK)
		return code;
	if (c->json)
		return ctl_json(data);
	list = json_object_get(data, "sessions");
	if (!t)
		return ctl_fail(EXIT_FAILED, "no memory");
	json_array_foreach(list, i, s)
	{
		char text[ARRAY_LEN(keys)][CELL] = {""};
		const char *cells[ARRAY_LEN(keys)];

		for (size_t k = 0; k < ARRAY_LEN(keys); k++)
			cells[k] = json_text(s, keys[k], text[k], CELL);
		cut_fraction(text[STARTED]);
		cut_fraction(text[ENDS]);
		table_row(t, cells);
	}
	if (json_array_size(list) == 0)
		(void)puts("no sessions");
	else
		table_print(t, stdout);
	if (json_is_true(json_object_get(data, "more")))
		(void)puts("(there are more)");
	return EXIT_OK;
}

static void print_rows(const json_t *data, const char *key, const char *const *columns,
    const char *const *keys, size_t n)
{
	json_t *list = json_object_get(data, key), *o;
	cleanup_table struct table *t = NULL;
	size_t i;

	if (json_array_size(list) == 0 || !(t = table_new(columns)))
		return;
	json_array_foreach(list, i, o)
	{
		char text[TABLE_COLUMNS_MAX][CELL];
		const char *cells[TABLE_COLUMNS_MAX];

		for (size_t k = 0; k < n; k++)
			cells[k] = json_text(o, keys[k], text[k], CELL);
		table_row(t, cells);
	}
	(void)printf("\n%s:\n", key);
	table_print(t, stdout);
}

/* An object within an object: its scalars on one line. */
static void print_inner(const char *name, json_t *o)
{
	char text[CELL], line[LINE];
	const char *key, *value;
	json_t *v;
	size_t n = 0;

	line[0] = '\0';
	json_object_foreach(o, key, v)
	{
		if ((value = json_text(v, NULL, text, sizeof text)) && *value && n < sizeof line)
			n += (size_t)snprintf(
			    line + n, sizeof line - n, "%s%s=%s", n ? " " : "", key, value);
	}
	if (n)
		field_print(stdout, name, line);
}

/* A row for each thing that the object says; a list of objects has a row for each of them. */
static void print_object(const json_t *data, const char *object)
{
	json_t *v, *o;
	char name[64], value[LINE];
	const char *key;
	size_t i;

	json_object_foreach(json_object_get(data, object), key, v)
	{
		(void)snprintf(name, sizeof name, "%s %.40s", object, key);
		if (json_is_object(v)) {
			print_inner(name, v);
		} else if (json_is_object(json_array_get(v, 0))) {
			json_array_foreach(v, i, o) print_inner(name, o);
		} else if (json_text(v, NULL, value, sizeof value) && *value) {
			field_print(stdout, name, value);
		}
	}
}

/* Seconds since 1970, and a span, as people say them; what is empty says nothing. */
static void print_grant(const json_t *data)
{
	json_t *grant = json_object_get(data, "grant"), *v;
	char name[64], value[LINE];
	const char *key;

	json_object_foreach(grant, key, v)
	{
		size_t n = strlen(key);

		if (strcmp(key, "expires_s") == 0) {
			clock_format(value, sizeof value, json_integer_value(v) * NSEC_PER_SEC);
			cut_fraction(value);
		} else if (strcmp(key, "lifetime_s") == 0) {
			span_text(value, sizeof value, json_integer_value(v));
		} else if (!json_text(v, NULL, value, sizeof value) || !*value) {
			continue;
		}
		if (n > 2 && strcmp(key + n - 2, "_s") == 0)
			n -= 2;
		(void)snprintf(name, sizeof name, "grant %.*s", (int)(n < 50 ? n : 50), key);
		field_print(stdout, name, value);
	}
}

int ctl_session_show(struct ctl *c)
{
	static const char *const fields[] = {"id", "state", "tenant", "role", "template", "person",
	    "task", "peer", "route", "conn", "started", "ends", "ended", "reason", "pid"};
	static const char *const objects[] = {"plan", "enforced", "totals"};
	static const char *const open_columns[] = {
	    "CHANNEL", "KIND", "PTY", "STARTED", "COMMAND", NULL};
	static const char *const open_keys[] = {"channel", "kind", "pty", "started", "command"};
	static const char *const lease_columns[] = {
	    "LEASE", "KIND", "STATE", "ISSUED", "EXPIRES", "AUDIENCE", NULL};
	static const char *const lease_keys[] = {
	    "id", "kind", "state", "issued", "expires", "audience"};
	json_auto_t *data = NULL;
	char text[2048];
	int code;

	code = ctl_query(c, "ctl.session", json_pack("{s:s}", "session", c->word[0]), &data);
	if (code != EXIT_OK || c->json)
		return code != EXIT_OK ? code : ctl_json(data);
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		field_print(stdout, fields[i], json_text(data, fields[i], text, sizeof text));
	print_grant(data);
	for (size_t i = 0; i < ARRAY_LEN(objects); i++)
		print_object(data, objects[i]);
	print_rows(data, "open", open_columns, open_keys, ARRAY_LEN(open_keys));
	print_rows(data, "leases", lease_columns, lease_keys, ARRAY_LEN(lease_keys));
	return EXIT_OK;
}

int ctl_session_kill(struct ctl *c)
{
	json_t *body = json_pack("{s:s}", "session", c->word[0]);
	const char *reason = ctl_opt(c, "reason");
	json_auto_t *data = NULL;
	char id[CELL], state[CELL];
	int code;

	if (reason)
		(void)json_object_set_new(body, "reason", json_string(reason));
	if ((code = ctl_query(c, "ctl.kill", body, &data)) != EXIT_OK || c->json)
		return code != EXIT_OK ? code : ctl_json(data);
	field_print(stdout, json_text(data, "session", id, sizeof id) ? id : c->word[0],
	    json_text(data, "state", state, sizeof state) ? state : "ended");
	return EXIT_OK;
}
