/*
 * A core without processes: the test plays everybody else over socket pairs, in the core's own
 * event loop.
 *
 * Two tenants, demo and other, each with a CA of its own and a role `agent`; demo also has
 * `narrow`, which may do exec only.
 */
#ifndef POSTERN_TESTS_SUPPORT_CORE_RIG_H
#define POSTERN_TESTS_SUPPORT_CORE_RIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/audit/record_store.h"
#include "broker/core/core.h"
#include "lib/msg.h"

struct buf;
struct chan;
struct key_private;
struct rig;

struct rig_end { /* one of the parts that the test plays */
	struct rig *rig;
	struct chan *chan;
	struct loop_source *source;
	char conn[CORE_ID_MAX + 1];
};

struct rig {
	char dir[64];                     /* etc/ and core/ below it */
	int config_fd, state_fd, proc_fd; /* proc: an empty directory of the test's own */
	struct loop *loop;
	struct loop_source *deadline;
	struct record_log *log;
	struct store *store; /* NULL with the log in memory */
	struct core *core;
	struct rig_end *supervisor, *spawn, *signer, *listener;
	struct key_private *ca, *other_ca, *subject;
	bool late;
	bool config_wrong;            /* rig_start() goes on without one */
	struct record_options limits; /* of a log in LMDB */
};

/* With the log in memory and no store, or with both in LMDB. Everything is linked and ready. */
struct rig *core_rig_new(bool stored, struct decider *d);
void core_rig_free(struct rig *r);
/* The core's part of core_rig_new() alone, and its end: to start it again. Ends that the test holds
 * stay. */
void rig_start(struct rig *r, struct decider *d);
void rig_stop(struct rig *r);
/* Makes the core ready; kept descriptors are sent before by rig_restore(). */
void rig_ready(struct rig *r);
void rig_restore(struct rig *r, const char *name, int fd);

struct rig_end *rig_end_new(struct rig *r, int fd, unsigned self);
void rig_end_free(struct rig_end *e);
/* Runs the loop until this end has a message, which has to be of this type; m may be NULL. */
void rig_expect(struct rig_end *e, const char *type, struct msg *m);
/* Runs the loop until the core has closed this end. */
void rig_expect_closed(struct rig_end *e);
/* A few turns: whatever the core would do by itself is done. Then nothing may be waiting at e. */
void rig_expect_nothing(struct rig_end *e);
void rig_turns(struct rig *r);
void rig_send(struct rig_end *e, const char *type, uint64_t id, json_t *body);

/* A listening socket of this kind ("ctl", "pam", "run") for the core; and a connection to it. */
void rig_listen(struct rig *r, const char *kind);
struct rig_end *rig_connect(struct rig *r, const char *kind, unsigned self);
/* PROC/PID/cgroup of this process, as the core sees it. */
void rig_cgroup(struct rig *r, const char *path);
/* A worker whose client has connected from this address. */
struct rig_end *rig_worker(struct rig *r, const char *peer);
/* A certificate of this CA for this principal, now to now + seconds; scope and the rest may be
 * NULL. */
struct rig_cert {
	struct key_private *ca; /* NULL: demo's */
	const char *principal;
	int64_t from_s, to_s; /* relative to now */
	const char *source, *command, *scope;
	unsigned permit;
};
json_t *rig_cert(struct rig *r, const struct rig_cert *c); /* as base64 */
/* auth.check with it, as question 7; takes key over. */
void rig_auth(struct rig_end *w, const char *user, json_t *key, bool proved);
/* A worker that was let in as demo's agent. */
struct rig_end *rig_agent(struct rig *r);
/* channel.exec as question 100 + channel. command NULL: a shell. */
void rig_exec(struct rig_end *w, int channel, const char *command, bool pty);
/* Expects channel.denied of that channel.exec, for a reason that says this. */
void rig_denied(struct rig_end *w, int channel, const char *reason);
/* Runs to a live session: answers sandbox.start. Returns its id in dst, and init's end of the
 * request socket. */
int rig_session(struct rig *r, struct rig_end *w, char dst[CORE_ID_MAX + 1]);

#endif
