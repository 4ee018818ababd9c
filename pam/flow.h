/*
 * One direction of bytes: from a descriptor to another through one bounded buffer.
 *
 * Both descriptors are non-blocking and the flow's own. It reads only into an empty buffer, so a
 * slow reader stops the writer and nothing is lost or piled up. It ends when the source is at its
 * end and all is written, or when the target takes no more.
 *
 * Depends on libc and lib/util alone.
 */
#ifndef POSTERN_PAM_FLOW_H
#define POSTERN_PAM_FLOW_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLOW_BUF (32u * 1024)

struct flow {
	int from, to; /* -1: at its end */
	size_t off, len;
	uint64_t bytes; /* written */
	uint64_t allow; /* how much may still be read; UINT64_MAX: no limit */
	uint8_t buf[FLOW_BUF];
};

/* Takes the descriptors over and makes them non-blocking. 0 or -errno. */
int flow_init(struct flow *f, int from, int to);
void flow_done(struct flow *f); /* closes both, drops what is left */
bool flow_ended(const struct flow *f);
/* What to wait for: p[0] for the source, p[1] for the target. */
void flow_poll(const struct flow *f, struct pollfd p[2]);
/* Moves what can be moved, given what poll(2) said. */
void flow_run(struct flow *f, const struct pollfd p[2]);
/* Nothing is to be read any more but what is already there: at most `most` bytes, or what FIONREAD
 * tells. */
void flow_last(struct flow *f, uint64_t most);

#endif
