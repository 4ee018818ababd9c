/*
 * A channel's status pipe: what the sandbox's init says about the channel's command.
 *
 * The same records as broker/init/proto.h: STATUS_LEN bytes, u8 kind, three zero bytes, u32 value,
 * big endian. Init is hostile, so the pipe is read as foreign input: an unknown kind, bytes in the
 * padding, a value out of range, a record after the last one, or more than STATUS_RECORDS_MAX
 * records end the channel.
 *
 * Depends on lib/reader alone.
 */
#ifndef POSTERN_GATEWAY_STATUS_H
#define POSTERN_GATEWAY_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STATUS_LEN         8
#define STATUS_RECORDS_MAX 4

enum status_kind {
	STATUS_EXITED = 1,   /* value: exit code, 0 .. 255 */
	STATUS_SIGNALED = 2, /* value: signal number, 1 .. 64 */
	STATUS_FAILED = 3,   /* value: errno of what failed before exec; STATUS_EXITED follows */
};

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
