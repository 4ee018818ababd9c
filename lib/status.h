/*
 * The records of a channel's status pipe, by which the sandbox's init says how a command ended.
 *
 * The format is that of broker/init/proto.h, which gateway and pam may not include: 8 bytes, u8
 * kind, three zero bytes, u32 value in network order, written whole. The pipe's other end is in the
 * sandbox, so what comes is hostile: a record that does not fit is refused, and the caller ends the
 * channel.
 *
 * Depends on libc and lib/reader alone.
 */
#ifndef POSTERN_LIB_STATUS_H
#define POSTERN_LIB_STATUS_H

#include <stdint.h>

#define STATUS_LEN 8

enum status_kind {
	STATUS_EXITED = 1,   /* value: exit code, 0 .. 255 */
	STATUS_SIGNALED = 2, /* value: signal number, 1 .. 64 */
	STATUS_FAILED = 3,   /* value: errno of what failed before exec; EXITED follows */
};

/* 0, or -EBADMSG for an unknown kind, padding that is not zero, or a value out of range. */
int status_parse(const uint8_t in[STATUS_LEN], enum status_kind *ret_kind, uint32_t *ret_value);

#endif
