/*
 * One connection: a worker's (route ssh), or a login of a stock sshd (route sshd, the peer is
 * pam_postern.so). It has at most one grant and, from its first channel on, at most one live
 * session. Its end is the session's end.
 */
#ifndef POSTERN_CORE_CONN_H
#define POSTERN_CORE_CONN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/core/command.h"
#include "broker/core/core.h"
#include "broker/core/grant.h"
#include "broker/core/lifecycle.h"
#include "broker/core/rate.h"

struct peer;
struct session;

/* A refused attempt weighs four, a key that was only offered weighs one: clients offer all that
 * they have before the right one. Beyond six attempts nothing is judged any more. */
#define CONN_ATTEMPT      4u
#define CONN_FAILURES_MAX (6 * CONN_ATTEMPT)
#define CONN_EVENTS_MAX   64
#define CONN_USER_MAX     256
#define CONN_EXEC_RATE    100 /* commands a second, after a burst */
#define CONN_EXEC_BURST   1000

enum conn_route { ROUTE_SSH, ROUTE_SSHD };

enum channel_state {
	CHANNEL_DECIDING,
	CHANNEL_RECORDING,
	CHANNEL_PTY,
	CHANNEL_WAITING, /* until init has room for its request */
	CHANNEL_RUNNING
};

struct channel {
	struct channel *next;
	struct conn *conn;
	struct peer *peer; /* who asked: the worker, or a postern-run */
	uint32_t id;       /* the peer's number */
	uint32_t init_id;  /* init's number */
	uint64_t serial;   /* never used twice */
	uint64_t question; /* the message to answer */
	uint64_t pty_question;
	enum channel_state state;
	struct command command;
	struct session *session; /* NULL until it is recorded */
	int64_t started_ns;
	bool pty_asked; /* decided: the command; next the terminal */
	bool deciding;  /* inside the decider, for one that answers at once */
	char rule[128]; /* that allowed it */
};

struct conn {
	struct conn *next;
	struct core *core;
	char id[CORE_ID_MAX + 1];
	enum conn_route route;
	enum conn_state state;
	struct peer *peer;
	pid_t worker; /* whom the listener named; 0: nobody, or not known any more */
	char remote[65], local[65];
	uint8_t user[CONN_USER_MAX];
	size_t user_len;
	uint64_t who_question; /* of restored ones */
	bool user_fixed, asking, restored, quiet;
	bool unsaid;        /* a stranger more than the log has room for */
	uint64_t asking_id; /* route sshd: the login's question */
	unsigned failures, events;
	struct rate rate;   /* of channel.exec */
	struct grant grant; /* in CONN_OPEN */
	int64_t started_ns, ends_boot_ns;
	struct loop_source *timer;
	int login_fd; /* route sshd: a pidfd of sshd's privileged process, watched; else -1 */
	struct loop_source *login;
	struct session *session;
	struct channel *channels;
	uint32_t nchannels;
	bool spent;                /* its session has ended and it gets no other */
	char tie[CORE_ID_MAX + 1]; /* the failed session whose tie is still there, or empty */
};

/* id NULL: a new one. NULL without memory. */
struct conn *conn_new(struct core *c, enum conn_route route, const char *id);
struct conn *conn_find(struct core *c, const char *id);
/* The grant holds from now on: takes *g over, arms the timer. */
void conn_open(struct conn *k, struct grant *g);
/* Queues the row for the next commit. */
void conn_save(struct conn *k);
/* Ends it: recorded, the session with it, the peer told `why` (unless it is gone), and freed.
 * by_us: the core wants it. */
void conn_end(struct conn *k, const char *why, bool by_us);
void conn_free(struct conn *k); /* memory only */
/* Whom records are about (new). */
json_t *conn_subject(const struct conn *k);
unsigned conn_count(
    const struct core *c, const char *tenant); /* open ones; NULL: all, spare ones too */
void conn_set_phase(struct conn *k);
void conn_arm(struct conn *k);                           /* the timer, from ends_boot_ns */
int conn_event_apply(struct conn *k, enum conn_event e); /* 0 or -EPERM */

struct channel *channel_new(struct conn *k, struct peer *p, uint32_t id);
struct channel *channel_find(const struct conn *k, const struct peer *p, uint32_t id);
struct channel *channel_by_serial(struct core *c, uint64_t serial);
void channel_free(struct channel *ch);

#endif
