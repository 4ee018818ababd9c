#include <stdio.h>
#include <string.h>

#include "broker/ctl/ctl.h"
#include "broker/ctl/table.h"
#include "lib/clock.h"
#include "lib/util.h"

/* broker/core/ctl_answers.h has the shape. */

#define SEAL_TEXT 300

static json_int_t number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static void processes(const json_t *data)
{
	static const char *const columns[] = {"PROCESS", "PID", "UID", "UP", "RESTARTS", NULL};
	cleanup_table struct table *t = table_new(columns);
	json_t *list = json_object_get(data, "processes"), *p;
	size_t i;

	if (!t)
		return;
	json_array_foreach(list, i, p)
	{
		json_int_t started = number(p, "started_boot_ns");
		char role[64], pid[24], uid[24], restarts[24], up[32] = "-";

		if (started > 0)
			span_text(up, sizeof up, (clock_boot_ns() - started) / NSEC_PER_SEC);
		table_row(t,
		    (const char *[]){json_text(p, "role", role, sizeof role),
		        json_text(p, "pid", pid, sizeof pid), json_text(p, "uid", uid, sizeof uid),
		        up, json_text(p, "restarts", restarts, sizeof restarts)});
	}
	table_print(t, stdout);
	(void)putchar('\n');
}

/* Nested objects become "outer.inner". */
static void object(const char *title, const json_t *o)
{
	char name[96], text[1024], inner_name[160];
	json_t *v, *w;
	const char *key, *inner;

	(void)printf("%s:\n", title);
	json_object_foreach((json_t *)(uintptr_t)o, key, v)
	{
		(void)snprintf(name, sizeof name, "  %s", key);
		if (!json_is_object(v)) {
			field_print(stdout, name, json_text(v, NULL, text, sizeof text));
			continue;
		}
		json_object_foreach(v, inner, w)
		{
			(void)snprintf(inner_name, sizeof inner_name, "%s.%s", name, inner);
			field_print(stdout, inner_name, json_text(w, NULL, text, sizeof text));
		}
	}
}

/* Before there is no room: broker/core/space.h. */
static void space(const json_t *disk)
{
	char text[160];
	json_t *o;
	size_t i;

	json_array_foreach(json_object_get(disk, "warnings"), i, o)
	{
		const char *what = json_string_value(json_object_get(o, "what"));
		bool map = what && strcmp(what, "map") == 0;

		(void)snprintf(text, sizeof text, "%lld %% of the %s is used%s",
		    (long long)number(o, "percent"), map ? "store's map" : "store's disk",
		    map ? ": raise store.map_size, or archive" : "");
		field_print(stdout, number(o, "level") >= 90 ? "ALARM" : "WARNING", text);
	}
}

static void disk_and_log(const json_t *data)
{
	json_t *disk = json_object_get(data, "disk"), *log = json_object_get(data, "log");
	char a[24], b[24], text[160], clock[64], newest[64];

	(void)snprintf(text, sizeof text, "%s free of %s",
	    size_text(a, sizeof a, number(disk, "disk_free")),
	    size_text(b, sizeof b, number(disk, "disk_size")));
	field_print(stdout, "disk", text);
	(void)snprintf(text, sizeof text, "%s used of %s",
	    size_text(a, sizeof a, number(disk, "map_used")),
	    size_text(b, sizeof b, number(disk, "map_size")));
	field_print(stdout, "store", text);
	space(disk);
	(void)snprintf(text, sizeof text, "%lld records, the newest at %s",
	    (long long)number(log, "size"),
	    json_text(log, "newest", newest, sizeof newest) ? newest : "-");
	field_print(stdout, "log", text);
	field_print(stdout, "clock", json_text(log, "clock", clock, sizeof clock));
}

static void seals(const json_t *data)
{
	static const char *const columns[] = {
	    "LOG", "SIZE", "SEALED", "EPOCH", "AGO", "STATE", NULL};
	cleanup_table struct table *t = table_new(columns);
	json_t *seal = json_object_get(data, "seal"), *o;
	char text[512], state[SEAL_TEXT], origin[256];
	size_t i;

	if (!t || !json_is_object(seal))
		return;
	(void)snprintf(text, sizeof text, "%s, epoch %lld",
	    json_text(seal, "origin", origin, sizeof origin), (long long)number(seal, "epoch"));
	(void)putchar('\n');
	field_print(stdout, "logs of", text);
	(void)snprintf(text, sizeof text, "%s%s", json_text(seal, "state", state, sizeof state),
	    json_is_true(json_object_get(seal, "accepted")) ? " (accepted)" : "");
	field_print(stdout, "seals", text);
	json_array_foreach(json_object_get(seal, "logs"), i, o)
	{
		char name[64], size[24], sealed[24], epoch[24], ago[32] = "-";

		if (json_object_get(o, "sealed_s"))
			span_text(ago, sizeof ago, number(o, "sealed_s"));
		table_row(
		    t, (const char *[]){json_text(o, "log", name, sizeof name),
		           json_text(o, "size", size, sizeof size),
		           json_text(o, "sealed", sealed, sizeof sealed),
		           json_object_get(o, "epoch") ? json_text(o, "epoch", epoch, sizeof epoch)
		                                       : "-",
		           ago, json_text(o, "state", state, sizeof state)});
	}
	table_print(t, stdout);
}

/* Sinks, witnesses, and how far the logs are with them. Nothing when nothing is configured. */
static void sinks(const json_t *export)
{
	static const char *const columns[] = {
	    "SINK", "KIND", "TO", "STATE", "BEHIND", "REASON", NULL};
	cleanup_table struct table *t = table_new(columns);
	json_t *o;
	size_t i;

	if (!t || json_array_size(json_object_get(export, "sinks")) == 0)
		return;
	json_array_foreach(json_object_get(export, "sinks"), i, o)
	{
		char name[64], kind[24], to[256], state[64], behind[24], reason[SEAL_TEXT];

		table_row(t,
		    (const char *[]){json_text(o, "name", name, sizeof name),
		        json_text(o, "kind", kind, sizeof kind), json_text(o, "to", to, sizeof to),
		        json_text(o, "state", state, sizeof state),
		        json_text(o, "behind", behind, sizeof behind),
		        json_text(o, "reason", reason, sizeof reason)});
	}
	(void)putchar('\n');
	table_print(t, stdout);
}

static void witnesses(const json_t *export)
{
	static const char *const columns[] = {"WITNESS", "URL", "STATE", "REASON", NULL};
	cleanup_table struct table *t = table_new(columns);
	json_t *o;
	size_t i;

	if (!t || json_array_size(json_object_get(export, "witnesses")) == 0)
		return;
	json_array_foreach(json_object_get(export, "witnesses"), i, o)
	{
		char name[256], url[256], state[64], reason[SEAL_TEXT];

		table_row(t, (const char *[]){json_text(o, "name", name, sizeof name),
		                 json_text(o, "url", url, sizeof url),
		                 json_text(o, "state", state, sizeof state),
		                 json_text(o, "reason", reason, sizeof reason)});
	}
	(void)putchar('\n');
	table_print(t, stdout);
}

static void witnessed(const json_t *export)
{
	static const char *const columns[] = {
	    "LOG", "SEALED", "WITNESSED", "UNWITNESSED", "LAG", NULL};
	cleanup_table struct table *t = table_new(columns);
	char text[64];
	json_t *o;
	size_t i;

	if (!t || json_array_size(json_object_get(export, "logs")) == 0)
		return;
	json_array_foreach(json_object_get(export, "logs"), i, o)
	{
		char name[64], sealed[24], good[24], rest[24], lag[32] = "-";

		if (number(o, "lag_s") > 0)
			span_text(lag, sizeof lag, number(o, "lag_s"));
		table_row(t, (const char *[]){json_text(o, "log", name, sizeof name),
		                 json_text(o, "sealed", sealed, sizeof sealed),
		                 json_text(o, "witnessed", good, sizeof good),
		                 json_text(o, "unwitnessed", rest, sizeof rest), lag});
	}
	(void)putchar('\n');
	(void)snprintf(text, sizeof text, "%lld of %zu", (long long)number(export, "quorum"),
	    json_array_size(json_object_get(export, "witnesses")));
	field_print(stdout, "quorum", text);
	table_print(t, stdout);
}

/* Nothing when none is configured and nothing was ever archived. */
static void archive(const json_t *o)
{
	static const char *const columns[] = {"LOG", "ARCHIVED", "PRUNED", "WAITS FOR", NULL};
	cleanup_table struct table *t = table_new(columns);
	json_t *list = json_object_get(o, "logs"), *last = json_object_get(o, "last"), *one;
	char text[512], log[64], ago[32];
	size_t i;

	if (!t || (!json_is_true(json_object_get(o, "on")) && json_array_size(list) == 0))
		return;
	(void)putchar('\n');
	(void)snprintf(
	    text, sizeof text, "%lld segments since the start", (long long)number(o, "segments"));
	if (json_is_object(last))
		(void)snprintf(text, sizeof text,
		    "%lld segments since the start, the last of %s up to %lld, %s ago",
		    (long long)number(o, "segments"), json_text(last, "log", log, sizeof log),
		    (long long)number(last, "to"),
		    span_text(ago, sizeof ago, number(last, "ago_s")));
	field_print(stdout, "archive", text);
	if (json_text(o, "cutting", log, sizeof log) && *log)
		field_print(stdout, "cutting", log);
	if (json_text(o, "failed", text, sizeof text) && *text)
		field_print(stdout, "ALARM", text);
	json_array_foreach(list, i, one)
	{
		char to[24], pruned[24], held[SEAL_TEXT];

		table_row(t, (const char *[]){json_text(one, "log", log, sizeof log),
		                 json_text(one, "archived", to, sizeof to),
		                 json_text(one, "pruned", pruned, sizeof pruned),
		                 json_text(one, "held", held, sizeof held)});
	}
	if (json_array_size(list) > 0)
		table_print(t, stdout);
}

/* Until somebody accepts it, nothing new is let in. */
static bool seal_alarm(const json_t *seal)
{
	char text[SEAL_TEXT];

	if (!json_text(seal, "state", text, sizeof text) || !*text || strcmp(text, "good") == 0 ||
	    json_is_true(json_object_get(seal, "accepted")))
		return false;
	(void)fprintf(stderr, "postern: warning: %s: see postern audit ack in postern(1)\n", text);
	return true;
}

/* On stderr as well as in the exit status: who looks at a table may not see it. */
static int alarms(const json_t *data)
{
	json_t *list = json_object_get(json_object_get(data, "export"), "alarms"), *o;
	json_t *room = json_object_get(json_object_get(data, "disk"), "warnings");
	bool seal = seal_alarm(json_object_get(data, "seal"));
	char text[1024];
	size_t i;

	json_array_foreach(list, i, o)
	{
		(void)fprintf(
		    stderr, "postern: warning: %s\n", json_text(o, NULL, text, sizeof text));
	}
	json_array_foreach(room, i, o)
	{
		(void)fprintf(stderr, "postern: warning: %lld %% of the store's %s is used\n",
		    (long long)number(o, "percent"), json_text(o, "what", text, sizeof text));
	}
	/* a core of an older version, before it was restarted, does not know the archive */
	if (json_text(json_object_get(data, "archive"), "failed", text, sizeof text) && *text) {
		(void)fprintf(stderr, "postern: warning: nothing is archived: %s\n", text);
		return EXIT_WARNING;
	}
	return seal || json_array_size(list) + json_array_size(room) > 0 ? EXIT_WARNING : EXIT_OK;
}

static void tenants(const json_t *data)
{
	static const char *const columns[] = {"TENANT", "SESSIONS", "ROLES", "CA", NULL};
	cleanup_table struct table *t = table_new(columns);
	json_t *list = json_object_get(data, "tenants"), *o;
	size_t i;

	if (!t)
		return;
	json_array_foreach(list, i, o)
	{
		char name[64], sessions[64], roles[512], cas[512];

		(void)snprintf(sessions, sizeof sessions, "%lld of %lld",
		    (long long)number(o, "sessions"), (long long)number(o, "limit"));
		table_row(t, (const char *[]){json_text(o, "name", name, sizeof name), sessions,
		                 json_text(o, "roles", roles, sizeof roles),
		                 json_text(o, "cas", cas, sizeof cas)});
	}
	(void)putchar('\n');
	table_print(t, stdout);
}

int ctl_status(struct ctl *c)
{
	json_auto_t *data = NULL;
	char text[160], up[32], version[32], digest[80];
	int code = ctl_query(c, "ctl.status", json_object(), &data);

	if (code != EXIT_OK)
		return code;
	if (c->json) {
		code = ctl_json(data);
		return code != EXIT_OK ? code : alarms(data);
	}
	(void)snprintf(text, sizeof text, "%s, up %s",
	    json_text(data, "version", version, sizeof version) ? version : "?",
	    span_text(up, sizeof up, number(data, "uptime_s")));
	field_print(stdout, "postern", text);
	(void)snprintf(text, sizeof text, "%lld of %lld, on %lld connections",
	    (long long)number(data, "sessions"), (long long)number(data, "sessions_limit"),
	    (long long)number(data, "connections"));
	field_print(stdout, "sessions", text);
	disk_and_log(data);
	field_print(stdout, "configuration",
	    json_text(json_object_get(data, "config"), "digest", digest, sizeof digest));
	(void)putchar('\n');
	processes(data);
	object("host", json_object_get(data, "host"));
	tenants(data);
	seals(data);
	sinks(json_object_get(data, "export"));
	witnesses(json_object_get(data, "export"));
	witnessed(json_object_get(data, "export"));
	archive(json_object_get(data, "archive"));
	return alarms(data);
}
