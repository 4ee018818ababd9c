#include "broker/audit/timeline.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/clock.h"
#include "lib/str.h"
#include "lib/util.h"

#define ID_MAX 63

struct timeline {
	char session[ID_MAX + 1], conn[ID_MAX + 1];
	int64_t start_ns; /* of the session, or of what came first */
	json_t *o, *events;
	uint64_t records, more;
};

struct timeline *timeline_new(const char *session, const char *conn)
{
	struct timeline *t = calloc(1, sizeof *t);

	if (!t || !(t->o = json_object()) || !(t->events = json_array())) {
		timeline_free(t);
		return NULL;
	}
	(void)str_copy(t->session, sizeof t->session, session);
	(void)str_copy(t->conn, sizeof t->conn, conn ? conn : "");
	t->start_ns = -1;
	(void)json_object_set_new(t->o, "session", json_string(session));
	(void)json_object_set_new(t->o, "state", json_string("open"));
	(void)json_object_set(t->o, "events", t->events);
	return t;
}

void timeline_free(struct timeline *t)
{
	if (t) {
		json_decref(t->o);
		json_decref(t->events);
	}
	free(t);
}

const char *timeline_conn(const struct timeline *t)
{
	return t->conn;
}

const json_t *timeline_json(const struct timeline *t)
{
	return t->o;
}

bool timeline_has(const struct timeline *t, const char *what)
{
	return json_object_get(t->o, what) != NULL;
}

/* ---- members ---- */

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

/* If it is there. */
static void copy(json_t *to, const char *as, const json_t *from, const char *key)
{
	json_t *v = json_object_get(from, key);

	if (v)
		(void)json_object_set(to, as, v);
}

static void copy_all(json_t *to, const json_t *from, const char *const *keys)
{
	for (; *keys; keys++)
		copy(to, *keys, from, *keys);
}

int64_t timeline_time(const char *s)
{
	struct tm tm = {0};
	int64_t seconds;
	long us = 0;
	int n = 0;

	if (sscanf(s, "%4d-%2d-%2dT%2d:%2d:%2d.%6ldZ%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
	        &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &us, &n) != 7 ||
	    n != 27 || us < 0)
		return -1;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	seconds = timegm(&tm);
	/* years that nanoseconds do not reach */
	if (seconds < 0 || seconds >= INT64_MAX / NSEC_PER_SEC)
		return -1;
	return seconds * NSEC_PER_SEC + us * 1000;
}

static json_t *ms_between(int64_t from, int64_t to)
{
	return json_integer((json_int_t)((to - from) / 1000000));
}

/* A new event, borrowed; NULL: there are too many, or no memory. */
static json_t *event(struct timeline *t, const json_t *record, const char *what)
{
	json_t *e;

	if (json_array_size(t->events) >= TIMELINE_EVENTS_MAX) {
		t->more++;
		(void)json_object_set_new(t->o, "more_events", json_integer((json_int_t)t->more));
		return NULL;
	}
	if (!(e = json_object()) || json_array_append_new(t->events, e) < 0)
		return NULL;
	copy(e, "seq", record, "seq");
	copy(e, "time", record, "time");
	(void)json_object_set_new(
	    e, "at_ms", ms_between(t->start_ns, timeline_time(text(record, "time"))));
	(void)json_object_set_new(e, "what", json_string(what));
	return e;
}

/* The newest event of that kind which has not ended and whose `key` is that of body; NULL. */
static json_t *open_event(
    const struct timeline *t, const char *what, const char *key, const json_t *body)
{
	const json_t *wanted = json_object_get(body, key);

	for (size_t i = json_array_size(t->events); wanted && i-- > 0;) {
		json_t *e = json_array_get(t->events, i);

		if (strcmp(text(e, "what"), what) == 0 && !json_object_get(e, "ended") &&
		    json_equal(json_object_get(e, key), wanted))
			return e;
	}
	return NULL;
}

static void end_event(json_t *e, const json_t *record)
{
	const char *began = text(e, "time"), *ended = text(record, "time");

	copy(e, "ended", record, "time");
	(void)json_object_set_new(e, "ms", ms_between(timeline_time(began), timeline_time(ended)));
}

/* ---- classes ---- */

static void on_grant(struct timeline *t, const json_t *record, const json_t *body)
{
	static const char *const limits[] = {"revision", "actions", "credentials", "egress",
	    "channels", "expires_s", "lifetime_s", "policy", "force_command", NULL};
	static const char *const who[] = {"key", "key_id", "serial", "ca", "client", NULL};
	const json_t *grant = json_object_get(body, "grant");
	json_t *o = json_object();

	copy_all(t->o, body, who);
	copy(t->o, "granted", record, "time");
	copy(t->o, "template", grant, "template");
	copy(t->o, "tenant", grant, "tenant");
	if (!o)
		return;
	copy_all(o, grant, limits);
	(void)json_object_set_new(t->o, "grant", o);
}

static void on_start(struct timeline *t, const json_t *record, const json_t *body)
{
	static const char *const keys[] = {
	    "memory_bytes", "pids", "cpu_percent", "disk_bytes", NULL};
	json_t *limits = json_object();

	copy(t->o, "started", record, "time");
	if (limits) {
		copy_all(limits, json_object_get(body, "plan"), keys);
		(void)json_object_set_new(t->o, "limits", limits);
	}
	t->start_ns = timeline_time(text(record, "time"));
}

static void on_enforced(struct timeline *t, const json_t *record, const json_t *body)
{
	(void)record;
	copy(t->o, "enforced", body, "enforced");
}

static void on_exec(struct timeline *t, const json_t *record, const json_t *body)
{
	static const char *const keys[] = {
	    "channel", "kind", "command", "forced", "pty", "env", "body_missing", NULL};
	json_t *e = event(t, record, "command");

	if (e)
		copy_all(e, body, keys);
}

static void on_exec_end(struct timeline *t, const json_t *record, const json_t *body)
{
	static const char *const keys[] = {
	    "exit", "signal", "bytes_in", "bytes_out", "bytes_err", "reason", NULL};
	json_t *e = open_event(t, "command", "channel", body);

	if (!e)
		return;
	end_event(e, record);
	copy_all(e, body, keys);
}

static void on_refused(struct timeline *t, const json_t *record, const json_t *body)
{
	static const char *const keys[] = {
	    "reason", "rule", "kind", "command", "audience", "channel", NULL};
	json_t *e = event(t, record, "refusal");

	if (!e)
		return;
	copy(e, "class", record, "class");
	copy_all(e, body, keys);
}

/* What was started and did not come to be is refused, and has ended. */
static void on_failed(struct timeline *t, const json_t *record, const json_t *body)
{
	json_t *e = open_event(t, "command", "channel", body);

	if (e)
		end_event(e, record);
	on_refused(t, record, body);
}

static void on_lease(struct timeline *t, const json_t *record, const json_t *body)
{
	static const char *const keys[] = {
	    "lease", "kind", "audience", "expires", "expires_s", NULL};
	json_t *e = event(t, record, "credential");

	if (e)
		copy_all(e, body, keys);
}

static void on_lease_end(struct timeline *t, const json_t *record, const json_t *body)
{
	json_t *e = open_event(t, "credential", "lease", body);

	if (!e)
		return;
	end_event(e, record);
	copy(e, "reason", body, "reason");
}

/* The paths themselves stay in the record. */
static void on_files(struct timeline *t, const json_t *record, const json_t *body)
{
	const json_t *files = json_object_get(body, "files"), *f;
	json_t *e = event(t, record, "files changed");
	json_int_t flagged = 0;
	size_t i;

	if (!e)
		return;
	json_array_foreach(files, i, f) flagged += json_object_get(f, "flags") ? 1 : 0;
	(void)json_object_set_new(e, "changed", json_integer((json_int_t)json_array_size(files)));
	(void)json_object_set_new(e, "flagged", json_integer(flagged));
	copy(e, "layer", body, "layer");
}

static void end(struct timeline *t, const json_t *record, const json_t *body, const char *state)
{
	copy(t->o, "ended", record, "time");
	copy(t->o, "reason", body, "reason");
	copy(t->o, "totals", body, "totals");
	copy(t->o, "lasted_ms", json_object_get(body, "totals"), "lasted_ms");
	(void)json_object_set_new(t->o, "state", json_string(state));
}

static void on_end(struct timeline *t, const json_t *record, const json_t *body)
{
	end(t, record, body, "ended");
}

static void on_lost(struct timeline *t, const json_t *record, const json_t *body)
{
	end(t, record, body, "lost");
}

/* What ran, as its watch saw it; and how much it could not tell. */
static void on_programs(struct timeline *t, const json_t *record, const json_t *body)
{
	static const char *const keys[] = {"pid", "path", "argv", "cut", NULL};
	const json_t *programs = json_object_get(body, "programs");
	json_t *e;

	for (size_t i = 0; i < json_array_size(programs); i++)
		if ((e = event(t, record, "program")))
			copy_all(e, json_array_get(programs, i), keys);
	if (json_integer_value(json_object_get(body, "dropped")) > 0 &&
	    (e = event(t, record, "programs unsaid")))
		copy(e, "dropped", body, "dropped");
}

static void on_other(struct timeline *t, const json_t *record, const json_t *body)
{
	json_t *e = event(t, record, "other"), *copied = json_deep_copy(body);

	if (!e) {
		json_decref(copied);
		return;
	}
	copy(e, "class", record, "class");
	(void)json_object_set_new(e, "body", copied);
}

static void on_connection(struct timeline *t, const json_t *record, const json_t *body)
{
	(void)t, (void)record, (void)body; /* its peer is in every subject */
}

static const struct {
	const char *class_name;
	void (*fn)(struct timeline *t, const json_t *record, const json_t *body);
} classes[] = {
    {"conn.accepted", on_connection},
    {"conn.end", on_connection},
    {"grant", on_grant},
    {"session.start", on_start},
    {"session.enforced", on_enforced},
    {"channel.exec", on_exec},
    {"channel.end", on_exec_end},
    {"channel.denied", on_refused},
    {"channel.failed", on_failed},
    {"lease.granted", on_lease},
    {"lease.end", on_lease_end},
    {"lease.denied", on_refused},
    {"session.programs", on_programs},
    {"session.files", on_files},
    {"session.end", on_end},
    {"session.lost", on_lost},
};

/* ---- a record ---- */

static bool concerns(struct timeline *t, const json_t *record)
{
	const json_t *subject = json_object_get(record, "subject");
	const char *session = text(subject, "session"), *conn = text(subject, "conn");
	bool mine = strcmp(session, t->session) == 0 ||
	            strcmp(text(json_object_get(record, "body"), "session"), t->session) == 0;

	if (mine && !*t->conn)
		(void)str_copy(t->conn, sizeof t->conn, conn);
	/* of its connection: what does not belong to another session of it */
	return mine || (*conn && strcmp(conn, t->conn) == 0 && !*session);
}

int timeline_add(struct timeline *t, const json_t *record)
{
	static const char *const who[] = {"person", "role", "task", "peer", "route", NULL};
	const json_t *body = json_object_get(record, "body");
	const char *class_name = text(record, "class");
	size_t i = 0;

	if (!concerns(t, record))
		return 0;
	t->records++;
	if (t->start_ns < 0)
		t->start_ns = timeline_time(text(record, "time"));
	copy_all(t->o, json_object_get(record, "subject"), who);
	copy(t->o, "log", record, "log");
	(void)json_object_set_new(t->o, "conn", json_string(t->conn));
	(void)json_object_set_new(t->o, "records", json_integer((json_int_t)t->records));
	while (i < ARRAY_LEN(classes) && strcmp(classes[i].class_name, class_name) != 0)
		i++;
	(i < ARRAY_LEN(classes) ? classes[i].fn : on_other)(t, record, body);
	return 0;
}
