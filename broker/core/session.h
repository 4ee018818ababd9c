/*
 * One session: one sandbox with its leases, made by the first channel of a connection (route sshd:
 * by the login), ended with it. It counts until nothing of it is left.
 */
#ifndef POSTERN_CORE_SESSION_H
#define POSTERN_CORE_SESSION_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/core/core.h"
#include "broker/core/grant.h"
#include "broker/core/lifecycle.h"
#include "broker/core/rate.h"
#include "broker/spawn/plan.h"

struct buf;
struct channel;
struct conn;

#define SESSION_ENDED_KEPT 512 /* rows of ended sessions */
#define SESSION_REASON_MAX CORE_REASON_MAX

struct session {
	struct session *next;
	struct core *core;
	char id[CORE_ID_MAX + 1];
	enum session_state state;
	struct conn *conn; /* NULL: it has ended before us */
	char conn_id[CORE_ID_MAX + 1], remote[65];
	bool sshd, tied, listed;
	struct grant grant; /* the creator's */
	struct plan plan;
	int init_fd;                         /* our end of the request socket; -1: none */
	int inner_fd;                        /* init's end, until spawn has it */
	struct loop_source *room, *patience; /* while init has left much unread */
	uint64_t start_question, tie_question;
	int64_t pid;
	json_t *enforced;
	char tie_path[257];
	int64_t started_ns, ends_boot_ns;
	struct loop_source *timer;
	uint32_t next_channel;
	struct peer *lease_peer;
	struct peer *walk_peer;           /* reads its files after its end */
	struct peer *watch_peer;          /* sees which programs it runs */
	uint64_t programs, programs_lost; /* told of, and of them not on record one by one */
	uint64_t programs_unsaid;         /* lost since the last record */
	unsigned programs_parts;
	unsigned files_parts;
	json_t *files;                         /* what that counted; NULL: not told */
	bool walked;                           /* there was somebody */
	char gone_reason[CORE_REASON_MAX + 1]; /* sandbox.ended has come, and waits for it */
	json_t *gone_totals;
	char reason[SESSION_REASON_MAX + 1]; /* why it is ending */
	/* totals */
	uint64_t channels, leases, bytes_in, bytes_out, bytes_err;
	struct rate rate; /* of lease.get */
};

/* A new one in SESSION_NEW for this connection, its plan resolved, within the quotas. NULL with
 * why. */
struct session *session_new(struct conn *k, char *why, size_t size);
struct session *session_find(struct core *c, const char *id);
unsigned session_count(const struct core *c, const char *tenant);
/* Its start, as a record; it is durable when the next critical record of this turn is. */
int session_record_start(struct session *s, record_fn done, void *arg);
/* Makes the request socket, both ends of it. */
int session_socket(struct session *s);
/* Orders the sandbox; the requests for init that were queued before go with it. */
int session_order(struct session *s);
/* One request and its descriptors to init. 0, -EPIPE, or -EAGAIN: init has left much unread, and
 * exec_resume() is called once it has read. */
int session_request(struct session *s, const struct buf *b, const int *fds, size_t nfds);
/* Nobody waits for room in the request socket any more. */
void session_request_done(struct session *s);
/* What spawn says. */
void session_started(struct session *s, int64_t pid, json_t *enforced);
void session_failed(struct session *s, const char *step, const char *reason);
/* totals may be NULL; taken over. */
void session_gone(struct session *s, const char *reason, json_t *totals);
/* Who has read its files is gone: by now nothing more comes of it. */
void session_walked(struct session *s);
/* It shall end: spawn is told, or there is nothing to end. s may be freed by it. */
void session_end(struct session *s, const char *reason);
/* Of one that was never recorded: frees it without a word. */
void session_forget(struct session *s);
void session_save(struct session *s);
void session_arm(struct session *s);
void session_free(struct session *s); /* memory only */
json_t *session_subject(const struct session *s);
/* The summary of broker/core/ctl_answers.h. */
json_t *session_summary(const struct session *s);

#endif
