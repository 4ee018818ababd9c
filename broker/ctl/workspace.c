#include <stdio.h>
#include <string.h>

#include "broker/ctl/ctl.h"
#include "broker/ctl/table.h"
#include "lib/clock.h"
#include "lib/util.h"

/* broker/core/ctl_workspace.h; the shapes of answers are those of broker/workspace/store.h. */

#define CELL 256

static json_t *body_of(const struct ctl *c, const char *op)
{
	json_t *body = json_pack("{s:s}", "op", op);
	const char *tenant = ctl_opt(c, "tenant");

	if (tenant)
		(void)json_object_set_new(body, "tenant", json_string(tenant));
	return body;
}

static void add(json_t *body, const char *key, const char *value)
{
	if (value)
		(void)json_object_set_new(body, key, json_string(value));
}

static int perform(struct ctl *c, json_t *body, const char *said)
{
	json_auto_t *data = NULL;
	char tenant[CELL], name[CELL], line[2 * CELL + 2];
	int code = ctl_query(c, "ctl.workspace", body, &data);

	if (code != EXIT_OK || c->json)
		return code != EXIT_OK ? code : ctl_json(data);
	(void)snprintf(line, sizeof line, "%s/%s", json_text(data, "tenant", tenant, CELL),
	    json_text(data, "workspace", name, CELL));
	field_print(stdout, line, said);
	return EXIT_OK;
}

static void time_text(char *dst, size_t size, const json_t *o, const char *key)
{
	char *dot;

	clock_format(dst, size, json_integer_value(json_object_get(o, key)) * NSEC_PER_SEC);
	if ((dot = strchr(dst, '.')))
		memcpy(dot, "Z", sizeof "Z");
}

static void names(char *dst, size_t size, const json_t *list)
{
	char text[CELL];
	size_t i, n = 0;
	json_t *v;

	dst[0] = '\0';
	json_array_foreach(list, i, v)
	{
		const char *name = json_text(v, "name", text, sizeof text);

		if (name && n < size)
			n += (size_t)snprintf(dst + n, size - n, "%s%s", n ? " " : "", name);
	}
}

int ctl_workspace_list(struct ctl *c)
{
	static const char *const columns[] = {
	    "TENANT", "NAME", "CREATED", "LAYERS", "WRITER", "READERS", "SNAPSHOTS", NULL};
	cleanup_table struct table *t = table_new(columns);
	json_auto_t *data = NULL;
	json_t *list, *w;
	size_t i;
	int code;

	if ((code = ctl_query(c, "ctl.workspace", body_of(c, "list"), &data)) != EXIT_OK || c->json)
		return code != EXIT_OK ? code : ctl_json(data);
	if (!t)
		return ctl_fail(EXIT_FAILED, "no memory");
	list = json_object_get(data, "workspaces");
	json_array_foreach(list, i, w)
	{
		char tenant[CELL], name[CELL], layers[CELL], writer[CELL], readers[CELL];
		char created[CELL], snapshots[2048];
		const char *who = json_is_string(json_object_get(w, "writer"))
		                      ? json_text(w, "writer", writer, CELL)
		                      : "";

		time_text(created, sizeof created, w, "created_s");
		names(snapshots, sizeof snapshots, json_object_get(w, "snapshots"));
		const char *cells[] = {json_text(w, "tenant", tenant, CELL),
		    json_text(w, "name", name, CELL), created, json_text(w, "layers", layers, CELL),
		    who, json_text(w, "readers", readers, CELL), snapshots};

		table_row(t, cells);
	}
	if (json_array_size(list) == 0)
		(void)puts("no workspaces");
	else
		table_print(t, stdout);
	if (json_is_true(json_object_get(data, "more")))
		(void)puts("(there are more: name a --tenant)");
	return EXIT_OK;
}

int ctl_workspace_create(struct ctl *c)
{
	json_t *body = body_of(c, "create");

	add(body, "workspace", c->word[0]);
	return perform(c, body, "created");
}

int ctl_workspace_snapshot(struct ctl *c)
{
	json_t *body = body_of(c, "snapshot");

	add(body, "workspace", c->word[0]);
	add(body, "snapshot", c->word[1]);
	return perform(c, body, "kept");
}

int ctl_workspace_fork(struct ctl *c)
{
	json_t *body = body_of(c, "fork");

	add(body, "workspace", c->word[0]);
	add(body, "to", c->word[1]);
	add(body, "snapshot", ctl_opt(c, "snapshot"));
	return perform(c, body, "forked");
}

int ctl_workspace_rollback(struct ctl *c)
{
	json_t *body = body_of(c, "rollback");

	add(body, "workspace", c->word[0]);
	add(body, "snapshot", c->word[1]);
	return perform(c, body, "rolled back");
}

int ctl_workspace_delete(struct ctl *c)
{
	json_t *body = body_of(c, "delete");

	add(body, "workspace", c->word[0]);
	add(body, "snapshot", ctl_opt(c, "snapshot"));
	return perform(c, body, "deleted");
}
