/*
 * A worker: one process for one connection, confined before it reads a byte of it.
 *
 * It is started ahead of time (a spare), loads the host key, warms the library up, gives up
 * everything it will not need, and waits on fd 3 for the listener's worker.core and worker.go. Its
 * exit status is protocol: the listener learns how the connection went.
 */
#ifndef POSTERN_GATEWAY_WORKER_H
#define POSTERN_GATEWAY_WORKER_H

struct gateway_args;

/* Exit statuses. A signal, SIGPROF above all (it was spinning: watchdog.h), means a crash. */
enum worker_status {
	WORKER_OK = 0,        /* the connection ran its course */
	WORKER_CRASH = 1,     /* could not start: configuration, host key, confinement */
	WORKER_NO_AUTH = 10,  /* the client left before it had authenticated */
	WORKER_GRACE = 11,    /* login grace time exceeded */
	WORKER_AUTH = 12,     /* too many failed authentications, or another user name */
	WORKER_PROTOCOL = 13, /* the client broke the protocol, or a limit of ours */
	WORKER_LOST = 14,     /* the client has not answered for too long */
	WORKER_ENDED = 15,    /* the core has ended the connection */
	WORKER_NO_CORE = 16,  /* the link to the core has closed */
	WORKER_INTERNAL = 17, /* no memory, or a bug of ours */
	WORKER_UNUSED = 18,   /* ended as a spare */
};

/* Serves one connection. An enum worker_status. */
int worker_main(const struct gateway_args *args);

#endif
