/*
 * The core: who may say what now. It decides and records; bytes of a session never pass through it,
 * and nothing that came from a sandbox is parsed here.
 *
 * One loop, one thread. Whatever needs a record first is parked until the commit's callback;
 * objects may be gone by then, so callbacks carry ids and look them up again.
 *
 *   peer_*      links, and what each may say        handle_*    one file for each kind of peer
 *   conn_*      one authenticated connection        session_*   one sandbox with its leases
 *   exec        channel.exec to a running command   restore     the core that comes back
 */
#ifndef POSTERN_CORE_CORE_H
#define POSTERN_CORE_CORE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/audit/record.h"
#include "broker/core/space.h"

struct archive;
struct config;
struct decider;
struct err;
struct exporter;
struct loop;
struct loop_source;
struct peer;
struct provider;
struct seal;
struct store;

#define CORE_CONNS_MAX  4096 /* GATEWAY_CONNECTIONS_MAX, spare workers, CORE_PAM_MAX */
#define CORE_ID_MAX     36
#define CORE_REASON_MAX 400
#define CORE_LISTENERS  3
#define CORE_STOP_S     3
/* shorter than the gateway's own, whose client would then not learn of our record */
#define CORE_PATIENCE_NS (8 * NSEC_PER_SEC)
#define CORE_CTL_MAX     64 /* operators at once */
#define CORE_PAM_MAX     512
#define CORE_RUN_MAX     1024
#define CORE_RUN_UID_MAX 128 /* of one Unix user */

struct core_options {
	struct loop *loop;
	int supervisor_fd;       /* taken over */
	int config_fd;           /* CONFIGDIR; borrowed */
	const char *hostkey;     /* the host key's fingerprint; borrowed */
	int proc_fd, etc_fd;     /* /proc and /etc; borrowed; -1: do without */
	struct store *store;     /* borrowed; NULL: nothing survives (tests) */
	struct record_log *log;  /* borrowed */
	struct config *config;   /* taken over; NULL: the files are wrong */
	const char *config_why;  /* then: why */
	struct decider *decider; /* taken over; NULL: what the grant says */
	const char *instance;
	uint32_t idcount;
};

struct core_restored { /* descriptors that the supervisor kept */
	struct core_restored *next;
	int fd;
	char name[65];
};

struct core_listener {
	int fd;
	unsigned role; /* MSG_CTL, MSG_PAM, MSG_RUN */
	struct loop_source *source;
	long admin_gid; /* of a control socket: -1 nobody but root */
};

struct core {
	struct loop *loop;
	struct store *store;
	struct record_log *log;
	struct config *config;
	int64_t config_loaded_ns, started_boot_ns;
	int64_t patience_ns; /* with an init that does not read */
	int config_fd, proc_fd, etc_fd;
	const char *hostkey;
	uint32_t idcount;
	char instance[64];
	struct decider *decider;
	struct provider *jwt;
	struct seal *seal;          /* NULL: no store, nothing to seal */
	struct exporter *exporting; /* NULL: no store */
	struct archive *archive;    /* likewise */

	struct peer *supervisor, *spawn, *signer, *listener, *exporter;
	struct peer *peers, *dead;
	struct conn *conns;
	struct session *sessions;
	struct lease_entry *leases;
	struct question *questions; /* of operators, waiting for others: status.c */
	struct core_restored *restored;
	struct core_listener listeners[CORE_LISTENERS];

	struct loop_source *reap, *minute;
	struct space space; /* how full map and disk were, when last looked at */
	json_t *host;       /* what spawn can enforce; NULL: not told yet */
	uint64_t serial;
	int64_t rude_ns;       /* peer_rude(): since when */
	unsigned rude, unsaid; /* what was recorded since, and what was not */
	int64_t strange_ns;    /* handle_run.c: since when */
	unsigned strange;      /* what strangers had read since */
	bool clock_bad;        /* said so already */
	bool ready, stopping, quit;
	int status; /* for main(): the exit status once the loop has stopped */
};

/* Takes over what the options say. NULL with e. */
struct core *core_new(const struct core_options *o, struct err *e);
void core_free(struct core *c);
/* A new random id: "c-" + 16 hex and so on. dst[CORE_ID_MAX + 1]. */
void core_id(char *dst, char kind);
/* Seconds since 1970, never behind the newest record. */
int64_t core_now_s(struct core *c);
/* Whether the clock may be trusted for something new; the first time it may not, that is recorded.
 */
bool core_clock_ok(struct core *c, char *why, size_t size);
/* Whether anything new may start: the clock is good, and the store is the one that was sealed and
 * that the witnesses have seen. */
bool core_may_start(struct core *c, char *why, size_t size);
/* Has the supervisor keep, or forget, a descriptor for us. */
void core_keep(struct core *c, const char *kind, const char *id, int fd);
void core_forget(struct core *c, const char *kind, const char *id);

/* ---- records ---- */

/* Both take over subject and body. note() does not wait; note_then() calls done after the commit,
 * or answers -errno and done is not called. note() answers 1 for one too many, which is counted
 * only (record.h). */
int note(struct core *c, const char *class_name, const char *tenant, json_t *subject, json_t *body);
int note_then(struct core *c, const char *class_name, const char *tenant, json_t *subject,
    json_t *body, record_fn done, void *arg);
const char *note_why(int r); /* what a user is told when a record could not be written */

/* ---- events of more than one file ---- */

void core_link(struct core *c, const char *role, int fd);
int core_listen(struct core *c, const char *kind, int fd, struct err *e);
/* Loads the configuration again. 0, or -errno with e: nothing has changed. Recorded either way. */
int core_reload(struct core *c, const char *by, struct err *e);
void core_restore(struct core *c);
void core_restore_listing(struct core *c, const json_t *sessions);
/* Ends every session, then the loop: at the latest after CORE_STOP_S. */
void core_stop(struct core *c, int status);
/* Ends the loop now. */
void core_quit(struct core *c);

#endif
