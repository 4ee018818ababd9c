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

#define SHOW_LINE_MAX (4u * 1024) /* of a record's line */

/* NULL or 0: any. */
struct show_filter {
	const char *tenant;
	const char *session; /* in the subject or the body */
	const char *connection;
	const char *class_name; /* "auth.refused"; "auth." for all that begin so */
	const char *since,
	    *until;        /* "2026-11-23T15:38:48Z", or any prefix of it: compared as text */
	const char *actor; /* a key's fingerprint, a role, a person, a key id, an operator */
	const char *text;  /* in any string of it */
	json_t *ids; /* connections and sessions of the actor, learned; an object, needed with it */
};

/* Parses a record's bytes (new reference); -EBADMSG. */
int show_parse(const void *data, size_t len, json_t **ret, struct err *e);
/* Puts the body that lies beside the record (its bytes) in the place of what the record has of it;
 * body_digest and body_bytes stay. -EBADMSG: it is no object. */
int show_body(json_t *record, const void *body, size_t len);
/* Puts the personal values in the place of their commitments, everywhere in subject and body. fn
 * answers 0 and appends the value, -ENOENT: it is erased ("(erased)" is shown), else the commitment
 * stays. */
typedef int (*show_reveal_fn)(const char *text, size_t len, struct buf *ret, void *arg);
void show_reveal(json_t *record, show_reveal_fn fn, void *arg);
/* Records have to come in their order: who an actor is, later ones tell by their connection. */
bool show_match(const struct show_filter *f, const json_t *record);
/* False: these bytes cannot match, whatever they say. */
bool show_may_match(const struct show_filter *f, const void *data, size_t len);

/* Appends "SEQ TIME CLASS TENANT key=value ...\n". whole: values at any length. */
void show_line(const json_t *record, bool whole, struct buf *out);
/* Appends a JSON value as it may go to a terminal: pure ASCII, no control character. */
void show_json(const json_t *v, size_t flags, struct buf *out);
/* Appends text, at most max bytes of it: printable ASCII, all else as \xNN. */
void show_text(struct buf *out, const char *text, size_t len, size_t max);

#endif
