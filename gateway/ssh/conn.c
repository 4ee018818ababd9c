#include "gateway/ssh/conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "gateway/ssh/channel.h"
#include "gateway/ssh/uplink.h"
#include "gateway/ssh/request.h"
#include "gateway/ssh/watchdog.h"
#include "lib/chan.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/util.h"

#define PACKETS_A_TURN 64                 /* reads of at most 4 KiB each (libssh's MAX_BUF_SIZE) */
#define WORDS_NS       (3 * NSEC_PER_SEC) /* for last words */
#define CHANNEL_FDS    (RELAY_POLL_MAX + 1)

void conn_fail(struct conn *c, enum worker_status status, const char *fmt, ...)
{
	va_list ap;

	if (c->over)
		return;
	c->over = true;
	if (c->stage == CONN_ENDING)
		return;
	c->status = status;
	va_start(ap, fmt);
	(void)vsnprintf(c->reason, sizeof c->reason, fmt, ap);
	va_end(ap);
}

void conn_end(struct conn *c, enum worker_status status, const char *reason)
{
	if (c->over || c->stage == CONN_ENDING)
		return;
	c->stage = CONN_ENDING;
	c->status = status;
	(void)snprintf(c->reason, sizeof c->reason, "%s", reason);
	c->words_ns = 0; /* the loop cuts the channels, outside of any walk */
}

/* ---- libssh ---- */

static int on_message(ssh_session s, ssh_message m, void *arg)
{
	struct conn *c = arg;
	int type = ssh_message_type(m), subtype = ssh_message_subtype(m);
	char detail[256] = "";
	const char *host = NULL;
	int port = 0;

	(void)s;
	if (auth_message(c, type, subtype))
		return 1;
	if (type == SSH_REQUEST_CHANNEL_OPEN && subtype == SSH_CHANNEL_DIRECT_TCPIP) {
		host = ssh_message_channel_request_open_destination(m);
		port = ssh_message_channel_request_open_destination_port(m);
	} else if (type == SSH_REQUEST_GLOBAL) {
		host = ssh_message_global_request_address(m);
		port = ssh_message_global_request_port(m);
	}
	if (host)
		(void)snprintf(detail, sizeof detail, "%.200s:%d", host, port);
	return request_other(c, type, subtype, detail);
}

static int start(struct conn *c, int fd)
{
	uint64_t rekey = c->config->rekey_bytes;
	int one = 1;

	/* without it a client's second packet waits 40 ms for our delayed acknowledgement (RFC
	 * 1122 4.2.3.2) */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one);
	c->ssh = ssh_new();
	c->event = ssh_event_new();
	c->block = malloc(CONN_BLOCK);
	if (!c->ssh || !c->event || !c->block) {
		(void)close(fd);
		return -ENOMEM;
	}
	/* "none": libssh 0.10.6 takes "no" for an offer of zlib */
	if (ssh_options_set(c->ssh, SSH_OPTIONS_COMPRESSION, "none") != SSH_OK ||
	    ssh_options_set(c->ssh, SSH_OPTIONS_REKEY_DATA, &rekey) != SSH_OK ||
	    ssh_bind_accept_fd(c->bind, c->ssh, fd) != SSH_OK) {
		(void)close(fd);
		return -ENOMEM;
	}
	ssh_set_blocking(c->ssh, 0);
	ssh_set_counters(c->ssh, &c->bytes, &c->packets);
	c->server_cb.userdata = c;
	c->server_cb.channel_open_request_session_function = channel_open;
	auth_callbacks(c);
	ssh_callbacks_init(&c->server_cb);
	(void)ssh_set_server_callbacks(c->ssh, &c->server_cb);
	ssh_set_message_callback(c->ssh, on_message, c);
	ssh_set_auth_methods(c->ssh, SSH_AUTH_METHOD_PUBLICKEY);
	return 0;
}

static void client_left(struct conn *c)
{
	if (!c->auth.done)
		conn_fail(c, c->auth.cost ? WORKER_AUTH : WORKER_NO_AUTH,
		    "the client left before it had authenticated");
	else
		conn_fail(c, WORKER_OK, "the client left");
}

static void key_exchange(struct conn *c)
{
	int r = ssh_handle_key_exchange(c->ssh);

	if (r == SSH_ERROR) {
		const char *why = ssh_get_error(c->ssh);
		bool left = strstr(why, "Socket error") != NULL || !*why;

		conn_fail(
		    c, left ? WORKER_NO_AUTH : WORKER_PROTOCOL, "key exchange failed: %s", why);
	}
	if (r != SSH_OK)
		return;
	if (ssh_event_add_session(c->event, c->ssh) != SSH_OK) {
		conn_fail(c, WORKER_INTERNAL, "no memory");
		return;
	}
	if (c->stage == CONN_KEX)
		c->stage = CONN_AUTH;
}

static bool session_dead(const struct conn *c)
{
	return ssh_get_fd(c->ssh) < 0 || !ssh_is_connected(c->ssh) ||
	       (ssh_get_status(c->ssh) & (SSH_CLOSED | SSH_CLOSED_ERROR)) != 0;
}

static void packets(struct conn *c)
{
	uint64_t before = c->bytes.in_bytes;
	int one = 1;

	if (c->stage == CONN_KEX)
		key_exchange(c);
	for (unsigned i = 0; i < PACKETS_A_TURN && c->stage != CONN_KEX && !c->over; i++)
		if (ssh_event_dopoll(c->event, 0) != SSH_OK)
			break;
	if (c->stage != CONN_KEX && session_dead(c)) {
		client_left(c);
		return;
	}
	/* a small request wants its acknowledgement now; a flood is acknowledged as it goes */
	if (c->bytes.in_bytes - before < 32768 && !c->over)
		(void)setsockopt(ssh_get_fd(c->ssh), IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one);
}

/* ---- the loop ---- */

static void cut_channels(struct conn *c, int64_t now_ns)
{
	c->words_ns = now_ns + WORDS_NS;
	for (size_t i = 0; i < c->nchannels; i++)
		channel_cut(c->channels[i], c->reason);
}

static void step_channels(struct conn *c, int64_t now_ns)
{
	size_t n = c->nchannels;

	/* callbacks may append while we walk: those have their turn next time */
	for (size_t i = 0; i < n && !c->over; i++)
		channel_step(c->channels[(c->first + i) % n], now_ns);
	c->first = n ? (c->first + 1) % n : 0;
}

/* The only place that removes. */
static void reap(struct conn *c, bool all)
{
	size_t kept = 0, n = c->nchannels;
	struct channel *gone[CONN_CHANNELS_MAX];
	size_t ngone = 0;

	for (size_t i = 0; i < n; i++) {
		if (all || channel_gone(c->channels[i]))
			gone[ngone++] = c->channels[i];
		else
			c->channels[kept++] = c->channels[i];
	}
	c->nchannels = kept;
	for (size_t i = 0; i < ngone; i++)
		channel_release(gone[i]);
}

static bool words_said(const struct conn *c)
{
	for (size_t i = 0; i < c->nchannels; i++)
		if (c->channels[i]->state != CHANNEL_CLOSED)
			return false;
	return !(ssh_get_status(c->ssh) & SSH_WRITE_PENDING);
}

static void keepalive(struct conn *c, int64_t now_ns)
{
	int64_t every = c->config->keepalive_interval_s * NSEC_PER_SEC;

	if (every == 0 || c->stage != CONN_OPEN || now_ns < c->keepalive_ns)
		return;
	if (c->keepalive_ns != 0 && c->bytes.in_bytes == c->keepalive_bytes) {
		if (++c->silent > c->config->keepalive_count) {
			conn_fail(c, WORKER_LOST, "the client does not answer");
			return;
		}
		/* the first call takes in an earlier answer, the second asks (global_req_state) */
		(void)ssh_send_keepalive(c->ssh);
		(void)ssh_send_keepalive(c->ssh);
	} else {
		c->silent = 0;
	}
	c->keepalive_bytes = c->bytes.in_bytes;
	c->keepalive_ns = now_ns + every;
}

static void deadlines(struct conn *c, int64_t now_ns)
{
	if (!c->auth.done && now_ns >= c->grace_ns)
		conn_fail(c, WORKER_GRACE, "login grace time exceeded");
	if (c->expires_ns && clock_boot_ns() >= c->expires_ns)
		conn_end(c, WORKER_ENDED, "the grant has expired");
	keepalive(c, now_ns);
	if (c->stage != CONN_ENDING || c->over)
		return;
	if (c->words_ns == 0)
		cut_channels(c, now_ns);
	if (now_ns >= c->words_ns || words_said(c))
		c->over = true;
}

static int64_t earliest(const struct conn *c)
{
	int64_t t = c->auth.done ? INT64_MAX : c->grace_ns;

	if (c->auth.silent_ns && c->auth.silent_ns < t)
		t = c->auth.silent_ns;
	if (c->stage == CONN_ENDING && c->words_ns < t)
		t = c->words_ns;
	if (c->stage == CONN_OPEN && c->config->keepalive_interval_s && c->keepalive_ns < t)
		t = c->keepalive_ns;
	for (size_t i = 0; i < c->nchannels; i++) {
		int64_t d = channel_deadline(c->channels[i]);

		if (d < t)
			t = d;
	}
	return t;
}

static int timeout_ms(const struct conn *c, int64_t now_ns)
{
	int64_t t = earliest(c), ms;

	if (c->expires_ns) {
		int64_t left = c->expires_ns - clock_boot_ns();

		if (t == INT64_MAX || left < t - now_ns)
			t = now_ns + left;
	}
	if (t == INT64_MAX)
		return -1;
	ms = (t - now_ns + 999999) / 1000000;
	return ms < 0 ? 0 : ms > 3600000 ? 3600000 : (int)ms;
}

/* Something can go on without an event. libssh takes packets also while it writes: what came then
 * (an EOF, a window, a close) came after its channel's step, and nothing more need ever come. */
static bool restless(const struct conn *c)
{
	if (c->seen_packets != c->packets.in_packets || chan_pending(c->core))
		return true;
	for (size_t i = 0; i < c->nchannels; i++) {
		const struct channel *ch = c->channels[i];

		if (ch->state == CHANNEL_WANTED)
			return true;
	}
	return false;
}

static void turn(struct conn *c)
{
	struct pollfd p[2 + CONN_CHANNELS_MAX * CHANNEL_FDS];
	size_t at[CONN_CHANNELS_MAX], len[CONN_CHANNELS_MAX];
	size_t n = 2, nchannels = c->nchannels;
	int64_t now_ns = clock_mono_ns();
	bool pending = (ssh_get_status(c->ssh) & SSH_WRITE_PENDING) != 0;

	p[0] = (struct pollfd){ssh_get_fd(c->ssh), (short)(POLLIN | (pending ? POLLOUT : 0)), 0};
	p[1] = (struct pollfd){
	    chan_fd(c->core), (short)(POLLIN | (chan_wants_write(c->core) ? POLLOUT : 0)), 0};
	for (size_t i = 0; i < nchannels; i++) {
		const struct channel *ch = c->channels[i];

		at[i] = n;
		len[i] = relay_poll(ch, !pending, p + n);
		n += len[i];
		if (ch->status_fd >= 0)
			p[n++] = (struct pollfd){ch->status_fd, POLLIN, 0};
	}
	if (poll(p, (nfds_t)n, restless(c) ? 0 : timeout_ms(c, now_ns)) < 0 && errno != EINTR)
		conn_fail(c, WORKER_INTERNAL, "poll: %m");
	now_ns = clock_mono_ns();
	if (watchdog_pat(now_ns) < 0)
		conn_fail(c, WORKER_INTERNAL, "no watchdog");
	for (size_t i = 0; i < nchannels; i++)
		relay_woken(c->channels[i], p + at[i], len[i]);

	if (p[0].revents)
		packets(c);
	c->seen_packets = c->packets.in_packets;
	if (!c->auth.done)
		auth_watch(c, now_ns);
	if (p[1].revents & POLLOUT)
		(void)chan_flush(c->core);
	if (p[1].revents || chan_pending(c->core))
		uplink_receive(c);
	deadlines(c, now_ns);
	step_channels(c, now_ns);
	reap(c, false);
	if (!c->over && c->stage != CONN_KEX && session_dead(c))
		client_left(c);
}

static void farewell(struct conn *c)
{
	bool tell = c->status == WORKER_AUTH || c->status == WORKER_ENDED ||
	            c->status == WORKER_NO_CORE || c->status == WORKER_PROTOCOL;

	reap(c, true);
	uplink_farewell(c);
	if (!c->ssh)
		return;
	if (tell && !session_dead(c)) {
		char text[CONN_REASON_MAX + 32];

		(void)snprintf(text, sizeof text, "postern: %s", c->reason);
		(void)ssh_session_set_disconnect_message(c->ssh, text);
	}
	ssh_disconnect(c->ssh);
}

enum worker_status conn_run(struct conn *c, int fd)
{
	c->grace_ns = clock_mono_ns() + c->config->login_grace_s * NSEC_PER_SEC;
	c->status = WORKER_OK;
	if (start(c, fd) < 0)
		conn_fail(c, WORKER_INTERNAL, "cannot start: %s", ssh_get_error(c->bind));
	else
		key_exchange(c);
	while (!c->over)
		turn(c);
	farewell(c);
	auth_done(&c->auth);
	json_decref(c->env);
	free(c->block);
	c->block = NULL;
	return c->status;
}
