/*
 * How many connections there may be: in all, and from one source block (an IPv4 address, an IPv6
 * /64; a v4-mapped address is the IPv4 one).
 *
 * Invariant: total is the sum of the counts; a block without connections has no entry, so the table
 * never holds more than max_total entries.
 *
 * Depends on libc alone.
 */
#ifndef POSTERN_GATEWAY_LIMIT_H
#define POSTERN_GATEWAY_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct limit;
struct sockaddr;

struct source {
	uint8_t len; /* of bytes: 4, or 8 for an IPv6 /64; 0: not an internet address */
	uint8_t bytes[8];
};

/* The block that an address counts for. */
struct source limit_source(const struct sockaddr *sa);
struct limit *limit_new(size_t max_total, size_t max_source); /* NULL with errno */
void limit_free(struct limit *l);
/* Changes the maxima; connections above them stay. */
void limit_set(struct limit *l, size_t max_total, size_t max_source);
/* Counts one more. -EBUSY: too many in all; -EDQUOT: too many from this source; -ENOMEM. */
int limit_take(struct limit *l, struct source s);
void limit_give(struct limit *l, struct source s);
size_t limit_total(const struct limit *l);
size_t limit_count(const struct limit *l, struct source s);

#endif
