/*
 * Init's other way in: not a socket with descriptors, but one byte stream (broker/init/mux.h), for
 * an init that is alone in a virtual machine. Descriptors are made here; what a request then does
 * with them is the same.
 */
#ifndef POSTERN_INIT_SERIAL_H
#define POSTERN_INIT_SERIAL_H

#include <stdbool.h>
#include <stddef.h>

struct init_request;

struct serial_ops { /* init's own (broker/init/main.c) */
	/* Descriptors that it keeps it sets to -1. */
	void (*handle)(const struct init_request *q, int *fds, size_t nfds);
	bool (*reap)(void); /* false when nobody is left */
	int (*timeout)(void);
	bool (*over)(void); /* END's grace is over */
};

/* Boots the guest and serves it to its end; init's exit status. child: a signalfd of SIGCHLD. */
int serial_main(const struct serial_ops *ops, int child);

#endif
