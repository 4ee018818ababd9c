/*
 * The listening sockets, which the supervisor makes once and keeps, so that no client is refused
 * while a daemon restarts: TCP for agents, and three AF_UNIX SEQPACKET ones.
 */
#ifndef POSTERN_SUPERVISOR_SOCKETS_H
#define POSTERN_SUPERVISOR_SOCKETS_H

#include <stddef.h>
#include <sys/types.h>

struct err;

#define SOCKETS_ADDRESS_MAX 80

/* "127.0.0.1:2222", "[::1]:0", "localhost:22", "*:22". Numbers only: no name service is asked. On
 * success *ret_fd listens, and shown holds the address with the port that it got. */
int sockets_tcp(const char *where, int *ret_fd, char shown[SOCKETS_ADDRESS_MAX], struct err *e);
/* Listens at NAME below dirfd, whatever the length of that directory's path; an old socket there is
 * replaced. Owner root. */
int sockets_unix(int dirfd, const char *name, gid_t group, mode_t mode, int *ret_fd, struct err *e);
/* The group postern-admin, or 0 where there is none. */
gid_t sockets_admin_group(void);

#endif
