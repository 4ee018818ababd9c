/*
 * How often something may happen: a bucket that fills by so many a second up to a burst. What a
 * connection or a sandbox asks for is recorded, so without a limit it could fill the log.
 */
#ifndef POSTERN_CORE_RATE_H
#define POSTERN_CORE_RATE_H

#include <stdbool.h>
#include <stdint.h>

struct rate {            /* all zero: a full bucket */
	int64_t used_ns; /* what is missing from it, in nanoseconds of filling */
	int64_t last_ns;
	uint64_t refused;
};

/* Takes one; false, and counted, when the bucket is empty. now_ns: clock_mono_ns(). */
bool rate_take(struct rate *r, int64_t now_ns, unsigned per_s, unsigned burst);

#endif
