/*
 * Who is it? libssh checks that the client possesses the key it offers; everything else is asked of
 * the core, synchronously and with a deadline, because libssh 0.10.6 can only be answered inside
 * its callback.
 *
 * What libssh does not limit, we do: failed attempts (max_tries; a refused offer of a key counts
 * for a quarter, so that an agent with many keys gets through; the first "none" is free), the user
 * name (fixed by the first attempt), and silence: a bad signature or an unknown kind of key is
 * dropped by libssh without an answer or a callback, so requests that no callback has seen count as
 * failures, and the connection is closed AUTH_SILENT_NS after one. Other packets (IGNORE, DEBUG,
 * UNIMPLEMENTED, which some clients answer a failure with) are no attempts.
 */
#ifndef POSTERN_GATEWAY_AUTH_H
#define POSTERN_GATEWAY_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conn;

#define AUTH_USER_MAX    256
#define AUTH_KEY_MAX     (48u * 1024) /* as the message table has it */
#define AUTH_FAILED_COST 4u           /* of 4 * max_tries */
#define AUTH_OFFER_COST  1u
#define AUTH_PACKETS_MAX 256 /* before authentication is through */
#define AUTH_SILENT_NS   INT64_C(1500000000)

struct auth {
	char *user; /* of the first attempt */
	bool done;
	bool free_none_used;
	unsigned cost;
	char *refused_key; /* base64 of the last key that the core refused unproved */
	bool started;      /* the service was asked for: once is free */
	uint64_t requests; /* packets of authentication's types that came */
	uint64_t seen;     /* of them, those that a callback has seen */
	int64_t silent_ns; /* deadline after an unseen one; 0: none */
	uint64_t unseen;   /* already counted */
};

/* Sets the callbacks of c->server_cb that have to do with authentication. */
void auth_callbacks(struct conn *c);
/* A message without a callback of its own (another method, a service request). True: it was about
 * authentication. */
bool auth_message(struct conn *c, int type, int subtype);
/* To be called after packets were handled: closes the silent-failure hazard. */
void auth_watch(struct conn *c, int64_t now_ns);
void auth_done(struct auth *a);

#endif
