/*
 * A log in memory, for tests of those who record: it commits like the real one at the end of a
 * turn, or holds back what it was given, or fails.
 */
#ifndef POSTERN_TESTS_SUPPORT_RECORD_MEMORY_H
#define POSTERN_TESTS_SUPPORT_RECORD_MEMORY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "broker/audit/record.h"

struct loop;

enum record_memory_mode { RECORD_COMMITS, RECORD_HOLDS, RECORD_FAILS };

struct record_log *record_memory_new(struct loop *l);
void record_memory_mode(struct record_log *l, enum record_memory_mode mode);
/* Commits what was held. */
void record_memory_release(struct record_log *l);
/* The clock is this many seconds behind the newest record. */
void record_memory_behind(struct record_log *l, int64_t seconds);
/* How many committed records of this class there are; the newest one (borrowed), or NULL. */
size_t record_memory_count(struct record_log *l, const char *class_name);
json_t *record_memory_last(struct record_log *l, const char *class_name);
/* A field of the newest record's body; "" if there is none. */
const char *record_memory_text(struct record_log *l, const char *class_name, const char *field);

#endif
