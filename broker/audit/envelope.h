/*
 * What a verifier needs of a record's bytes: that they are the record they are said to be, the
 * digest they hold of the record before, and the time. Everything else is covered by the leaf hash
 * and not read.
 *
 * Records as this program writes them are recognised by comparison; anything else is parsed.
 */
#ifndef POSTERN_AUDIT_ENVELOPE_H
#define POSTERN_AUDIT_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/digest.h"
#include "lib/str.h"

struct err;

#define ENVELOPE_TIME 27 /* "2026-11-23T15:38:48.123456Z" */

struct envelope {
	unsigned version;         /* 1: prev is a plain SHA-256, 2: a leaf hash */
	uint8_t prev[DIGEST_LEN]; /* of the record before; zeros in the first */
	char time[ENVELOPE_TIME + 1];
};

/* The beginning that a record of this log has. */
struct envelope_reader {
	char log[NAME_MAX_LEN + 1];
	char head[NAME_MAX_LEN + 32];
	size_t head_len;
};

int envelope_init(struct envelope_reader *r, const char *log); /* -EINVAL */
/* Record `seq` of the log. -EBADMSG: "is not JSON", "has another number inside", ... */
int envelope_read(const struct envelope_reader *r, uint64_t seq, const void *data, size_t len,
    struct envelope *ret, struct err *e);
/* The log that a record of v 2, as this program writes it, says that it is of. False: none. */
bool envelope_log(const void *data, size_t len, char ret[NAME_MAX_LEN + 1]);
/* Whether it is the one class before which time may go back; slow. */
bool envelope_clock(const void *data, size_t len);

#endif
