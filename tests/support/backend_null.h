/*
 * A sandbox back end that builds nothing: the test back end of that seam. It remembers what it was
 * asked, and sandboxes end when they are killed, or when the test says so.
 */
#ifndef POSTERN_TESTS_BACKEND_NULL_H
#define POSTERN_TESTS_BACKEND_NULL_H

#include <stddef.h>

struct backend;
struct sandbox;

struct backend *backend_null_new(void);
/* Sandboxes that were started and not yet reaped. */
size_t backend_null_count(const struct backend *b);
/* The next start fails at this step (static), with -EIO; NULL: no more. */
void backend_null_fail(struct backend *b, const char *step);
/* reap() answers -EAGAIN this many times. */
void backend_null_hold(struct backend *b, unsigned times);
/* The newest one: its init ends by itself; its agent knocks at the credential listener. */
void backend_null_exit(struct backend *b);
void backend_null_knock(struct backend *b);

#endif
