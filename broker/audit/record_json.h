/*
 * Writes JSON of our own making as a record holds it: compact, members in their order, every
 * control character escaped. Knows no records; personal values go through a function.
 */
#ifndef POSTERN_AUDIT_RECORD_JSON_H
#define POSTERN_AUDIT_RECORD_JSON_H

#include <jansson.h>
#include <stddef.h>

struct buf;

/* May name another text for the string member `key`; NULL: as it is. Valid until the next call. */
typedef const char *(*record_json_fn)(const char *key, const char *value, size_t len, void *arg);

/* Appends. What is nested deeper than messages are (MSG_DEPTH_MAX) is written as null. */
void record_json(struct buf *out, const json_t *v, record_json_fn fn, void *arg);
void record_json_string(struct buf *out, const char *s, size_t len);
void record_json_int(struct buf *out, long long v);

#endif
