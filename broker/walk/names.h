/*
 * The names in a directory, or in several that are one above the other, in the order of their bytes
 * and in bounded memory: as many at a time as there is room for, the directories read again for the
 * next ones. How many names there are is the agent's choice.
 */
#ifndef POSTERN_WALK_NAMES_H
#define POSTERN_WALK_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NAMES_CHUNK 1024
#define NAMES_LEN   256 /* NAME_MAX and a NUL */

struct names {
	char **name; /* ascending */
	size_t n, at;
	bool more; /* there are others behind the last one */
	char last[NAMES_LEN];
};

void names_done(struct names *s);
/* The next ones behind s->last (at first ""). The descriptors can be read (getdents64). 0; -ENOMEM;
 * -ETIMEDOUT when deadline_ns (clock_mono_ns; 0: none) has passed; or what getdents64 says. */
int names_fill(struct names *s, const int *dirs, size_t ndirs, int64_t deadline_ns);
/* The next name, borrowed; *ret NULL when there is none. */
int names_next(
    struct names *s, const int *dirs, size_t ndirs, int64_t deadline_ns, const char **ret);

#endif
