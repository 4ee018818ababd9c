/*
 * From a certificate to a grant, or to the one precise reason why not. Pure: no messages, no clock,
 * no store; possession of the key is somebody else's to check (the worker; sshd).
 *
 * Order: well-formed; of a CA that a tenant lists, which alone says whose it is; really signed by
 * it; then, with reasons that the client may hear: the certificate's own rules, its time, its
 * source addresses, the login name as exactly one of its principals and a role of that tenant, and
 * what the scope asks for.
 */
#ifndef POSTERN_CORE_AUTHORIZE_H
#define POSTERN_CORE_AUTHORIZE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/core/grant.h"

struct config;
struct tenant;

#define AUTHORIZE_REASON_MAX 400

struct authorize_query {
	const struct config *config;
	const void *user; /* the login name as it came */
	size_t user_len;
	bool unix_user;  /* a Unix account of this host (route sshd): role.unix names the role */
	const void *key; /* a certificate's blob, as it came */
	size_t key_len;
	const char *peer; /* "192.0.2.1", "192.0.2.1:4711", "[2001:db8::1]:4711"; NULL: unknown */
	int64_t now_s;
};

struct authorize_answer {
	bool tell; /* the reason may be told to the client: a known CA really signed this */
	char reason[AUTHORIZE_REASON_MAX];
	const struct tenant *tenant; /* of the CA, once the signature holds; borrowed from config */
	char key_fingerprint[64], ca_fingerprint[64];
	char key_id[260]; /* escaped */
	uint64_t serial;
	struct grant grant; /* on success; the caller's to grant_done() */
};

/* 0 or -EACCES; *ret is filled in both cases. */
int authorize(const struct authorize_query *q, struct authorize_answer *ret);
/* The part of "ADDRESS:PORT" before the port, without brackets. False if it does not fit. */
bool peer_address(const char *peer, char *dst, size_t size);

#endif
