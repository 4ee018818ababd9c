/*
 * channel.exec, from the question to a running command: parse, decide, record, then pipes or a
 * terminal, the request to init, and the other ends to whoever asked. Bytes do not come by here.
 */
#ifndef POSTERN_CORE_EXEC_H
#define POSTERN_CORE_EXEC_H

#include <stdint.h>

struct conn;
struct core;
struct err;
struct msg;
struct peer;
struct session;

/* The handlers of a worker and of postern-run: 0, or -errno when the peer has broken a rule. */
int exec_ask(struct conn *k, struct peer *p, struct msg *m, struct err *e);
int exec_signal(struct conn *k, struct peer *p, struct msg *m);
int exec_ended(struct conn *k, struct peer *p, struct msg *m);
/* The answers to sandbox.pty; descriptors are the caller's. */
void exec_pty_opened(struct core *c, uint64_t question, int master, int slave);
void exec_pty_failed(struct core *c, uint64_t question, const char *reason);
/* Init has read what it had left, and takes what waited. With a reason: it never will, and what
 * waited is denied. */
void exec_resume(struct session *s, const char *reason);
/* Its session is over: what waits is denied, what runs learns it by the end of its pipes. */
void exec_session_gone(struct conn *k, struct session *s, const char *reason);
/* A postern-run has gone: its channels end. */
void exec_peer_gone(struct conn *k, struct peer *p);

#endif
