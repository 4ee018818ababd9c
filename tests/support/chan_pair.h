/*
 * For tests of lib/chan: both ends of a link between spawn (a) and the core (b), which may carry
 * descriptors, and the rule that a test ends with as many open descriptors as it began with.
 */
#ifndef POSTERN_TESTS_SUPPORT_CHAN_PAIR_H
#define POSTERN_TESTS_SUPPORT_CHAN_PAIR_H

#include <stddef.h>
#include <stdint.h>

struct chan;

struct chan_pair {
	struct chan *a, *b;
	size_t fds_before;
};

int chan_pair_setup(void **state);
int chan_pair_teardown(void **state); /* fails if a descriptor has leaked */
/* The answer of chan_recv(); if that is 1, the message had to be `type` with `id`. */
int chan_pair_expect(struct chan *c, const char *type, uint64_t id);

#endif
