/*
 * Bytes between a channel and its command's pipes or terminal, with bounded memory and without
 * losing one.
 *
 * Towards the command: the data callback answers how many bytes were written; the rest stays in
 * libssh's buffer, and the client's window is not opened again. When the command takes bytes again,
 * the whole rest is taken out of libssh in one read: taking it in pieces would make libssh 0.10.6
 * open the window each time, buffer without limit, and at 256 MiB drop everything silently. So at
 * most RELAY_WINDOW_MAX bytes are in libssh and as many here, and a client that sends more (libssh
 * does not enforce its own window) is disconnected.
 *
 * Towards the client: nothing is read from the command while the session has bytes to write, or the
 * channel no window, or a tail that a short write (during a key exchange) has left.
 */
#ifndef POSTERN_GATEWAY_RELAY_H
#define POSTERN_GATEWAY_RELAY_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/ssh/tap.h"
#include "lib/buf.h"

struct channel;

/* libssh keeps at most 640,000 + 1,280,000 by itself */
#define RELAY_WINDOW_MAX (3u * 1024 * 1024)
#define RELAY_TAIL_MAX   (512u * 1024)

struct inflow {             /* from the client */
	int fd;             /* -1: closed, what comes is dropped */
	size_t unread;      /* in libssh's buffer */
	struct buf pending; /* taken out of it */
	bool eof;           /* the client will send no more */
	uint64_t bytes;
	struct tap_chain taps;
};

struct outflow {   /* to the client */
	int fd;    /* -1: at its end */
	bool wake; /* poll(2) says that there is something */
	bool dry;  /* the last read found nothing */
	bool grown;
	struct buf tail;
	uint64_t bytes;
	struct tap_chain taps;
};

void relay_init(struct channel *ch);
/* For the data callback: how many bytes were consumed. */
size_t relay_take(struct channel *ch, const void *data, size_t len);
/* Writes to the command what is waiting; closes its stdin after the client's EOF. */
void relay_in(struct channel *ch);
/* Tails first, then reads from stdout (0) or stderr (1) once. Returns true if it moved anything. */
bool relay_out(struct channel *ch, unsigned stream);
/* Appends text of our own for the client's stderr. */
void relay_say(struct channel *ch, const char *text);
bool relay_tails(const struct channel *ch); /* something waits to be sent to the client */
void relay_close_in(struct channel *ch);
void relay_close_out(struct channel *ch);
/* What to wait for. Returns how many entries of p[RELAY_POLL_MAX] were filled; relay_woken() takes
 * the results in, in the same turn. */
#define RELAY_POLL_MAX 3
size_t relay_poll(const struct channel *ch, bool may_write, struct pollfd *p);
void relay_woken(struct channel *ch, const struct pollfd *p, size_t n);
void relay_done(struct channel *ch); /* closes and frees all of it */

#endif
