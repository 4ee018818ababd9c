/*
 * A channel's status pipe: what the sandbox's init says about the channel's command.
 *
 * Records of lib/status.h. Init is hostile, so the pipe is read as foreign input: a record that is
 * none, one after the last one, or more than STATUS_RECORDS_MAX end the channel.
 *
 * Depends on lib/status alone.
 */
#ifndef POSTERN_GATEWAY_STATUS_H
#define POSTERN_GATEWAY_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/status.h"

#define STATUS_RECORDS_MAX 4

struct status {
	uint8_t data[STATUS_LEN];
	size_t len; /* of a record that has not come as a whole yet */
	unsigned records;
	bool exited, signaled, failed;
	uint32_t value;        /* of exited or signaled */
	uint32_t failed_errno; /* of failed */
};

/* Takes in what was read. 0; -EBADMSG when it breaks the format. */
int status_take(struct status *s, const void *data, size_t len);
/* The command has ended: exited or signaled holds. */
bool status_final(const struct status *s);

#endif
