/*
 * What the files of the listener share. Nobody else includes it.
 *
 *   listener.c        the supervisor and the core: what they say, and their loss
 *   listener_queue.c  connections: accepted, counted, waiting, handed to a worker or refused
 */
#ifndef POSTERN_GATEWAY_LISTENER_INTERNAL_H
#define POSTERN_GATEWAY_LISTENER_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "gateway/ssh/config.h"
#include "gateway/ssh/limit.h"
#include "gateway/ssh/listener.h"
#include "gateway/ssh/refusal.h"
#include "gateway/ssh/spare.h"

struct chan;
struct loop;
struct loop_source;

#define LISTENER_ADDRESS_MAX 64

struct waiting { /* accepted, without a worker yet */
	int fd;
	int64_t until_ns;
	struct source source;
	char peer[LISTENER_ADDRESS_MAX], local[LISTENER_ADDRESS_MAX];
};

struct listener {
	struct loop *loop;
	struct gateway_config config;
	int config_fd;
	struct chan *supervisor, *core;
	struct loop_source *supervisor_watch, *core_watch, *timer;
	struct loop_source *accepting[LISTENER_SOCKETS_MAX];
	int sockets[LISTENER_SOCKETS_MAX];
	size_t nsockets;
	struct spares spares;
	struct limit *limit;
	struct refusals refusals;
	struct waiting queue[LISTENER_QUEUE_MAX]; /* in order, the oldest first */
	size_t nqueue;
	int status;
};

/* ---- listener.c ---- */

void listener_watch(struct loop_source *s, const struct chan *c);
void listener_core_lost(struct listener *l);
void listener_drop_spare(struct listener *l, struct spare *s);

/* ---- listener_queue.c ---- */

/* The supervisor's: takes fd over. */
void listener_new_socket(struct listener *l, int fd);
/* Accepts, if there is a core and room in the queue; else not. */
void listener_accept_or_not(struct listener *l);
/* Everything that may be due: connections for workers, workers for connections, refusals. */
void listener_settle(struct listener *l);

#endif
