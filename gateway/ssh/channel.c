#include "gateway/ssh/channel.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/ssh/conn.h"
#include "gateway/ssh/request.h"
#include "gateway/ssh/uplink.h"
#include "lib/clock.h"
#include "lib/fdio.h"
#include "lib/msg.h"
#include "lib/util.h"

ssh_channel channel_open(ssh_session s, void *arg)
{
	struct conn *c = arg;
	struct channel *ch;

	if (c->stage != CONN_OPEN || c->over)
		return NULL;
	if (c->nchannels >= c->max_channels) {
		uplink_event(c, "too many channels", NULL, 0);
		return NULL;
	}
	ch = calloc(1, sizeof *ch);
	if (!ch)
		return NULL;
	ch->conn = c;
	ch->id = ++c->last_channel;
	ch->status_fd = -1;
	relay_init(ch);
	ch->env = json_array();
	ch->ssh = ssh_channel_new(s);
	request_callbacks(ch);
	if (!ch->env || !ch->ssh || ssh_set_channel_callbacks(ch->ssh, &ch->cb) != SSH_OK) {
		json_decref(ch->env);
		ssh_channel_free(ch->ssh); /* not bound yet: released at once */
		free(ch);
		return NULL;
	}
	c->channels[c->nchannels++] = ch;
	return ch->ssh;
}

/* The client will get this, once what is left of the output has been sent. */
static void finish(struct channel *ch, int code, int signo)
{
	const char *name = signo ? request_signal_name(signo) : NULL;

	relay_close_in(ch);
	relay_close_out(ch);
	util_close(&ch->status_fd);
	ch->exit_code = code;
	if (name)
		(void)snprintf(ch->exit_signal, sizeof ch->exit_signal, "%s", name);
	if (ch->state < CHANNEL_RUNNING)
		ch->reported = true; /* nothing ran */
	ch->state = CHANNEL_ENDING;
}

/* The client hears of the end first: the core's commit would only take the processor from it. */
static void report(struct channel *ch)
{
	bool by_signal = *ch->exit_signal != 0;

	if (!ch->reported)
		uplink_ended(ch->conn, ch, by_signal ? -1 : ch->exit_code,
		    by_signal ? ch->exit_signal : NULL);
	ch->reported = true;
}

void channel_refused(struct channel *ch, const char *reason, int64_t record)
{
	char text[CONN_REASON_MAX + 64];

	if (ch->state != CHANNEL_ASKED && ch->state != CHANNEL_RUNNING)
		return;
	if (record >= 0)
		(void)snprintf(text, sizeof text, "postern: denied: %s (record %lld)", reason,
		    (long long)record);
	else
		(void)snprintf(text, sizeof text, "postern: denied: %s", reason);
	relay_say(ch, text);
	finish(ch, CHANNEL_EXIT_DENIED, 0);
}

void channel_cut(struct channel *ch, const char *reason)
{
	char text[CONN_REASON_MAX + 64];

	if (ch->state >= CHANNEL_ENDING)
		return;
	(void)snprintf(text, sizeof text, "postern: session ended: %s", reason);
	relay_say(ch, text);
	finish(ch, CHANNEL_EXIT_DENIED, 0);
}

void channel_started(struct channel *ch, struct msg *m)
{
	size_t want = ch->pty ? 2 : 4;
	int *to[4] = {&ch->in.fd, &ch->out[0].fd, &ch->out[1].fd, &ch->status_fd};

	if (ch->state != CHANNEL_ASKED)
		return;
	if (m->nfds != want) {
		channel_refused(ch, "the broker sent the wrong descriptors", -1);
		return;
	}
	ch->state = CHANNEL_RUNNING;
	if (ch->pty) {
		ch->in.fd = ch->out[0].fd = msg_take_fd(m, 0);
		ch->status_fd = msg_take_fd(m, 1);
		(void)ioctl(ch->in.fd, TIOCSWINSZ, &ch->size);
	} else {
		for (size_t i = 0; i < 4; i++)
			*to[i] = msg_take_fd(m, i);
	}
	for (size_t i = 0; i < 4; i++)
		if (*to[i] >= 0 && fd_set_nonblock(*to[i], true) < 0)
			conn_fail(ch->conn, WORKER_INTERNAL, "a descriptor cannot be used");
	if (tap_chain_add(&ch->in.taps, tap_count_new(&ch->in.bytes)) < 0 ||
	    tap_chain_add(&ch->out[0].taps, tap_count_new(&ch->out[0].bytes)) < 0 ||
	    tap_chain_add(&ch->out[1].taps, tap_count_new(&ch->out[1].bytes)) < 0)
		conn_fail(ch->conn, WORKER_INTERNAL, "no memory");
}

/* ---- how the command ended ---- */

static void command_ended(struct channel *ch, int64_t now_ns)
{
	ch->ended_ns = now_ns;
	ch->out[0].dry = ch->out[1].dry = false;
	util_close(&ch->status_fd);
}

static void read_status(struct channel *ch, int64_t now_ns)
{
	uint8_t data[STATUS_LEN * STATUS_RECORDS_MAX];
	ssize_t n = read(ch->status_fd, data, sizeof data);
	bool failed = ch->status.failed;
	char text[160];

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || status_take(&ch->status, data, (size_t)n) < 0) {
		if (n > 0)
			uplink_event(ch->conn, "bad status record", data, (size_t)n);
		ch->status.exited = ch->status.signaled = false;
		command_ended(ch, now_ns);
		return;
	}
	if (ch->status.failed && !failed) {
		const char *why = strerrordesc_np((int)ch->status.failed_errno);

		(void)snprintf(text, sizeof text, "postern: cannot run the command: %s",
		    why ? why : "unknown error");
		relay_say(ch, text);
	}
	if (status_final(&ch->status))
		command_ended(ch, now_ns);
}

/* What was in the pipes when the command ended has been read. A process that outlives it may hold
 * them open, or even go on writing: nobody waits for that. */
static bool drained(const struct channel *ch)
{
	for (unsigned i = 0; i < 2; i++)
		if (ch->out[i].fd >= 0 && !ch->out[i].dry && ch->ended_bytes < CHANNEL_LEFT_MAX)
			return false;
	return ch->client_closed || !relay_tails(ch);
}

static void step_ended(struct channel *ch, int64_t now_ns)
{
	bool at_end = ch->out[0].fd < 0 && ch->out[1].fd < 0;

	if (status_final(&ch->status)) {
		if (drained(ch) && (at_end || now_ns >= ch->ended_ns + CHANNEL_LINGER_NS))
			finish(ch, ch->status.signaled ? 0 : (int)ch->status.value,
			    ch->status.signaled ? (int)ch->status.value : 0);
		return;
	}
	/* the sandbox is gone; the core may be about to say why */
	if (now_ns >= ch->ended_ns + CHANNEL_GONE_NS && drained(ch)) {
		relay_say(ch, "postern: session ended: the sandbox is gone");
		finish(ch, CHANNEL_EXIT_DENIED, 0);
	}
}

/* ---- a turn ---- */

static void move_out(struct channel *ch)
{
	/* once each while it runs, so that every channel gets its turn;
	 * all that is left at the end */
	for (unsigned i = 0; i < 2; i++) {
		unsigned rounds = 0;

		while ((ch->out[i].wake || ch->out[i].tail.len || ch->ended_ns) &&
		       relay_out(ch, i) && ++rounds < 4)
			;
	}
}

/* Output is at its end, the command is not. Mostly it ends now, too; or the sandbox did not come to
 * be, and after an EOF the client could not be told why. */
static void step_quiet(struct channel *ch, int64_t now_ns)
{
	if (!ch->quiet_ns)
		ch->quiet_ns = now_ns;
	if (now_ns < ch->quiet_ns + CHANNEL_QUIET_NS)
		return;
	ch->eof_sent = true;
	(void)ssh_channel_send_eof(ch->ssh);
}

static void step_running(struct channel *ch, int64_t now_ns)
{
	relay_in(ch);
	if (ch->client_closed) {
		/* nobody reads any more; what the client has sent still reaches the command, whose
		 * status is still wanted: OpenSSH's mux client closes once both sides
		 * have sent EOF */
		relay_close_out(ch);
	} else {
		move_out(ch);
	}
	if (ch->state == CHANNEL_RUNNING && ch->status_fd >= 0)
		read_status(ch, now_ns);
	if (ch->state != CHANNEL_RUNNING)
		return;
	if (ch->ended_ns) {
		if (!ch->client_closed)
			move_out(ch);
		step_ended(ch, now_ns);
	} else if (!ch->eof_sent && !ch->client_closed && ch->out[0].fd < 0 && ch->out[1].fd < 0 &&
	           !relay_tails(ch)) {
		step_quiet(ch, now_ns);
	}
}

/* Tails, status, EOF, close: ssh_channel_close() wants to be called again while
 * bytes are waiting. */
static void step_ending(struct channel *ch)
{
	int r;

	for (unsigned i = 0; i < 2; i++)
		(void)relay_out(ch, i);
	if (relay_tails(ch) && !ch->client_closed)
		return;
	if (!ch->exit_sent && ch->kind != CHANNEL_NONE) {
		if (*ch->exit_signal)
			r = ssh_channel_request_send_exit_signal(
			    ch->ssh, ch->exit_signal, 0, "", "");
		else
			r = ssh_channel_request_send_exit_status(ch->ssh, ch->exit_code);
		if (r != SSH_OK)
			return;
	}
	ch->exit_sent = true;
	r = ssh_channel_close(ch->ssh);
	if (r == SSH_AGAIN)
		return;
	ch->state = CHANNEL_CLOSED;
	report(ch);
}

void channel_step(struct channel *ch, int64_t now_ns)
{
	struct conn *c = ch->conn;

	if (ch->state == CHANNEL_OPEN && ch->client_closed)
		finish(ch, -1, 0);
	if (ch->state == CHANNEL_WANTED) {
		ch->state = CHANNEL_ASKED;
		ch->ask_ns = now_ns + c->config->broker_timeout_s * NSEC_PER_SEC;
		if (uplink_exec(c, ch) == -ENOMEM)
			channel_refused(ch, "no memory", -1);
	}
	if (ch->state == CHANNEL_ASKED && now_ns >= ch->ask_ns)
		channel_refused(ch, "the broker does not answer", -1);
	if (ch->state == CHANNEL_RUNNING)
		step_running(ch, now_ns);
	if (ch->state == CHANNEL_ENDING)
		step_ending(ch);
}

bool channel_flows(const struct channel *ch)
{
	return ch->state == CHANNEL_RUNNING;
}

bool channel_gone(const struct channel *ch)
{
	return ch->state == CHANNEL_CLOSED && ch->client_closed;
}

int64_t channel_deadline(const struct channel *ch)
{
	if (ch->state == CHANNEL_ASKED)
		return ch->ask_ns;
	if (ch->state == CHANNEL_RUNNING && ch->ended_ns)
		return ch->ended_ns +
		       (status_final(&ch->status) ? CHANNEL_LINGER_NS : CHANNEL_GONE_NS);
	if (ch->state == CHANNEL_RUNNING && ch->quiet_ns && !ch->eof_sent)
		return ch->quiet_ns + CHANNEL_QUIET_NS;
	return INT64_MAX;
}

void channel_release(struct channel *ch)
{
	if (ch->state == CHANNEL_RUNNING)
		ch->exit_code = -1;
	if (ch->state >= CHANNEL_RUNNING)
		report(ch);
	relay_done(ch);
	util_close(&ch->status_fd);
	json_decref(ch->env);
	free(ch->command);
	(void)ssh_remove_channel_callbacks(ch->ssh, &ch->cb);
	ssh_channel_free(ch->ssh);
	free(ch);
}
