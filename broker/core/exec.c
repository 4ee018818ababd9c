#include "broker/core/exec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "broker/core/config.h"
#include "broker/core/conn.h"
#include "broker/core/decide.h"
#include "broker/core/exec_deny.h"
#include "broker/core/peer.h"
#include "broker/core/pipes.h"
#include "broker/core/session.h"
#include "broker/init/proto.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"

#define ROOMY_CHANNELS 64 /* in the whole core: these get large pipes */

/* ---- refusing ---- */

/* After the sandbox could not take the command: with a session that never ran, it goes as well. */
static void give_up(struct channel *ch, const char *reason)
{
	struct session *s = ch->session;

	if (s && s->state == SESSION_NEW && !s->sshd)
		session_failed(s, "request", reason);
	else
		exec_deny(ch, reason, NULL);
}

/* ---- running ---- */

static void set_size(int master, const struct command *c)
{
	struct winsize w = {c->rows, c->cols, c->xpixel, c->ypixel};

	(void)ioctl(master, TIOCSWINSZ, &w);
}

/* The request to init, then the other ends to who asked. */
static void run(struct channel *ch, struct pipes *p)
{
	const char *argv[ARRAY_LEN(ch->command.argv)], *envp[ARRAY_LEN(ch->command.envp)];
	struct session *s = ch->session;
	cleanup_buf struct buf b;
	int r;

	for (size_t i = 0; i < ARRAY_LEN(argv); i++)
		argv[i] = ch->command.argv[i];
	for (size_t i = 0; i < ARRAY_LEN(envp); i++)
		envp[i] = ch->command.envp[i];
	/* channels of one worker have numbers of their own; those of several postern-runs do not */
	ch->init_id = s->sshd ? s->next_channel++ : ch->id;
	buf_init(&b, INIT_REQUEST_MAX);
	init_put_exec(&b, ch->init_id, ch->command.pty ? INIT_PTY : 0,
	    s->plan.workspace_mode == PLAN_WORKSPACE_NONE ? COMMAND_HOME : COMMAND_WORK, argv,
	    envp);
	r = buf_status(&b) < 0 ? -E2BIG : session_request(s, &b, p->inner, p->n);
	if (r == 0 && s->state == SESSION_NEW && (r = session_order(s)) < 0) {
		session_failed(s, "spawn", "spawn cannot be reached"); /* denies ch as well */
		return;
	}
	if (r == -EAGAIN) { /* its pipes or its terminal are made again then */
		ch->state = CHANNEL_WAITING;
		return;
	}
	if (r < 0) {
		give_up(ch, r == -E2BIG    ? "the command and its environment are too long"
		            : r == -ENOMEM ? "no memory"
		                           : "the sandbox is gone");
		return;
	}
	s->channels++;
	ch->state = CHANNEL_RUNNING;
	(void)peer_send_fds(ch->peer, "channel.started", ch->question,
	    json_pack("{s:I, s:s}", "channel", (json_int_t)ch->id, "session", s->id), p->outer,
	    p->n);
}

static unsigned channels_of(const struct core *c)
{
	unsigned n = 0;

	for (const struct conn *k = c->conns; k; k = k->next)
		n += k->nchannels;
	return n;
}

static void ask_pty(struct channel *ch)
{
	struct session *s = ch->session;
	struct core *c = s->core;

	if (s->state == SESSION_NEW && session_order(s) < 0) {
		session_failed(s, "spawn", "spawn cannot be reached");
		return;
	}
	ch->state = CHANNEL_PTY;
	if (c->spawn) {
		ch->pty_question = peer_question(c->spawn);
		if (peer_send(c->spawn, "sandbox.pty", ch->pty_question,
		        json_pack("{s:s}", "session", s->id)) == 0)
			return;
	}
	exec_deny(ch, "no terminal: spawn cannot be reached", NULL);
}

static struct channel *by_pty_question(struct core *c, uint64_t question)
{
	for (struct conn *k = c->conns; k; k = k->next)
		for (struct channel *ch = k->channels; ch; ch = ch->next)
			if (ch->state == CHANNEL_PTY && ch->pty_question == question)
				return ch;
	return NULL;
}

void exec_pty_opened(struct core *c, uint64_t question, int master, int slave)
{
	struct channel *ch = by_pty_question(c, question);
	struct pipes p;

	if (!ch) {
		(void)close(master);
		(void)close(slave);
		return;
	}
	set_size(master, &ch->command);
	if (pipes_make_pty(&p, master, slave) < 0)
		exec_deny(ch, "no descriptors left", NULL);
	else
		run(ch, &p);
	pipes_close(&p);
}

void exec_pty_failed(struct core *c, uint64_t question, const char *reason)
{
	struct channel *ch = by_pty_question(c, question);

	if (ch)
		exec_deny(ch, reason, NULL);
}

/* Of a channel that is allowed and on record. */
static void start(struct channel *ch)
{
	struct pipes p;

	if (ch->session->state == SESSION_ENDING)
		exec_deny(ch, "the session is ending", NULL);
	else if (ch->command.pty)
		ask_pty(ch);
	else if (pipes_make(&p, channels_of(ch->conn->core) <= ROOMY_CHANNELS) < 0)
		give_up(ch, "no descriptors left");
	else {
		run(ch, &p);
		pipes_close(&p);
	}
}

void exec_resume(struct session *s, const char *reason)
{
	struct channel *next;

	if (!s->conn)
		return;
	for (struct channel *ch = s->conn->channels; ch && !s->room; ch = next) {
		next = ch->next;
		if (ch->state != CHANNEL_WAITING || ch->session != s)
			continue;
		if (reason)
			exec_deny(ch, reason, NULL);
		else
			start(ch);
	}
}

/* ---- recording ---- */

struct parked {
	struct core *core;
	uint64_t channel;
};

static struct parked *park(const struct channel *ch)
{
	struct parked *p = calloc(1, sizeof *p);

	if (p) {
		p->core = ch->conn->core;
		p->channel = ch->serial;
	}
	return p;
}

/* Takes p over. NULL: the channel has gone meanwhile. */
static struct channel *unpark(struct parked *p)
{
	struct channel *ch = channel_by_serial(p->core, p->channel);

	free(p);
	return ch;
}

static void on_recorded(int r, uint64_t seq, void *arg)
{
	struct channel *ch = unpark(arg);

	(void)seq;
	if (!ch || !ch->session)
		return;
	if (r < 0)
		give_up(ch, note_why(r));
	else
		start(ch);
}

static int note_exec(struct channel *ch)
{
	struct parked *p = park(ch);
	json_t *body = exec_body(ch);
	int r;

	if (!p || !body) {
		free(p);
		json_decref(body);
		return -ENOMEM;
	}
	(void)json_object_set(body, "env", ch->command.env_names);
	decide_note(body, true, ch->rule, &ch->conn->grant);
	if (ch->conn->grant.force_command)
		(void)json_object_set_new(body, "forced", exec_text(ch->conn->grant.force_command));
	r = note_then(ch->conn->core, "channel.exec", ch->conn->grant.tenant,
	    conn_subject(ch->conn), body, on_recorded, p);
	if (r < 0)
		free(p);
	return r;
}

/* Everything is allowed: the session if there is none yet, the command made ready, and both
 * recorded. */
static void record(struct channel *ch)
{
	struct conn *k = ch->conn;
	struct core *c = k->core;
	const struct template *t =
	    c->config ? config_template(c->config, k->grant.tenant, k->grant.template_name) : NULL;
	struct session *fresh = NULL;
	char why[CORE_REASON_MAX];
	struct err e = ERR_INIT;
	int r;

	if (!t) {
		exec_deny(ch, "the session's template is not configured any more", NULL);
		return;
	}
	if (!k->session && !(fresh = session_new(k, why, sizeof why))) {
		exec_deny(ch, why, NULL);
		return;
	}
	if (command_resolve(&ch->command, &k->grant, t, k->session->id, &e) < 0 ||
	    (fresh && (r = session_record_start(fresh, NULL, NULL)) < 0 &&
	        err_set(&e, r, "%s", note_why(r)))) {
		if (fresh) {
			k->session = NULL;
			session_forget(fresh);
		}
		exec_deny(ch, err_text(&e), NULL);
		return;
	}
	ch->session = k->session;
	ch->state = CHANNEL_RECORDING;
	if ((r = note_exec(ch)) < 0)
		give_up(ch, note_why(r));
}

/* ---- deciding ---- */

static void ask_decider(struct channel *ch, const char *action);

static void on_decision(const struct decision *d, void *arg)
{
	struct channel *ch = unpark(arg);

	if (!ch)
		return;
	if (d->verdict != VERDICT_ALLOW)
		exec_deny(ch, *d->reason ? d->reason : "denied", d->rule);
	else if (ch->conn->session && ch->conn->session->state == SESSION_ENDING)
		exec_deny(ch, "the session is ending", NULL);
	else if (ch->command.pty && !ch->pty_asked)
		ask_decider(ch, "pty");
	else {
		(void)str_copy(ch->rule, sizeof ch->rule, d->rule);
		record(ch);
	}
}

static void ask_decider(struct channel *ch, const char *action)
{
	struct core *c = ch->conn->core;
	struct decide_request q = {.subject = &ch->conn->grant,
	    .action = action,
	    .object = ch->command.text ? ch->command.text : ""};
	struct parked *p = park(ch);

	if (!p) {
		exec_deny(ch, "no memory", NULL);
		return;
	}
	ch->state = CHANNEL_DECIDING;
	ch->pty_asked = strcmp(action, "pty") == 0;
	c->decider->decide(c->decider, &q, on_decision, p);
}

/* ---- what a worker or postern-run says ---- */

int exec_ask(struct conn *k, struct peer *p, struct msg *m, struct err *e)
{
	uint32_t id = (uint32_t)msg_int(m, "channel", 0);
	struct channel *ch;
	const char *action;
	char why[128];
	int r;

	if (channel_find(k, p, id))
		return err_set(e, -EPROTO, "channel.exec: channel %u is in use", id);
	if (!rate_take(&k->rate, clock_mono_ns(), CONN_EXEC_RATE, CONN_EXEC_BURST)) {
		/* not recorded: that is what the limit is for */
		(void)peer_send(p, "channel.denied", m->id,
		    json_pack("{s:I, s:s}", "channel", (json_int_t)id, "reason",
		        "too many commands in a short time"));
		return 0;
	}
	ch = channel_new(k, p, id);
	if (!ch)
		return err_set(e, -ENOMEM, "no memory");
	ch->question = m->id;
	if ((r = command_parse(m, &ch->command, e)) < 0) {
		channel_free(ch);
		return r;
	}
	action = command_action(&ch->command);
	if (k->nchannels > k->grant.channels || k->nchannels > INIT_CHANNELS_MAX) {
		(void)snprintf(why, sizeof why, "more than %u channels at once", k->grant.channels);
		exec_deny(ch, why, NULL);
	} else if (k->spent) {
		exec_deny(ch, "the session's sandbox has ended", NULL);
	} else if (!action) {
		exec_deny(ch, "this subsystem is not offered", NULL);
	} else {
		ask_decider(ch, action);
	}
	return 0;
}

int exec_signal(struct conn *k, struct peer *p, struct msg *m)
{
	struct channel *ch = channel_find(k, p, (uint32_t)msg_int(m, "channel", 0));
	int signo = command_signal(msg_str(m, "signal"));
	cleanup_buf struct buf b = {0};

	buf_init(&b, INIT_REQUEST_MAX);
	/* it may have ended meanwhile; an unknown signal is the client's fault (RFC 4254 6.9) */
	if (!ch || ch->state != CHANNEL_RUNNING || !ch->session || signo == 0)
		return 0;
	init_put_signal(&b, ch->init_id, (uint32_t)signo);
	if (buf_status(&b) == 0)
		(void)session_request(ch->session, &b, NULL, 0);
	return 0;
}

int exec_ended(struct conn *k, struct peer *p, struct msg *m)
{
	struct channel *ch = channel_find(k, p, (uint32_t)msg_int(m, "channel", 0));
	const char *signal = msg_str(m, "signal");
	json_t *body;

	if (!ch)
		return 0; /* refused or failed, and both sides said so at once */
	body = json_pack("{s:I, s:I, s:I, s:I, s:I}", "channel", (json_int_t)ch->id, "exit",
	    (json_int_t)msg_int(m, "exit", -1), "bytes_in", (json_int_t)msg_int(m, "bytes_in", 0),
	    "bytes_out", (json_int_t)msg_int(m, "bytes_out", 0), "bytes_err",
	    (json_int_t)msg_int(m, "bytes_err", 0));
	if (body && signal)
		(void)json_object_set_new(body, "signal", json_string(signal));
	if (ch->session) {
		ch->session->bytes_in += (uint64_t)msg_int(m, "bytes_in", 0);
		ch->session->bytes_out += (uint64_t)msg_int(m, "bytes_out", 0);
		ch->session->bytes_err += (uint64_t)msg_int(m, "bytes_err", 0);
	}
	(void)note(k->core, "channel.end", k->grant.tenant, conn_subject(k), body);
	channel_free(ch);
	return 0;
}

void exec_session_gone(struct conn *k, struct session *s, const char *reason)
{
	struct channel *ch, *next;

	for (ch = k->channels; ch; ch = next) {
		next = ch->next;
		if (ch->session != s)
			continue;
		ch->session = NULL;
		if (ch->state != CHANNEL_RUNNING || !s->enforced)
			exec_deny(ch, reason, NULL);
	}
}

void exec_peer_gone(struct conn *k, struct peer *p)
{
	struct channel *ch, *next;

	for (ch = k->channels; ch; ch = next) {
		next = ch->next;
		if (ch->peer != p)
			continue;
		if (ch->state == CHANNEL_RUNNING)
			(void)note(k->core, "channel.end", k->grant.tenant, conn_subject(k),
			    json_pack("{s:I, s:s}", "channel", (json_int_t)ch->id, "reason",
			        "its postern-run has gone"));
		channel_free(ch);
	}
}
