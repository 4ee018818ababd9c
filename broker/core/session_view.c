/* A session as others see it: the row in the store, and the summary for operators. */
#include "broker/core/session.h"

#include <stdlib.h>
#include <string.h>

#include "broker/core/conn.h"
#include "broker/store/store.h"
#include "lib/clock.h"

static json_t *time_json(int64_t wall_ns)
{
	char text[32];

	clock_format(text, sizeof text, wall_ns);
	return json_string(text);
}

json_t *session_summary(const struct session *s)
{
	bool over = s->state == SESSION_ENDED;
	int64_t left = s->ends_boot_ns - clock_boot_ns();
	json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:I}", "id",
	    s->id, "state", session_state_name(s->state), "tenant", s->grant.tenant, "role",
	    s->grant.role, "template", s->grant.template_name, "person", s->grant.person, "task",
	    s->grant.task, "peer", s->remote, "route", s->sshd ? "sshd" : "ssh", "conn", s->conn_id,
	    "started", time_json(s->started_ns), "channels",
	    (json_int_t)(s->conn ? s->conn->nchannels : 0));

	if (!o)
		return NULL;
	if (!over)
		(void)json_object_set_new(o, "ends", time_json(clock_wall_ns() + left));
	else
		(void)json_object_set_new(o, "ended", time_json(clock_wall_ns()));
	if (*s->reason)
		(void)json_object_set_new(o, "reason", json_string(s->reason));
	return o;
}

/* The row is the summary and what a core that comes back needs. */
void session_save(struct session *s)
{
	json_auto_t *o = NULL;
	char *text;

	if (!s->core->store)
		return;
	o = session_summary(s);
	if (!o)
		return;
	(void)json_object_set_new(o, "grant", grant_json(&s->grant));
	(void)json_object_set_new(o, "plan", plan_pack(&s->plan));
	(void)json_object_set_new(o, "started_ns", json_integer(s->started_ns));
	(void)json_object_set_new(o, "ends_boot_ns", json_integer(s->ends_boot_ns));
	(void)json_object_set_new(o, "boot", json_string(clock_boot_id()));
	(void)json_object_set_new(o, "pid", json_integer(s->pid));
	(void)json_object_set_new(o, "tie", json_string(s->tie_path));
	if (s->enforced)
		(void)json_object_set(o, "enforced", s->enforced);
	(void)json_object_set_new(o, "totals",
	    json_pack("{s:I, s:I, s:I, s:I, s:I}", "channels", (json_int_t)s->channels, "leases",
	        (json_int_t)s->leases, "bytes_in", (json_int_t)s->bytes_in, "bytes_out",
	        (json_int_t)s->bytes_out, "bytes_err", (json_int_t)s->bytes_err));
	text = json_dumps(o, JSON_COMPACT);
	if (text)
		(void)store_later(s->core->store, STORE_SESSIONS, s->id, text, strlen(text));
	free(text);
}
