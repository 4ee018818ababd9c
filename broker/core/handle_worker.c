#include "broker/core/handlers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/auth.h"
#include "broker/core/conn.h"
#include "broker/core/exec.h"
#include "creds/cert.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/msg.h"
#include "lib/str.h"

/*
 * A worker: one connection. What it says is a stranger's word but for what only it can know: that
 * the client holds the key.
 */

/* The listener tells us of a client before its worker can speak; so what the worker says is read
 * after what the listener has said. */
static bool before(struct peer *p)
{
	const struct conn *k = p->owner;

	if (k && k->state == CONN_SPARE && p->core->listener)
		peer_pump(p->core->listener);
	return true;
}

static void gone(struct peer *p)
{
	struct conn *k = p->owner;

	if (!k)
		return;
	k->peer = NULL;
	conn_end(k, k->state == CONN_SPARE ? "not used" : "the worker has gone", false);
}

/* ---- auth.check ---- */

static void verdict_no(struct peer *p, uint64_t question, const char *reason, bool tell)
{
	char banner[AUTHORIZE_REASON_MAX + 16];
	json_t *body = json_pack("{s:b}", "ok", 0);

	(void)snprintf(banner, sizeof banner, "postern: %s", reason);
	if (body && tell)
		(void)json_object_set_new(body, "banner", json_string(banner));
	(void)peer_send(p, "auth.verdict", question, body);
}

struct parked {
	struct core *core;
	char conn[CORE_ID_MAX + 1];
	uint64_t question;
	struct grant grant;
};

static void parked_free(struct parked *w)
{
	grant_done(&w->grant);
	free(w);
}

static void on_granted(int r, uint64_t seq, void *arg)
{
	struct parked *w = arg;
	struct conn *k = conn_find(w->core, w->conn);

	(void)seq;
	if (k && k->state == CONN_AUTH && k->asking) {
		k->asking = false;
		if (r < 0) {
			verdict_no(k->peer, w->question, note_why(r), true);
		} else {
			conn_open(k, &w->grant);
			(void)peer_send(k->peer, "auth.verdict", w->question,
			    json_pack("{s:b, s:o}", "ok", 1, "grant",
			        grant_worker_view(&k->grant, core_now_s(k->core))));
		}
	}
	parked_free(w);
}

static void grant_it(
    struct conn *k, uint64_t question, const struct auth_try *t, struct authorize_answer *a)
{
	struct parked *w = calloc(1, sizeof *w);
	int r = -ENOMEM;

	if (w) {
		w->core = k->core;
		(void)str_copy(w->conn, sizeof w->conn, k->id);
		w->question = question;
		w->grant = a->grant;
		k->asking = true;
		if ((r = auth_record(k, t, a, on_granted, w)) == 0)
			return;
		k->asking = false;
		free(w);
	}
	grant_done(&a->grant);
	verdict_no(k->peer, question, note_why(r), true);
}

static void judge(struct conn *k, const struct msg *m, struct auth_try *t)
{
	struct authorize_answer a;

	if (auth_judge(k, t, &a) < 0) {
		(void)auth_refused(k, t, &a, NULL, NULL);
		verdict_no(k->peer, m->id, a.reason, a.tell);
	} else if (!t->proved) {
		/* it would do; nothing is granted before the key is proved */
		grant_done(&a.grant);
		(void)peer_send(k->peer, "auth.verdict", m->id, json_pack("{s:b}", "ok", 1));
	} else {
		grant_it(k, m->id, t, &a);
	}
}

static int on_auth_check(struct peer *p, struct msg *m, struct err *e)
{
	struct conn *k = p->owner;
	struct auth_try t = {.method = msg_str(m, "method"), .proved = msg_bool(m, "proved")};
	cleanup_buf struct buf user, key, client;
	char shown[128];

	buf_init(&user, CONN_USER_MAX);
	buf_init(&key, CERT_BLOB_MAX);
	buf_init(&client, 256);
	if (k->asking)
		return err_set(e, -EPROTO, "auth.check: while another is not answered");
	if (strcmp(t.method, "none") == 0) { /* every client's first question; RFC 4252 5.2 */
		verdict_no(p, m->id, "", false);
		return 0;
	}
	if (msg_bytes(m, "user", &user) < 0)
		return err_set(e, -EBADMSG, "auth.check: user");
	if (msg_bytes(m, "client", &client) == 0)
		t.client = str_escape(shown, sizeof shown, client.data, client.len);
	if (strcmp(t.method, "publickey") == 0 && (msg_bytes(m, "key", &key) < 0 || key.len == 0))
		return err_set(e, -EBADMSG, "auth.check: publickey without a key");
	t.user = user.data ? (const void *)user.data : "";
	t.user_len = user.len;
	t.key = key.data;
	t.key_len = key.len;
	judge(k, m, &t);
	return 0;
}

/* ---- the rest ---- */

static int on_exec(struct peer *p, struct msg *m, struct err *e)
{
	return exec_ask(p->owner, p, m, e);
}

static int on_signal(struct peer *p, struct msg *m, struct err *e)
{
	(void)e;
	return exec_signal(p->owner, p, m);
}

static int on_ended(struct peer *p, struct msg *m, struct err *e)
{
	(void)e;
	return exec_ended(p->owner, p, m);
}

static int on_event(struct peer *p, struct msg *m, struct err *e)
{
	struct conn *k = p->owner;
	cleanup_buf struct buf detail = {0};
	char shown[512] = "";

	(void)e;
	buf_init(&detail, 256);
	if (k->events++ >= CONN_EVENTS_MAX)
		return 0;
	if (msg_bytes(m, "detail", &detail) == 0)
		str_escape(shown, sizeof shown, detail.data, detail.len);
	return note(k->core, "conn.event", k->grant.tenant, conn_subject(k),
	           json_pack("{s:s, s:s}", "what", msg_str(m, "what"), "detail", shown)) == -EINVAL
	           ? -EBADMSG
	           : 0;
}

static int on_conn_ended(struct peer *p, struct msg *m, struct err *e)
{
	(void)e;
	conn_end(p->owner, msg_str(m, "reason"), false);
	return 0;
}

/* To a core that came back: these channels still flow. */
static int on_resume(struct peer *p, struct msg *m, struct err *e)
{
	struct conn *k = p->owner;
	const json_t *list = msg_obj(m, "channels");

	if (!k->restored)
		return err_set(e, -EPROTO, "conn.resume: nobody asked");
	if (m->id != k->who_question)
		return 0; /* for a core that was killed before it read this */
	k->restored = false;
	for (size_t i = 0; i < json_array_size(list); i++) {
		uint32_t id = (uint32_t)json_integer_value(json_array_get(list, i));
		struct channel *ch = channel_find(k, p, id) ? NULL : channel_new(k, p, id);

		if (!ch)
			continue;
		ch->state = CHANNEL_RUNNING;
		ch->session = k->session;
		ch->init_id = id;
	}
	return 0;
}

static const struct peer_handler handlers[] = {
    {"auth.check", on_auth_check},
    {"channel.exec", on_exec},
    {"channel.signal", on_signal},
    {"channel.ended", on_ended},
    {"conn.event", on_event},
    {"conn.ended", on_conn_ended},
    {"conn.resume", on_resume},
    {NULL, NULL},
};

const struct peer_class class_worker = {
    .who = "worker", .role = MSG_WORKER, .handlers = handlers, .before = before, .gone = gone};
