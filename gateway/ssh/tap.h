/*
 * Taps: who sees the bytes of a channel pass, and may change what goes on.
 *
 * Each direction of each channel has a chain of taps, made from the grant when the channel starts.
 * The relay offers each block of bytes to the first tap; what that passes on is offered to the
 * next; what leaves the last goes out. A tap may pass bytes, replace them, hold them (at most
 * TAP_HOLD_MAX), or end the channel with a reason. Holding is bounded: a tap that would hold more
 * ends the channel.
 *
 * A tap must not block, keeps no pointer into the block, and knows neither libssh nor the core.
 */
#ifndef POSTERN_GATEWAY_TAP_H
#define POSTERN_GATEWAY_TAP_H

#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;

#define TAP_HOLD_MAX  (64u * 1024)
#define TAP_CHAIN_MAX 8

enum tap_stream { TAP_STDIN, TAP_STDOUT, TAP_STDERR };

struct tap;

struct tap_ops {
	const char *name;
	/* Looks at data[0..len); appends what shall go on to out. Return 0, or a negative errno
	 * with a reason in e: the channel ends. */
	int (*bytes)(
	    struct tap *t, const uint8_t *data, size_t len, struct buf *out, struct err *e);
	/* The stream has ended: append what was held. */
	int (*end)(struct tap *t, struct buf *out, struct err *e);
	/* Passes everything unchanged just now: the relay may then skip the copy. NULL: never. */
	int (*transparent)(const struct tap *t);
	void (*seen)(struct tap *t, const uint8_t *data,
	    size_t len); /* called instead of bytes when transparent */
	void (*free)(struct tap *t);
};

struct tap {
	const struct tap_ops *ops; /* implementations embed this as their first member */
};

struct tap_chain {
	struct tap *taps[TAP_CHAIN_MAX];
	size_t n;
};

/* Takes the tap over. -ENOSPC when the chain is full (the tap is freed). */
int tap_chain_add(struct tap_chain *c, struct tap *t);
/* Runs a block through the chain. If every tap is transparent *ret_out == data; otherwise it points
 * into scratch. 0 or the ending tap's error. */
int tap_chain_bytes(struct tap_chain *c, const uint8_t *data, size_t len, struct buf *scratch,
    const uint8_t **ret_out, size_t *ret_len, struct err *e);
int tap_chain_end(struct tap_chain *c, struct buf *scratch, const uint8_t **ret_out,
    size_t *ret_len, struct err *e);
void tap_chain_done(struct tap_chain *c);

/* The tap that every channel has: counts bytes. The counter outlives it. */
struct tap *tap_count_new(uint64_t *counter);

#endif
