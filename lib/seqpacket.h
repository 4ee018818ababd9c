/*
 * One record with its descriptors, through an AF_UNIX SOCK_SEQPACKET socket. Never blocks, never
 * raises SIGPIPE; what is received is CLOEXEC. Must not know what a record means (that is msg and
 * chan).
 */
#ifndef POSTERN_LIB_SEQPACKET_H
#define POSTERN_LIB_SEQPACKET_H

#include <stddef.h>
#include <stdint.h>

#define SEQPACKET_FDS_MAX 8

struct seqpacket {
	uint8_t *data; /* the caller frees */
	size_t len;
	int fds[SEQPACKET_FDS_MAX]; /* the caller closes */
	size_t nfds;
};

/* All of it or nothing: 0, -EAGAIN, -EPIPE, -EMSGSIZE (larger than the socket's buffer), -EPERM
 * (the peer takes no descriptors), or another -errno of sendmsg(2). */
int seqpacket_send(int fd, const void *data, size_t len, const int *fds, size_t nfds);

/* 1: ret is filled. 0: the peer has closed (an empty record means the same). -EAGAIN. -EMSGSIZE:
 * longer than max; -EPROTO: more than SEQPACKET_FDS_MAX descriptors: such a record is taken off the
 * socket and what it carried is closed. */
int seqpacket_recv(int fd, size_t max, struct seqpacket *ret);

#endif
