/*
 * A session channel: what the client asks of it, and its life.
 *
 *   OPEN     nothing runs yet: pty-req and env are taken down
 *   WANTED   exec, shell or subsystem was asked for, and answered with success
 *   ASKED    channel.exec is with the core; ask_ns is the deadline
 *   RUNNING  bytes flow (relay.h); the status pipe says how it ended
 *   ENDING   what is left goes to the client, then exit status, EOF, close
 *   CLOSED   we have closed; the place is kept until the client has, too
 *
 * A refused request has been accepted on the wire: its reason goes to the client's stderr, with
 * exit status CHANNEL_EXIT_DENIED. Callbacks (channel_open() and those it registers) only take down
 * what was asked; channel_step() acts, once a turn.
 */
#ifndef POSTERN_GATEWAY_CHANNEL_H
#define POSTERN_GATEWAY_CHANNEL_H

#include <jansson.h>
#include <libssh/callbacks.h>
#include <libssh/libssh.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>

#include "gateway/ssh/relay.h"
#include "gateway/ssh/status.h"

struct conn;
struct msg;

#define CHANNEL_EXIT_DENIED 254
#define CHANNEL_COMMAND_MAX (64u * 1024)
#define CHANNEL_ENV_MAX     64
#define CHANNEL_ENV_NAME    128
#define CHANNEL_ENV_VALUE   4096
#define CHANNEL_ENV_BYTES   (24u * 1024) /* with the command it has to fit one message */
#define CHANNEL_TERM_MAX    64
#define CHANNEL_LINGER_NS   INT64_C(100000000) /* for output of a command that has ended */
#define CHANNEL_GONE_NS     INT64_C(500000000) /* for the reason why a sandbox is gone */
/* from the end of the output to our EOF: mostly the command has ended, too */
#define CHANNEL_QUIET_NS INT64_C(20000000)
/* a pipe's capacity: more than was there when the command ended */
#define CHANNEL_LEFT_MAX (1u << 20)

enum channel_state {
	CHANNEL_OPEN,
	CHANNEL_WANTED,
	CHANNEL_ASKED,
	CHANNEL_RUNNING,
	CHANNEL_ENDING,
	CHANNEL_CLOSED,
};

enum channel_kind { CHANNEL_NONE, CHANNEL_EXEC, CHANNEL_SHELL, CHANNEL_SUBSYSTEM };

struct channel {
	struct conn *conn;
	ssh_channel ssh;
	struct ssh_channel_callbacks_struct cb;
	uint32_t id; /* ours and the core's, not the wire's */
	enum channel_state state;
	int64_t ask_ns;

	enum channel_kind kind;
	char *command;
	json_t *env; /* base64 of NAME=VALUE */
	size_t env_bytes;
	bool pty;
	char term[CHANNEL_TERM_MAX + 1];
	struct winsize size;

	struct inflow in;
	struct outflow out[2]; /* stdout, stderr */
	int status_fd;
	struct status status;
	int64_t
	    ended_ns; /* since when the command has ended, or the status pipe has; 0: it has not */
	uint64_t ended_bytes;
	int64_t quiet_ns; /* since when stdout and stderr are at their end */

	bool reported; /* channel.ended is sent, or was never due */
	int exit_code; /* for the client, unless exit_signal */
	char exit_signal[24];
	bool exit_sent, eof_sent;
	bool client_closed; /* the client has closed: there is nobody to write to */
};

/* For the channel_open_request_session_function callback. NULL: refused. */
ssh_channel channel_open(ssh_session s, void *conn);
void channel_started(struct channel *ch, struct msg *m);
/* The core says no, or the sandbox did not come to be. record < 0: there is none. */
void channel_refused(struct channel *ch, const char *reason, int64_t record);
/* The connection ends: the client is told why. */
void channel_cut(struct channel *ch, const char *reason);
void channel_step(struct channel *ch, int64_t now_ns);
/* Something of it runs in a sandbox. */
bool channel_flows(const struct channel *ch);
/* Nothing is left to do with it: channel_release() may be called. */
bool channel_gone(const struct channel *ch);
/* When channel_step() wants to be called next; INT64_MAX: when something happens. */
int64_t channel_deadline(const struct channel *ch);
/* Ends what is left, tells the core, and releases. Never inside a callback. */
void channel_release(struct channel *ch);

#endif
