/*
 * YAML files as jansson trees that remember file and line. The only user of libyaml.
 *
 * A subset: block and flow mappings, sequences, scalars; no anchors, aliases, tags, merge keys or
 * second documents (each refused with its line); duplicate keys refused. Plain scalars become null,
 * true, false, integers (decimal) or strings; quoted ones are always strings. Depth <=
 * YAML_DEPTH_MAX, size <= YAML_SIZE_MAX.
 */
#ifndef POSTERN_LIB_YAML_H
#define POSTERN_LIB_YAML_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct yaml_doc;

#define YAML_DEPTH_MAX 16
#define YAML_SIZE_MAX  (1u << 20)

/* name is what errors call the file. On success the caller owns *ret. */
int yaml_parse(
    const char *name, const void *text, size_t len, struct yaml_doc **ret, struct err *e);
int yaml_load(int dirfd, const char *path, struct yaml_doc **ret, struct err *e);
/* The symbol has another name: libyaml.so exports, and itself calls, a yaml_free() that ours would
 * replace. */
void yaml_free(struct yaml_doc *d) __asm__("postern_yaml_free");
json_t *yaml_root(const struct yaml_doc *d); /* borrowed; a mapping, or null for an empty file */
const char *yaml_name(const struct yaml_doc *d);

/* Line of the value under key (mapping) or index (sequence; key NULL) of parent; 0 if unknown. */
unsigned yaml_line(const struct yaml_doc *d, const json_t *parent, const char *key, size_t index);
/* Sets "NAME:LINE: TEXT". Returns code. */
int yaml_fail(const struct yaml_doc *d, const json_t *parent, const char *key, size_t index,
    struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 7, 8)));

/* The strict readers: absent is 0 found (returns 1: not there), wrong type or range is -EINVAL with
 * file and line, else 0. Strings are borrowed. */
int yaml_get_str(
    const struct yaml_doc *d, json_t *o, const char *key, const char **ret, struct err *e);
int yaml_get_int(const struct yaml_doc *d, json_t *o, const char *key, int64_t min, int64_t max,
    int64_t *ret, struct err *e);
int yaml_get_bool(const struct yaml_doc *d, json_t *o, const char *key, bool *ret, struct err *e);
int yaml_get_map(const struct yaml_doc *d, json_t *o, const char *key, json_t **ret, struct err *e);
int yaml_get_list(
    const struct yaml_doc *d, json_t *o, const char *key, json_t **ret, struct err *e);
/* Durations ("5m") in seconds, sizes ("512M") in bytes. */
int yaml_get_seconds(
    const struct yaml_doc *d, json_t *o, const char *key, int64_t *ret, struct err *e);
int yaml_get_bytes(
    const struct yaml_doc *d, json_t *o, const char *key, uint64_t *ret, struct err *e);
/* Every key of o is in allowed (NULL-terminated), else -EINVAL that names file, line, the key and
 * the nearest known one. */
int yaml_check_keys(const struct yaml_doc *d, json_t *o, const char *const *allowed, struct err *e);

static inline void yaml_cleanup(struct yaml_doc **d)
{
	yaml_free(*d);
}
#define cleanup_yaml __attribute__((cleanup(yaml_cleanup)))

#endif
