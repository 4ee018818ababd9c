/*
 * Between the core's request socket with its descriptors and a guest's one byte stream
 * (broker/init/mux.h). Everything that comes from the guest is hostile: it is read by the mux
 * engine and the few frames below, and whatever breaks a rule ends the session.
 */
#ifndef POSTERN_VM_BRIDGE_H
#define POSTERN_VM_BRIDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/init/mux.h"

#define BRIDGE_COMMANDS_MAX    96 /* the rest of the table is for connections */
#define BRIDGE_CONNECTIONS_MAX 16
#define BRIDGE_FRAME_MAX       (MUX_HEAD + MUX_DATA_MAX) /* of the guest's */

struct bridge {
	struct mux mux;
	int requests; /* -1: none, for a probe */
	bool hello, ready, credentials;
	const void *config; /* sent after HELLO; borrowed */
	size_t config_len;
	uint32_t next; /* channel */
	char why[128]; /* the guest's last words, escaped */
};

/* Both descriptors are borrowed. */
void bridge_init(struct bridge *b, int port, int requests, bool credentials, const void *config,
    size_t config_len);
void bridge_done(struct bridge *b);
/* Until the core's end is closed (0), or something breaks (-errno; -ETIMEDOUT: not ready by then).
 * With probe: 0 as soon as the guest has said HELLO. */
int bridge_run(struct bridge *b, bool probe, int ready_ms);

#endif
