/*
 * One connection: the state that the files of a worker share, and its main loop.
 *
 * The rule that keeps libssh 0.10.6 safe: any ssh_* call may run callbacks, for other channels too.
 * So callbacks only set flags, append to bounded buffers, write to descriptors, and ask the core;
 * the loop acts. channels[] only grows inside callbacks, and only conn_reap() removes from it,
 * outside every walk. Only the session is in the ssh_event; all other descriptors are in our own
 * poll().
 *
 * Every wait has a deadline: the grace time, the core's answer, the last words, the keepalive.
 */
#ifndef POSTERN_GATEWAY_CONN_H
#define POSTERN_GATEWAY_CONN_H

#include <jansson.h>
#include <libssh/callbacks.h>
#include <libssh/libssh.h>
#include <libssh/server.h>
#include <stdbool.h>
#include <stdint.h>

#include "gateway/ssh/auth.h"
#include "gateway/ssh/config.h"
#include "gateway/ssh/worker.h"

struct chan;
struct channel;

#define CONN_CHANNELS_MAX 256           /* whatever a grant says */
#define CONN_BLOCK        (256u * 1024) /* read from a sandbox at once */
#define CONN_EVENTS_MAX   64            /* conn.event messages of one connection */
#define CONN_REASON_MAX   512

enum conn_stage {
	CONN_KEX,    /* key exchange */
	CONN_AUTH,   /* who is it? */
	CONN_OPEN,   /* channels */
	CONN_ENDING, /* last words, until words_ns */
};

struct conn {
	const struct gateway_config *config;
	ssh_bind bind;
	ssh_session ssh;
	ssh_event event;
	struct ssh_server_callbacks_struct server_cb;
	struct ssh_counter_struct bytes, packets;
	uint64_t seen_packets; /* that every step has seen */
	struct chan *core;
	char id[40], peer[72], local[72];

	enum conn_stage stage;
	bool over;                 /* the loop stops after this turn */
	enum worker_status status; /* with which the worker exits */
	char reason[CONN_REASON_MAX + 1];

	struct auth auth;
	/* the worker's view of the grant: broker/core/grant.h */
	uint32_t max_channels;
	bool may_pty;
	json_t *env; /* names; a trailing * matches any rest */

	struct channel *channels[CONN_CHANNELS_MAX];
	size_t nchannels;
	size_t first; /* whose turn it is to write first */
	uint32_t last_channel;
	unsigned events;
	uint8_t *block; /* CONN_BLOCK bytes, only between a read and its write */

	int64_t grace_ns;     /* deadline; clock_mono_ns, as all of these */
	int64_t expires_ns;   /* the grant's end, 0: none */
	int64_t words_ns;     /* CONN_ENDING: when to stop trying */
	int64_t keepalive_ns; /* next look */
	uint64_t keepalive_bytes;
	unsigned silent; /* intervals without a byte from the client */
};

/* Runs the connection on fd (taken over) to its end. Returns the exit status. */
enum worker_status conn_run(struct conn *c, int fd);

/* The connection ends: what the first caller says is kept. conn_fail() at the end of this turn,
 * without another word to the client; conn_end() tells the client why first. Both may be called
 * from callbacks. */
void conn_fail(struct conn *c, enum worker_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void conn_end(struct conn *c, enum worker_status status, const char *reason);

#endif
