/*
 * The listener: accepts, limits, and hands each socket to a spare worker. It reads no byte of a
 * connection.
 *
 * The order for each connection: conn.accepted to the core, worker.go to the worker, worker.used to
 * the supervisor; so the core hears of the peer before the worker can speak. Without a link to the
 * core, or with LISTENER_QUEUE_MAX accepted sockets waiting for a worker, nothing is accepted:
 * connections wait in the kernel's backlog.
 */
#ifndef POSTERN_GATEWAY_LISTENER_H
#define POSTERN_GATEWAY_LISTENER_H

struct gateway_args;

#define LISTENER_QUEUE_MAX   128
#define LISTENER_WAIT_S      10 /* for a worker; then the connection is refused */
#define LISTENER_SOCKETS_MAX 8
#define LISTENER_REFUSED_S   1 /* conn.refused at most so often for the same reason */

/* Runs until `shutdown` or the supervisor's end. The exit status. */
int listener_main(const struct gateway_args *args);

#endif
