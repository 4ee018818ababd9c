#include "gateway/ssh/request.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/ssh/channel.h"
#include "gateway/ssh/conn.h"
#include "gateway/ssh/uplink.h"
#include "lib/buf.h"
#include "lib/msg.h"
#include "lib/signame.h"
#include "lib/util.h"

#define REFUSE 1

const char *request_signal_name(int signo)
{
	const char *name = signame(signo);

	return name ? name : "SIG@openssh.com";
}

static bool name_char(char c, bool first)
{
	return c == '_' || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (!first && c >= '0' && c <= '9');
}

bool request_env_allowed(const json_t *list, const char *name)
{
	size_t len = strlen(name), i;
	json_t *item;

	if (len == 0 || len > CHANNEL_ENV_NAME)
		return false;
	for (i = 0; i < len; i++)
		if (!name_char(name[i], i == 0))
			return false;
	json_array_foreach(list, i, item)
	{
		const char *want = json_string_value(item);
		size_t n = want ? strlen(want) : 0;

		if (n > 0 && want[n - 1] == '*') {
			if (strncmp(want, name, n - 1) == 0)
				return true;
		} else if (n > 0 && strcmp(want, name) == 0) {
			return true;
		}
	}
	return false;
}

static int on_env(ssh_session s, ssh_channel sc, const char *name, const char *value, void *arg)
{
	struct channel *ch = arg;
	cleanup_buf struct buf b;
	size_t len = strlen(name) + 1 + strlen(value);

	(void)s;
	(void)sc;
	buf_init(&b, CHANNEL_ENV_BYTES);
	if (ch->state != CHANNEL_OPEN || !request_env_allowed(ch->conn->env, name) ||
	    strlen(value) > CHANNEL_ENV_VALUE || json_array_size(ch->env) >= CHANNEL_ENV_MAX ||
	    ch->env_bytes + len > CHANNEL_ENV_BYTES)
		return REFUSE;
	buf_printf(&b, "%s=%s", name, value);
	if (buf_status(&b) < 0 || json_array_append_new(ch->env, msg_json_bytes(b.data, b.len)) < 0)
		return REFUSE;
	ch->env_bytes += len;
	return 0;
}

static unsigned short dimension(int v)
{
	return (unsigned short)(v < 0 ? 0 : v > 65535 ? 65535 : v);
}

static void take_size(struct channel *ch, int cols, int rows, int px, int py)
{
	ch->size = (struct winsize){.ws_row = dimension(rows),
	    .ws_col = dimension(cols),
	    .ws_xpixel = dimension(px),
	    .ws_ypixel = dimension(py)};
}

static int on_pty(
    ssh_session s, ssh_channel sc, const char *term, int cols, int rows, int px, int py, void *arg)
{
	struct channel *ch = arg;
	size_t n = strlen(term);

	(void)s;
	(void)sc;
	if (ch->state != CHANNEL_OPEN || ch->pty || !ch->conn->may_pty || n > CHANNEL_TERM_MAX)
		return REFUSE;
	for (size_t i = 0; i < n; i++)
		if (term[i] <= ' ' || term[i] > '~')
			return REFUSE;
	memcpy(ch->term, term, n + 1);
	take_size(ch, cols, rows, px, py);
	ch->pty = true;
	return 0;
}

static int on_window(ssh_session s, ssh_channel sc, int cols, int rows, int px, int py, void *arg)
{
	struct channel *ch = arg;

	(void)s;
	(void)sc;
	if (!ch->pty)
		return REFUSE;
	take_size(ch, cols, rows, px, py);
	if (ch->state == CHANNEL_RUNNING && ch->in.fd >= 0)
		(void)ioctl(ch->in.fd, TIOCSWINSZ, &ch->size);
	return 0;
}

/* One request to run something for each channel (RFC 4254 section 6.5). */
static int want(struct channel *ch, enum channel_kind kind, const char *command)
{
	if (ch->state != CHANNEL_OPEN || ch->conn->stage != CONN_OPEN)
		return REFUSE;
	if (command && strlen(command) > CHANNEL_COMMAND_MAX) {
		uplink_event(ch->conn, "command too long", command, 256);
		return REFUSE;
	}
	if (command && !(ch->command = strdup(command)))
		return REFUSE;
	ch->kind = kind;
	ch->state = CHANNEL_WANTED;
	return 0;
}

static int on_exec(ssh_session s, ssh_channel sc, const char *command, void *arg)
{
	(void)s;
	(void)sc;
	return want(arg, CHANNEL_EXEC, command);
}

static int on_shell(ssh_session s, ssh_channel sc, void *arg)
{
	(void)s;
	(void)sc;
	return want(arg, CHANNEL_SHELL, NULL);
}

static int on_subsystem(ssh_session s, ssh_channel sc, const char *name, void *arg)
{
	struct channel *ch = arg;

	(void)s;
	(void)sc;
	if (strcmp(name, "sftp") != 0) {
		uplink_event(ch->conn, "subsystem", name, strlen(name));
		return REFUSE;
	}
	return want(ch, CHANNEL_SUBSYSTEM, name);
}

static void on_signal(ssh_session s, ssh_channel sc, const char *name, void *arg)
{
	struct channel *ch = arg;

	(void)s;
	(void)sc;
	if (ch->state == CHANNEL_RUNNING && signame_number(name) > 0)
		uplink_signal(ch->conn, ch->id, name);
}

static int on_data(
    ssh_session s, ssh_channel sc, void *data, uint32_t len, int is_stderr, void *arg)
{
	(void)s;
	(void)sc;
	return (int)(is_stderr ? len : relay_take(arg, data, len));
}

static void on_eof(ssh_session s, ssh_channel sc, void *arg)
{
	(void)s;
	(void)sc;
	((struct channel *)arg)->in.eof = true;
}

static void on_close(ssh_session s, ssh_channel sc, void *arg)
{
	struct channel *ch = arg;

	(void)s;
	(void)sc;
	ch->in.eof = true;
	ch->client_closed = true;
}

void request_callbacks(struct channel *ch)
{
	ch->cb = (struct ssh_channel_callbacks_struct){
	    .userdata = ch,
	    .channel_data_function = on_data,
	    .channel_eof_function = on_eof,
	    .channel_close_function = on_close,
	    .channel_signal_function = on_signal,
	    .channel_pty_request_function = on_pty,
	    .channel_shell_request_function = on_shell,
	    .channel_pty_window_change_function = on_window,
	    .channel_exec_request_function = on_exec,
	    .channel_env_request_function = on_env,
	    .channel_subsystem_request_function = on_subsystem,
	};
	ssh_callbacks_init(&ch->cb);
}

int request_other(struct conn *c, int type, int subtype, const char *detail)
{
	const char *what = NULL;

	if (type == SSH_REQUEST_CHANNEL_OPEN)
		what = subtype == SSH_CHANNEL_DIRECT_TCPIP ? "direct-tcpip" : "channel";
	else if (type == SSH_REQUEST_GLOBAL)
		what = subtype == SSH_GLOBAL_REQUEST_TCPIP_FORWARD ? "tcpip-forward" : NULL;
	else if (type == SSH_REQUEST_CHANNEL)
		what = subtype == SSH_CHANNEL_REQUEST_X11 ? "x11" : NULL;
	if (what && c->auth.done)
		uplink_event(c, what, detail, detail ? strlen(detail) : 0);
	return 1;
}
