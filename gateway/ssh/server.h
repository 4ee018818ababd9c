/*
 * The server's side of libssh that is made once, before a client is there: host key, algorithms,
 * and a whole key exchange with ourselves, so that no client waits for the first use of anything.
 */
#ifndef POSTERN_GATEWAY_SERVER_H
#define POSTERN_GATEWAY_SERVER_H

#include <libssh/server.h>

#include "gateway/ssh/config.h"

struct err;

#define SERVER_HOSTKEY_FILE "ssh_host_ed25519_key"
#define SERVER_HOSTKEY_MAX  16384

/* Reads SERVER_HOSTKEY_FILE in dirfd: ed25519, OpenSSH's format, without a passphrase. The caller
 * frees with ssh_bind_free(). No configuration file of libssh's is read. */
int server_new(int dirfd, enum gateway_algorithms algorithms, ssh_bind *ret, struct err *e);
/* A key exchange over a socketpair with a client of our own, thrown away. 0 or -errno. */
int server_warm_up(ssh_bind b, struct err *e);

#endif
