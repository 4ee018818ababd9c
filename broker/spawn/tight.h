/*
 * Is the host's memory short? What was made only to save time goes then.
 */
#ifndef POSTERN_SPAWN_TIGHT_H
#define POSTERN_SPAWN_TIGHT_H

#include <stdbool.h>

#define TIGHT_SHARE    16 /* less than this part of all memory is available */
#define TIGHT_PRESSURE 20 /* or tasks waited for memory this much of the last 10 s, in percent */

/* From the texts of /proc/meminfo and /proc/pressure/memory (which a kernel may not have: ""). What
 * cannot be read says nothing. */
bool tight_by(const char *meminfo, const char *pressure);
bool tight_now(void);

#endif
