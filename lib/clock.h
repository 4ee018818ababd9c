/*
 * The clocks. Wall time for validity and records, boot time (which counts suspend) for lifetimes.
 * All in nanoseconds as int64_t. Tests replace the source with clock_override().
 */
#ifndef POSTERN_LIB_CLOCK_H
#define POSTERN_LIB_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#define NSEC_PER_SEC INT64_C(1000000000)

int64_t clock_wall_ns(void); /* CLOCK_REALTIME */
int64_t clock_boot_ns(void); /* CLOCK_BOOTTIME */
int64_t clock_mono_ns(void); /* CLOCK_MONOTONIC, for measuring */
/* The kernel's boot id, 36 characters; an empty string if it cannot be read. */
const char *clock_boot_id(void);
/* "2026-11-23T15:38:48.123456Z" into dst[32]. */
void clock_format(char *dst, size_t size, int64_t wall_ns);
/* For tests: added to the wall clock from now on. */
void clock_override(int64_t offset_ns);

#endif
