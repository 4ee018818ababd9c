/*
 * What the files of the `postern` command share: exit statuses, where things are, and the link to
 * the core. A file a noun: ca.c, cert.c, session.c, audit.c, check.c, status.c, admin.c (reload,
 * clock, jwks, host-key), up.c, witness.c.
 */
#ifndef POSTERN_CTL_CTL_H
#define POSTERN_CTL_CTL_H

#include <jansson.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>

#include "broker/ctl/args.h"

struct chan;
struct err;
struct msg;

/* Exit statuses; postern(1) lists them. */
enum ctl_exit {
	EXIT_OK = 0,
	EXIT_FAILED = 1,     /* failed, or refused */
	EXIT_USAGE = 2,      /* the command line is wrong */
	EXIT_NO_DAEMON = 3,  /* no Postern runs there */
	EXIT_BROKEN = 4,     /* the audit log is not the one that was written */
	EXIT_CONFIG = 5,     /* the configuration is wrong */
	EXIT_NOT_FOUND = 6,  /* no such session, tenant, ... */
	EXIT_DENIED = 7,     /* not permitted */
	EXIT_MISSING = 8,    /* there is no audit log, or nothing in it */
	EXIT_UNREADABLE = 9, /* the audit log cannot be read */
	EXIT_WARNING = 10,   /* of status: it works, and somebody should look */
	EXIT_FLAGGED = 11,   /* of workspace export: something in it is kept back */
	/* of audit verify, what is not proved; 4 and 8 as well */
	EXIT_TAIL = 20,        /* the newest records are not sealed */
	EXIT_NO_KEY = 21,      /* seals were not checked, for lack of a key */
	EXIT_UNSEALED = 22,    /* there is no seal */
	EXIT_LOST = 23,        /* records are missing, or bodies beside them */
	EXIT_EPOCH = 24,       /* an epoch is missing or not proved */
	EXIT_SIGNATURE = 25,   /* a signature that does not hold, or of another key */
	EXIT_ROLLED_BACK = 26, /* less than a checkpoint that was kept */
	EXIT_RESIGNED = 27,    /* signed by a key out of its epoch */
	EXIT_FORK = 28,        /* two histories were signed */
	EXIT_DROPPED = 29,     /* a whole log is gone */
	EXIT_ARCHIVED = 30,    /* records are in the archive, which was not looked at */
	EXIT_RESTORED = 31     /* it was set back, and that is signed */
};

/* STATE/NAME of --state, else INSTALLED. Returns dst. */
char *ctl_path(const struct ctl *c, const char *name, const char *installed, char dst[PATH_MAX]);
/* "postern: TEXT" on stderr; returns code. Foreign text in it is escaped by the caller. */
int ctl_fail(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Writes o as JSON, ASCII only, and a newline. Returns EXIT_OK. */
int ctl_json(const json_t *o);

/* The control socket. *ret is the caller's. EXIT_OK, EXIT_NO_DAEMON or EXIT_DENIED; quiet: without
 * a word for EXIT_NO_DAEMON. */
int ctl_dial(const struct ctl *c, struct chan **ret, int quiet);
/* Asks (body is taken over) and waits; the answer is the caller's (msg_done). An exit status; what
 * the core refuses is said on stderr. */
int ctl_ask(struct chan *link, const char *type, json_t *body, struct msg *ret);
/* The same without a word. */
int ctl_try(struct chan *link, const char *type, json_t *body, struct msg *ret);
/* Dials, asks, and hands out the data of ctl.answer (new reference). */
int ctl_query(const struct ctl *c, const char *type, json_t *body, json_t **ret);

extern const struct ctl_command ctl_commands[];

int ctl_ca_init(struct ctl *c);
int ctl_cert_issue(struct ctl *c);
int ctl_cert_show(struct ctl *c);
int ctl_session_list(struct ctl *c);
int ctl_session_show(struct ctl *c);
int ctl_session_kill(struct ctl *c);
int ctl_audit_show(struct ctl *c);
int ctl_audit_erase(struct ctl *c);
int ctl_audit_verify(struct ctl *c);
int ctl_audit_export(struct ctl *c);
int ctl_audit_archive(struct ctl *c);
int ctl_audit_prove(struct ctl *c);
int ctl_audit_check_proof(struct ctl *c);
int ctl_audit_keys(struct ctl *c);
int ctl_audit_epoch(struct ctl *c);
int ctl_audit_ack(struct ctl *c);
int ctl_check(struct ctl *c);
int ctl_status(struct ctl *c);
int ctl_clock_ack(struct ctl *c);
int ctl_reload(struct ctl *c);
int ctl_jwks(struct ctl *c);
int ctl_host_key(struct ctl *c);
int ctl_up(struct ctl *c);
int ctl_backup(struct ctl *c);
int ctl_restore(struct ctl *c);
int ctl_audit_compact(struct ctl *c);
int ctl_template_list(struct ctl *c);
int ctl_template_show(struct ctl *c);
int ctl_template_check(struct ctl *c);
int ctl_template_build(struct ctl *c);
int ctl_workspace_list(struct ctl *c);
int ctl_workspace_create(struct ctl *c);
int ctl_workspace_snapshot(struct ctl *c);
int ctl_workspace_fork(struct ctl *c);
int ctl_workspace_rollback(struct ctl *c);
int ctl_workspace_delete(struct ctl *c);
int ctl_workspace_diff(struct ctl *c);
int ctl_workspace_export(struct ctl *c);
/* Asks for a stream (body is taken over): *ret, who reads closes it. An exit status. */
int ctl_stream_open(struct ctl *c, json_t *body, FILE **ret);
/* A line of broker/walk/line.h, of its text printable ASCII only. */
void ctl_workspace_line(const json_t *o);
int ctl_witness(struct ctl *c);
int ctl_witness_key(struct ctl *c);
int ctl_witness_list(struct ctl *c);
int ctl_witness_forget(struct ctl *c);

#endif
