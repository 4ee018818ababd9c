/*
 * The signer's mind: keys for each tenant, what may be signed, how often. It knows messages, but
 * neither sockets nor confinement (signer_main.c). It signs nothing that it has not put together
 * itself from checked fields, and keeps limits of its own whatever the core asks (field note: a
 * signer that signs what it is handed is an oracle).
 *
 * Keys live in one directory, known by descriptor: TENANT.es256, P-256, OpenSSH's format, 0600,
 * made at first use; and seal.state, with the keys that seal logs (creds/sealer.h).
 */
#ifndef POSTERN_CREDS_SIGNER_H
#define POSTERN_CREDS_SIGNER_H

#include <jansson.h>
#include <stdint.h>

struct err;
struct msg;
struct signer;

#define SIGNER_TTL_MAX_S  600
#define SIGNER_SKEW_MAX_S 60
#define SIGNER_TENANTS    256 /* keys held at once */

struct signer_config {
	int keys_fd;        /* directory; borrowed for the signer's life */
	const char *issuer; /* claim iss where a request names none; copied */
	unsigned rate;      /* signatures per second and tenant */
	unsigned burst;     /* at once */
};

/* The caller's; NULL with e. */
struct signer *signer_new(const struct signer_config *c, struct err *e);
void signer_free(struct signer *s);

/* Answers one checked message (jwt.sign, jwks.ask, and those of creds/signer_seal.h): *ret_type is
 * the answer's type (jwt.signed, jwks.tell, ..., or sign.refused with the reason) and *ret_body a
 * new reference. -ENOMEM; -ENOMSG if the message is none of the signer's. */
int signer_handle(struct signer *s, const struct msg *m, const char **ret_type, json_t **ret_body);

#endif
