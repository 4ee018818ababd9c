/*
 * Many streams over one byte stream: what SCM_RIGHTS does between the core and an init on the same
 * kernel, for one behind a virtual machine's serial port. Both ends are this file: postern-vm on
 * the host, init in the guest.
 *
 * A frame: u32 length of what follows, u8 type, u32 channel, u8 stream, payload.
 *
 *   HELLO    guest   u32 MUX_VERSION, string kernel release: the port is open, nothing is mounted
 *   CONFIG   host    (broker/init/guest.h)
 *   READY    guest   init is confined and takes requests
 *   FAIL     guest   string: which step of the set-up failed
 *   REQUEST  host    one request (broker/init/proto.h); EXEC opens the channel at both ends
 *   WINDOW   host    u32 rows, columns, x, y pixels: of the channel's terminal
 *   OPEN     guest   the agent has connected to its credential service; opens streams 0 and 1
 *   DATA     both    bytes of a stream, at most MUX_DATA_MAX and never more than was credited
 *   END      both    the sender's last word on a stream that it sends
 *   CREDIT   both    u32: so many more bytes may be sent
 *   GONE     both    nobody reads this stream: the sender answers with END
 *
 * Streams of a command: 0 its input (with a terminal: what is typed), 1 output, 2 errors, 3 the
 * status pipe. 0 goes to the guest, the others come from it. A stream starts with MUX_WINDOW bytes
 * of credit. A channel is gone when END has passed on every stream; its number is not used again.
 *
 * The engine is strict: a frame that breaks a rule is -EPROTO, and the caller ends the session.
 * Memory is bounded: a window for each stream that is held up, and one buffer in each direction.
 *
 * Depends on lib/buf, lib/reader alone: it is compiled into the static init as well.
 */
#ifndef POSTERN_INIT_MUX_H
#define POSTERN_INIT_MUX_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/init/proto.h"
#include "lib/buf.h"
#include "lib/reader.h"

#define MUX_VERSION      1
#define MUX_CHANNELS_MAX 128
#define MUX_STREAMS      4
#define MUX_WINDOW       65536u
#define MUX_DATA_MAX     16384u
#define MUX_HEAD         6u            /* type, channel, stream */
#define MUX_OUT_FULL     (256u * 1024) /* no more is read to be sent */
#define MUX_OUT_MAX      (1024u * 1024)
#define MUX_POLL_MAX     (1 + MUX_CHANNELS_MAX * MUX_STREAMS)
#define MUX_GUEST        0x80000000u /* channels that the guest opens have this bit */

enum mux_type {
	MUX_HELLO = 1,
	MUX_CONFIG,
	MUX_READY,
	MUX_FAIL,
	MUX_REQUEST,
	MUX_RESIZE,
	MUX_OPEN,
	MUX_DATA,
	MUX_END,
	MUX_CREDIT,
	MUX_GONE,
	MUX_TYPES
};

struct mux_stream {
	enum { MUX_NONE, MUX_SENDS, MUX_TAKES } dir;
	int fd;          /* -1: gone; a MUX_TAKES stream then drops what comes until END */
	uint32_t credit; /* SENDS: what may be sent; TAKES: what may still come */
	uint32_t taken;  /* TAKES: written, and not credited again yet */
	uint8_t *held;   /* TAKES: MUX_WINDOW bytes while something waits, NULL else */
	size_t off, len;
	bool ended;    /* TAKES: END has come, what is held goes out first */
	size_t polled; /* its place in the poll set, 0: none */
};

struct mux_channel {
	bool used, tty, tcp; /* tty: the descriptors of 0 and 1 are one terminal; tcp: one socket */
	uint32_t number;
	struct mux_stream stream[MUX_STREAMS];
};

struct mux_frame {
	uint8_t type, stream;
	uint32_t channel;
	struct reader body;
};

struct mux {
	int fd;
	size_t frame_max; /* of what comes */
	struct buf in, out;
	struct mux_channel channels[MUX_CHANNELS_MAX];
	/* A frame that is no stream's. 0, or -errno to give up. */
	int (*control)(void *arg, struct mux_frame *f);
	void *arg;
};

/* fd is borrowed, and must not block. */
void mux_init(struct mux *m, int fd, size_t frame_max,
    int (*control)(void *arg, struct mux_frame *f), void *arg);
void mux_done(struct mux *m);

/* NULL: the table is full, or the number is in use. */
struct mux_channel *mux_open(struct mux *m, uint32_t number);
struct mux_channel *mux_find(struct mux *m, uint32_t number);
/* Both take fd over and make it not block; -1 is one that is gone already. */
void mux_send(struct mux *m, struct mux_channel *c, unsigned stream, int fd);
void mux_take(struct mux *m, struct mux_channel *c, unsigned stream, int fd);

void mux_put(struct mux *m, enum mux_type type, uint32_t channel, unsigned stream, const void *data,
    size_t len);
void mux_put_u32(struct mux *m, enum mux_type type, uint32_t channel, unsigned stream, uint32_t v);

/* True while more may be queued. */
bool mux_roomy(const struct mux *m);
/* Fills p[MUX_POLL_MAX] from p[0], the port; how many. */
size_t mux_poll(struct mux *m, struct pollfd *p);
/* After poll(2). -EPROTO, -EPIPE at the end of the port, or what control() said. */
int mux_serve(struct mux *m, const struct pollfd *p);
/* Bytes that came; the part of mux_serve() that a fuzz target wants. */
int mux_feed(struct mux *m, const void *data, size_t len);

#endif
