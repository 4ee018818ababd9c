/*
 * Runs the attacks of escape_probe.h, inside a sandbox and natively.
 */
#ifndef POSTERN_TESTS_ESCAPE_RIG_H
#define POSTERN_TESTS_ESCAPE_RIG_H

#include <stddef.h>

struct box;
struct escape;

/* Opens what a careless spawn would have open: a directory of the host, without CLOEXEC. */
int escape_leak(void);
/* What it said, without the line's end, into text[size]: "through", "held: ...". */
void escape_inside(struct box *x, const struct escape *e, char *text, size_t size);
/* The same as an ordinary user would try it on the host: uid 1000 of a new user namespace with ids
 * that nobody has, no capability, a mount namespace where all is read-only; without seccomp,
 * Landlock or other namespaces of ours. */
void escape_natively(const struct escape *e, char *text, size_t size);

#endif
