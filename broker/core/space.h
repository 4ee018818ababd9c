/*
 * Warnings before there is no room: at 80 and at 90 % of the store's map and of its disk. A record
 * log.space says each crossing once, upwards; a level is left only three points below its mark, so
 * that one who stands on it is not told of it again and again.
 */
#ifndef POSTERN_CORE_SPACE_H
#define POSTERN_CORE_SPACE_H

#include <jansson.h>
#include <stdint.h>

struct core;
struct store_usage;

#define SPACE_WARN  80
#define SPACE_ALARM 90
#define SPACE_BACK  3

struct space {
	unsigned map, disk; /* 0, SPACE_WARN or SPACE_ALARM */
};

/* How much of whole is used, in percent; 0 of nothing. */
unsigned space_percent(uint64_t used, uint64_t whole);
/* The level after this measurement. */
unsigned space_level(unsigned before, unsigned percent);
/* Measures and records what was crossed. */
void space_look(struct core *c);
/* {"what": "map" or "disk", "percent", "level"} of each that is at a level now. */
json_t *space_warnings(const struct store_usage *u);

#endif
