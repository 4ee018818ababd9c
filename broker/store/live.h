/*
 * How full a store is. Its file never shrinks; what was deleted is free for what comes. So what
 * counts is not how far the file has come (struct store_usage) but the pages that hold something.
 */
#ifndef POSTERN_STORE_LIVE_H
#define POSTERN_STORE_LIVE_H

#include <stdint.h>

struct store;

/* Bytes of the pages that hold something now. 0 or -errno. */
int store_live(struct store *s, uint64_t *ret);

#endif
