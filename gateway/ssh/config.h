/*
 * The gateway's part of postern.yaml: the mapping `gateway`. Other top-level keys belong to other
 * processes and are not looked at. A missing file or mapping means the defaults.
 *
 * Depends on lib alone.
 */
#ifndef POSTERN_GATEWAY_CONFIG_H
#define POSTERN_GATEWAY_CONFIG_H

#include <stdint.h>
#include <stdio.h>

struct err;

#define GATEWAY_CONFIG_FILE     "postern.yaml"
#define GATEWAY_CONNECTIONS_MAX 3072 /* with spares and sshd's logins below CORE_CONNS_MAX */
#define GATEWAY_TRIES_MAX       64

enum gateway_algorithms {
	GATEWAY_STRICT, /* curve25519; AEAD ciphers, or CTR with encrypt-then-MAC */
	GATEWAY_COMPAT, /* and NIST P-256, and encrypt-and-MAC, for old clients */
};

struct gateway_config {
	int64_t login_grace_s;        /* from the first byte to a proved certificate */
	int64_t max_tries;            /* failed authentications of one connection */
	int64_t spare_workers;        /* the supervisor's: checked here as well */
	int64_t max_connections;      /* at once */
	int64_t max_per_source;       /* at once from one IPv4 address or IPv6 /64 */
	int64_t keepalive_interval_s; /* 0: never asked */
	int64_t keepalive_count;      /* silent intervals until a client counts as gone */
	int64_t broker_timeout_s;     /* how long a question to the core may take */
	uint64_t rekey_bytes;         /* new keys after so many bytes in one direction */
	enum gateway_algorithms algorithms;
};

void gateway_config_default(struct gateway_config *c);
/* Reads GATEWAY_CONFIG_FILE in dirfd. c is untouched on failure, and e then names file and line. */
int gateway_config_load(int dirfd, struct gateway_config *c, struct err *e);
/* What was understood, one "key: value" a line. */
void gateway_config_print(const struct gateway_config *c, FILE *f);

#endif
