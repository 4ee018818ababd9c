/*
 * The supervisor's state, and what its files call of each other. It starts, restarts and stops the
 * daemons, gives each its ends of the links and its listening sockets, keeps spare workers, and
 * holds the core's descriptors while the core is away. It parses nothing from outside: only
 * messages of its own children.
 *
 *   child.c    one daemon: start, messages, exit, restart
 *   links.c    the socket pairs between daemons, listening sockets, the core's descriptors
 *   workers.c  gateway workers
 *   stop.c     the clean end, in stages
 */
#ifndef POSTERN_SUPERVISOR_SUPERVISOR_H
#define POSTERN_SUPERVISOR_SUPERVISOR_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "broker/supervisor/dirs.h"
#include "broker/supervisor/settings.h"
#include "broker/supervisor/sockets.h"

struct chan;
struct err;
struct fdstore;
struct loop;
struct loop_source;
struct msg;
struct supervisor;
struct workers;

/* In the order in which they are started. */
enum child_role {
	CHILD_SPAWN,
	CHILD_SIGNER,
	CHILD_CORE,
	CHILD_EXPORT,
	CHILD_LISTENER,
	CHILD_ROLES
};

struct child {
	struct supervisor *sup;
	enum child_role role;
	pid_t pid; /* 0: not running */
	struct chan *link;
	struct loop_source *source;  /* of the link */
	struct loop_source *restart; /* timer */
	struct loop_source *late;    /* timer: has not sent `ready` */
	bool ready;
	unsigned failures; /* in a row */
	unsigned restarts; /* in all */
	int64_t started_boot_ns;
};

#define STORE_PATIENCE_NS    (10 * INT64_C(1000000000)) /* without a core that is ready */
#define READY_PATIENCE_NS    (30 * INT64_C(1000000000))
#define RESTART_PAUSE_MAX_MS 1000
#define RESTART_PAUSE_TIMES  30 /* as long, for who is optional */
#define FIRST_TRIES          3  /* deaths by signal before the first `ready` */

#define SUPERVISOR_SIGNALS 4

struct supervisor {
	struct settings set;
	struct dirs dirs;
	struct loop *loop;
	struct child child[CHILD_ROLES];
	struct workers *workers;
	struct fdstore *store;
	struct loop_source *signals[SUPERVISOR_SIGNALS];
	struct loop_source *store_timer;
	bool restoring; /* the core is being given its descriptors back */
	int listen_fd, ctl_fd, pam_fd, run_fd;
	char listen_shown[SOCKETS_ADDRESS_MAX];
	bool announced; /* everybody was ready once */
	unsigned stage; /* 0: running; else stop.c */
	struct loop_source *stage_timer;
	int exit_status;
};

/* ---- child.c ---- */
void child_init(struct supervisor *s, enum child_role role);
void child_done(struct child *c);
/* Starts it, or arms its restart timer when it cannot be started. */
void child_start(struct child *c);
void child_exited(struct child *c, int status);
const char *child_name(enum child_role role);    /* "core" */
const char *child_program(enum child_role role); /* "postern-core" */
/* Whether Postern works without it for a while: nobody waits for it, and it never stops the rest.
 */
bool child_optional(enum child_role role);
uid_t child_uid(const struct supervisor *s, enum child_role role);
/* To a child that runs; body is taken over. A child that does not listen any more is as good as
 * dead: it is ended and comes back. */
void child_send(struct child *c, const char *type, uint64_t id, json_t *body, int fd);
/* The milliseconds to wait before the next start after so many failures in a row. */
int64_t child_pause_ms(unsigned failures);
/* "status 1", "signal 9 (Killed)". Returns dst. */
char *child_status_text(char *dst, size_t size, int status);

/* ---- links.c ---- */
/* After a start: pairs with the others, listening sockets, stored descriptors. */
void links_started(struct child *c);
void links_flushed(struct child *c); /* there is room on its link again */
void links_core_gone(struct supervisor *s);
void links_core_ready(struct supervisor *s);
void links_store(struct supervisor *s, struct msg *m); /* store.put, store.drop */

/* ---- workers.c ---- */
struct workers *workers_new(struct supervisor *s);
void workers_free(struct workers *w);
void workers_fill(struct workers *w);          /* as many spare ones as wanted */
void workers_listener_gone(struct workers *w); /* its spare ones end with it */
void workers_used(struct workers *w, int64_t slot);
bool workers_exited(struct workers *w, pid_t pid, int status); /* false: not one of them */
void workers_kill(struct workers *w, int signo);
size_t workers_count(const struct workers *w);
void workers_tell(const struct workers *w, json_t *processes); /* appends for status.tell */

/* ---- stop.c ---- */
void stop_begin(struct supervisor *s, int exit_status);
void stop_progress(struct supervisor *s); /* after each exit */
bool stop_done(const struct supervisor *s);

/* ---- main.c ---- */
void supervisor_ready(struct supervisor *s); /* a child has sent `ready` */
void supervisor_status(struct supervisor *s, uint64_t id);
json_t *supervisor_process(
    const char *role, pid_t pid, uid_t uid, int64_t started, unsigned restarts);

#endif
