#include "gateway/ssh/uplink.h"

#include <errno.h>
#include <string.h>

#include "gateway/ssh/channel.h"
#include "gateway/ssh/conn.h"
#include "lib/chan.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/msg.h"

#define CLIENT_MAX 256 /* of the client's identification string */

static void lost(struct conn *c)
{
	conn_end(c, WORKER_NO_CORE, "the broker is gone");
}

/* Takes body over. A send that the table refuses is a bug of ours: said, and fatal for the
 * connection. */
static int send_msg(struct conn *c, const char *type, uint64_t id, json_t *body)
{
	int r = chan_send(c->core, type, id, body, NULL, 0);

	if (r == -EINVAL) {
		log_error("%s: %s: %s", c->id, type, chan_why(c->core));
		conn_fail(c, WORKER_INTERNAL, "cannot send %s", type);
	} else if (r < 0) {
		lost(c);
	}
	return r;
}

/* ---- questions and news to the core ---- */

int uplink_auth(struct conn *c, const char *method, const char *key_b64, bool proved,
    struct msg *ret, struct err *e)
{
	const char *client = ssh_get_clientbanner(c->ssh);
	size_t n = client ? strnlen(client, CLIENT_MAX) : 0;
	json_t *body = json_pack("{so ss sb}", "user",
	    msg_json_bytes(c->auth.user, strlen(c->auth.user)), "method", method, "proved", proved);
	int r;

	if (!body || (key_b64 && json_object_set_new(body, "key", json_string(key_b64)) < 0) ||
	    (n && json_object_set_new(body, "client", msg_json_bytes(client, n)) < 0)) {
		json_decref(body);
		return err_set(e, -ENOMEM, "no memory");
	}
	r = chan_call(c->core, "auth.check", body, NULL, 0,
	    clock_mono_ns() + c->config->broker_timeout_s * NSEC_PER_SEC, ret, e);
	if (r == 0 && !msg_is(ret, "auth.verdict")) {
		msg_done(ret);
		return err_set(e, -EPROTO, "not an answer to auth.check");
	}
	return r;
}

int uplink_exec(struct conn *c, struct channel *ch)
{
	static const char *const kinds[] = {"", "exec", "shell", "subsystem"};
	json_t *body = json_pack("{si ss}", "channel", (int)ch->id, "kind", kinds[ch->kind]);
	int bad = body ? 0 : -1;

	if (!bad && ch->command)
		bad = json_object_set_new(
		    body, "command", msg_json_bytes(ch->command, strlen(ch->command)));
	if (!bad && json_array_size(ch->env) > 0)
		bad = json_object_set(body, "env", ch->env);
	if (!bad && ch->pty)
		bad = json_object_set_new(body, "pty",
		    json_pack("{ss si si si si}", "term", ch->term, "cols", (int)ch->size.ws_col,
		        "rows", (int)ch->size.ws_row, "xpixel", (int)ch->size.ws_xpixel, "ypixel",
		        (int)ch->size.ws_ypixel));
	if (bad) {
		json_decref(body);
		return -ENOMEM;
	}
	return send_msg(c, "channel.exec", chan_next_id(c->core), body);
}

void uplink_signal(struct conn *c, uint32_t channel, const char *name)
{
	if (chan_wants_write(c->core))
		return; /* a client that sends them faster than they are taken loses some */
	(void)send_msg(
	    c, "channel.signal", 0, json_pack("{si ss}", "channel", (int)channel, "signal", name));
}

void uplink_ended(struct conn *c, const struct channel *ch, int code, const char *signal)
{
	json_t *body = json_pack("{si si sI sI sI}", "channel", (int)ch->id, "exit", code,
	    "bytes_in", (json_int_t)ch->in.bytes, "bytes_out", (json_int_t)ch->out[0].bytes,
	    "bytes_err", (json_int_t)ch->out[1].bytes);

	if (body && signal && json_object_set_new(body, "signal", json_string(signal)) < 0) {
		json_decref(body);
		body = NULL;
	}
	(void)send_msg(c, "channel.ended", 0, body);
}

void uplink_event(struct conn *c, const char *what, const void *detail, size_t len)
{
	json_t *body;

	if (c->events >= CONN_EVENTS_MAX || chan_wants_write(c->core))
		return;
	c->events++;
	body = json_pack("{ss}", "what", what);
	if (body && len)
		(void)json_object_set_new(
		    body, "detail", msg_json_bytes(detail, len > 256 ? 256 : len));
	(void)send_msg(c, "conn.event", 0, body);
}

void uplink_farewell(struct conn *c)
{
	int64_t until = clock_mono_ns() + NSEC_PER_SEC;

	(void)chan_send(c->core, "conn.ended", 0,
	    json_pack("{ss}", "reason", *c->reason ? c->reason : "the client left"), NULL, 0);
	while (chan_wants_write(c->core) && clock_mono_ns() < until) {
		struct pollfd p = {chan_fd(c->core), POLLOUT, 0};

		(void)poll(&p, 1, 100);
		if (chan_flush(c->core) < 0)
			break;
	}
}

static void resume(struct conn *c, uint64_t question)
{
	json_t *list;

	if (!c->auth.done)
		return;
	list = json_array();
	for (size_t i = 0; list && i < c->nchannels; i++)
		if (channel_flows(c->channels[i]))
			(void)json_array_append_new(list, json_integer(c->channels[i]->id));
	(void)send_msg(c, "conn.resume", question, json_pack("{so}", "channels", list));
}

/* ---- what the core says ---- */

static struct channel *by_id(struct conn *c, int64_t id)
{
	for (size_t i = 0; i < c->nchannels; i++)
		if (c->channels[i]->id == id)
			return c->channels[i];
	return NULL;
}

static void handle(struct conn *c, struct msg *m)
{
	struct channel *ch = by_id(c, msg_int(m, "channel", -1));

	if (msg_is(m, "conn.end"))
		conn_end(c, WORKER_ENDED, msg_str(m, "reason"));
	else if (msg_is(m, "conn.who"))
		resume(c, m->id);
	else if (!ch)
		return; /* the channel ended meanwhile; descriptors are closed with the message */
	else if (msg_is(m, "channel.started"))
		channel_started(ch, m);
	else if (msg_is(m, "channel.denied") || msg_is(m, "channel.failed"))
		channel_refused(ch, msg_str(m, "reason"), msg_int(m, "record", -1));
}

void uplink_receive(struct conn *c)
{
	struct err e = ERR_INIT;

	for (;;) {
		struct msg m = MSG_INIT;
		int r = chan_recv(c->core, &m, &e);

		if (r == -EAGAIN)
			return;
		if (r <= 0) {
			if (r < 0)
				log_error("%s: the core broke a rule: %s", c->id, err_text(&e));
			lost(c);
			return;
		}
		handle(c, &m);
		msg_done(&m);
	}
}
