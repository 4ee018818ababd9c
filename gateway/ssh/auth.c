#include "gateway/ssh/auth.h"

#include <errno.h>
#include <libssh/server.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/ssh/channel.h"
#include "gateway/ssh/conn.h"
#include "gateway/ssh/uplink.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/msg.h"
#include "lib/str.h"

/* RFC 4250 4.1.2: what authentication methods speak with. */
#define AUTH_TYPE_MIN 50
#define AUTH_TYPE_MAX 79

/* The attempt came through a callback: it is not one of the silent ones. */
static void seen(struct conn *c)
{
	c->auth.silent_ns = 0;
	/* another libssh, which says it in other words: silence could not be told */
	if (++c->auth.seen > c->auth.requests)
		conn_fail(c, WORKER_INTERNAL, "libssh does not tell what it receives");
}

/* libssh's log is the one place where it tells the type of a packet that no callback is for. The
 * function's name is libssh's, so no text of the client's can pass for it. */
static void on_log(int priority, const char *function, const char *line, void *arg)
{
	static const char words[] = "Dispatching handler for packet type ";
	const char *at = strcmp(function, "ssh_packet_process") == 0 ? strstr(line, words) : NULL;
	struct conn *c = arg;
	long type;

	(void)priority;
	if (!at || !c || c->auth.done)
		return;
	type = strtol(at + sizeof words - 1, NULL, 10);
	if (type >= AUTH_TYPE_MIN && type <= AUTH_TYPE_MAX)
		c->auth.requests++;
}

static void listen_in(struct conn *c, bool on)
{
	(void)ssh_set_log_userdata(on ? c : NULL);
	(void)ssh_set_log_callback(on_log);
	(void)ssh_set_log_level(on ? SSH_LOG_PACKET : SSH_LOG_NOLOG);
}

static void charge(struct conn *c, unsigned cost)
{
	c->auth.cost += cost;
	if (c->auth.cost >= AUTH_FAILED_COST * (unsigned)c->config->max_tries)
		conn_fail(c, WORKER_AUTH, "too many failed authentications");
}

/* The first attempt fixes the name. */
static bool user_fits(struct conn *c, const char *user)
{
	if (!c->auth.user) {
		if (strlen(user) > AUTH_USER_MAX) {
			conn_fail(
			    c, WORKER_AUTH, "a user name of more than %d bytes", AUTH_USER_MAX);
			return false;
		}
		c->auth.user = strdup(user);
		if (!c->auth.user)
			conn_fail(c, WORKER_INTERNAL, "no memory");
		return c->auth.user != NULL;
	}
	if (strcmp(c->auth.user, user) == 0)
		return true;
	conn_fail(c, WORKER_AUTH, "the user name was changed");
	return false;
}

static void banner(struct conn *c, const char *text)
{
	char line[1200];
	ssh_string s;

	(void)snprintf(line, sizeof line, "%s%s\r\n",
	    strncmp(text, "postern:", 8) == 0 ? "" : "postern: denied: ", text);
	s = ssh_string_from_char(line);
	if (s) {
		(void)ssh_send_issue_banner(c->ssh, s);
		ssh_string_free(s);
	}
}

/* Takes the worker's view of the grant: {"tenant","role","channels","env","pty","expires_in_s"}. */
static int take_grant(struct conn *c, json_t *g)
{
	json_int_t channels = json_integer_value(json_object_get(g, "channels"));
	json_int_t left_s = json_integer_value(json_object_get(g, "expires_in_s"));
	json_t *env = json_object_get(g, "env");

	if (!json_is_object(g) || channels < 1 || left_s < 0 || (env && !json_is_array(env)))
		return -EBADMSG;
	c->max_channels =
	    channels < CONN_CHANNELS_MAX ? (uint32_t)channels : (uint32_t)CONN_CHANNELS_MAX;
	c->may_pty = json_is_true(json_object_get(g, "pty"));
	c->env = json_incref(env);
	if (left_s > 0 && left_s < INT64_MAX / NSEC_PER_SEC / 4)
		c->expires_ns = clock_boot_ns() + left_s * NSEC_PER_SEC;
	return 0;
}

/* Asks the core. key (base64) may be NULL. True: yes. */
static bool ask(struct conn *c, const char *method, const char *key, bool proved)
{
	struct msg m = MSG_INIT;
	struct err e = ERR_INIT;
	const char *text;
	bool ok;
	int r;

	r = uplink_auth(c, method, key, proved, &m, &e);
	if (r < 0) {
		banner(c, "the broker does not answer");
		conn_fail(
		    c, r == -ETIMEDOUT ? WORKER_INTERNAL : WORKER_NO_CORE, "%s", err_text(&e));
		return false;
	}
	ok = msg_bool(&m, "ok");
	if (!ok && (text = msg_str(&m, "banner")))
		banner(c, text);
	if (ok && proved && take_grant(c, msg_obj(&m, "grant")) < 0) {
		conn_fail(c, WORKER_INTERNAL, "the core sent no usable grant");
		ok = false;
	}
	msg_done(&m);
	return ok && !c->over;
}

static int refuse(struct conn *c, const char *user, const char *method, unsigned cost)
{
	seen(c);
	if (c->auth.done || c->over || !user_fits(c, user))
		return SSH_AUTH_DENIED;
	(void)ask(c, method, NULL, false);
	charge(c, cost);
	return SSH_AUTH_DENIED;
}

static int on_none(ssh_session s, const char *user, void *arg)
{
	struct conn *c = arg;
	unsigned cost = c->auth.free_none_used ? AUTH_FAILED_COST : 0;

	(void)s;
	c->auth.free_none_used = true;
	return refuse(c, user, "none", cost);
}

static int on_password(ssh_session s, const char *user, const char *password, void *arg)
{
	(void)s;
	(void)password;
	return refuse(arg, user, "password", AUTH_FAILED_COST);
}

/* An offer (state NONE) is answered without a grant; only VALID, a checked signature, logs in. */
static int judge_key(struct conn *c, const char *key, bool proved)
{
	struct auth *a = &c->auth;

	if (a->refused_key && strcmp(a->refused_key, key) == 0) {
		charge(c, proved ? AUTH_FAILED_COST : AUTH_OFFER_COST);
		return SSH_AUTH_DENIED;
	}
	if (ask(c, "publickey", key, proved)) {
		if (!proved) {
			charge(c, AUTH_OFFER_COST);
			return c->over ? SSH_AUTH_DENIED : SSH_AUTH_SUCCESS;
		}
		a->done = true;
		listen_in(c, false);
		c->stage = CONN_OPEN;
		return SSH_AUTH_SUCCESS;
	}
	if (!proved) {
		free(a->refused_key);
		a->refused_key = strdup(key);
	}
	charge(c, proved ? AUTH_FAILED_COST : AUTH_OFFER_COST);
	return SSH_AUTH_DENIED;
}

static int on_key(
    ssh_session s, const char *user, struct ssh_key_struct *key, char state, void *arg)
{
	struct conn *c = arg;
	char *b64 = NULL;
	int r = SSH_AUTH_DENIED;

	(void)s;
	seen(c);
	if (c->auth.done || c->over || !user_fits(c, user))
		return SSH_AUTH_DENIED;
	if (state != SSH_PUBLICKEY_STATE_NONE && state != SSH_PUBLICKEY_STATE_VALID) {
		charge(c, AUTH_FAILED_COST);
		return SSH_AUTH_DENIED;
	}
	if (ssh_pki_export_pubkey_base64(key, &b64) != SSH_OK || !b64 ||
	    strlen(b64) > B64_LEN(AUTH_KEY_MAX))
		charge(c, AUTH_FAILED_COST);
	else
		r = judge_key(c, b64, state == SSH_PUBLICKEY_STATE_VALID);
	ssh_string_free_char(b64);
	return r;
}

/* NULL: libssh refuses before it opens a file of Kerberos's. */
static ssh_string on_gssapi(ssh_session s, const char *user, int n, ssh_string *oids, void *arg)
{
	(void)s;
	(void)n;
	(void)oids;
	(void)refuse(arg, user, "gssapi-with-mic", AUTH_FAILED_COST);
	return NULL;
}

void auth_callbacks(struct conn *c)
{
	c->server_cb.auth_none_function = on_none;
	c->server_cb.auth_password_function = on_password;
	c->server_cb.auth_pubkey_function = on_key;
	c->server_cb.gssapi_select_oid_function = on_gssapi;
	listen_in(c, true);
}

bool auth_message(struct conn *c, int type, int subtype)
{
	if (type == SSH_REQUEST_SERVICE) {
		if (c->auth.started)
			charge(c, AUTH_OFFER_COST);
		c->auth.started = true;
		return true;
	}
	if (type != SSH_REQUEST_AUTH)
		return false;
	seen(c);
	if (!c->auth.done && !c->over) {
		/* without a name: libssh's public interface has none for these */
		if (c->auth.user)
			(void)ask(c,
			    subtype == SSH_AUTH_METHOD_INTERACTIVE ? "keyboard-interactive"
			                                           : "other",
			    NULL, false);
		charge(c, AUTH_FAILED_COST);
	}
	return true;
}

void auth_watch(struct conn *c, int64_t now_ns)
{
	struct auth *a = &c->auth;
	uint64_t unseen;

	if (a->done || c->over)
		return;
	if (c->packets.in_packets > AUTH_PACKETS_MAX) {
		conn_fail(c, WORKER_PROTOCOL, "too many packets before authentication");
		return;
	}
	unseen = a->requests - a->seen;
	if (unseen > a->unseen) {
		charge(c, AUTH_FAILED_COST * (unsigned)(unseen - a->unseen));
		a->unseen = unseen;
		if (!a->silent_ns)
			a->silent_ns = now_ns + AUTH_SILENT_NS;
	}
	if (a->silent_ns && now_ns >= a->silent_ns)
		conn_fail(c, WORKER_AUTH, "a signature or key that could not be used");
}

void auth_done(struct auth *a)
{
	free(a->user);
	free(a->refused_key);
	a->user = a->refused_key = NULL;
}
