/*
 * Records for people: one line each, and which of them are wanted. Foreign text in a record is
 * escaped: what an agent typed never reaches a terminal raw.
 */
#ifndef POSTERN_AUDIT_SHOW_H
#define POSTERN_AUDIT_SHOW_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;

/* NULL or 0: any. */
struct show_filter {
	const char *tenant;
	const char *session; /* in the subject or the body */
	const char *connection;
	const char *class_name; /* "auth.refused"; "auth." for all that begin so */
	const char *since,
	    *until; /* "2026-11-23T15:38:48Z", or any prefix of it: compared as text */
};

/* Parses a record's bytes (new reference); -EBADMSG. */
int show_parse(const void *data, size_t len, json_t **ret, struct err *e);
/* Puts the personal values in the place of their commitments, everywhere in subject and body. fn
 * answers 0 and appends the value, -ENOENT: it is erased ("(erased)" is shown), else the commitment
 * stays. */
typedef int (*show_reveal_fn)(const char *text, size_t len, struct buf *ret, void *arg);
void show_reveal(json_t *record, show_reveal_fn fn, void *arg);
bool show_match(const struct show_filter *f, const json_t *record);
/* Appends "SEQ TIME CLASS TENANT key=value ...\n". */
void show_line(const json_t *record, struct buf *out);

#endif
