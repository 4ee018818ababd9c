/*
 * What a client may ask of a session channel (RFC 4254 section 6), taken down by libssh's
 * callbacks.
 *
 * Answered here: pty-req, env, exec, shell, subsystem, window-change, signal. libssh refuses what
 * has no callback, agent and X11 forwarding above all: for those a callback would mean success.
 */
#ifndef POSTERN_GATEWAY_REQUEST_H
#define POSTERN_GATEWAY_REQUEST_H

#include <jansson.h>
#include <stdbool.h>

struct channel;
struct conn;

/* Fills ch->cb. */
void request_callbacks(struct channel *ch);
/* The name of RFC 4254 section 6.10 for a signal number; for others as sshd has it,
 * "SIG@openssh.com". */
const char *request_signal_name(int signo);
/* [A-Za-z_][A-Za-z0-9_]*, not too long, and in the list;
 * an entry that ends in * matches any rest. */
bool request_env_allowed(const json_t *list, const char *name);
/* Everything that no callback is for: refused by libssh when we answer 1, and the log is told. */
int request_other(struct conn *c, int type, int subtype, const char *detail);

#endif
