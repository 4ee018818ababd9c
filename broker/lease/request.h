/*
 * What a sandbox may ask of its lease process: one JSON object a line, and the answers. Everything
 * here is said by an agent that may be hostile: the reader is strict, does not recurse, and knows
 * neither sockets nor the core.
 *
 *   {"op":"list"}
 *   {"op":"get","kind":"jwt","audience":"https://api.example.com"}
 *   {"op":"release","lease":"ID"}
 *
 *   {"ok":true,"credentials":[{"kind":"jwt","audience":"..."}]}
 *   {"ok":true,"lease":"ID","value":"...","expires":UNIX}
 *   {"ok":true}
 *   {"ok":false,"error":"why"}
 */
#ifndef POSTERN_LEASE_REQUEST_H
#define POSTERN_LEASE_REQUEST_H

#include <jansson.h>
#include <stddef.h>

struct buf;
struct err;
struct msg;

#define LEASE_LINE_MAX     4096 /* bytes of a request, without its newline */
#define LEASE_KIND_MAX     16
#define LEASE_AUDIENCE_MAX 256
#define LEASE_ID_MAX       36

enum lease_op { LEASE_LIST, LEASE_GET, LEASE_RELEASE };

struct lease_request {
	enum lease_op op;
	char kind[LEASE_KIND_MAX + 1];
	char audience[LEASE_AUDIENCE_MAX + 1];
	char lease[LEASE_ID_MAX + 1];
};

/* One line without its newline. -EBADMSG with what is wrong: not JSON, nested, an unknown, missing
 * or repeated key, a wrong type, a NUL, too long. */
int lease_request_parse(const void *line, size_t len, struct lease_request *ret, struct err *e);
/* The same as a message for the core: its type, and a new body (NULL without memory). */
const char *lease_request_message(const struct lease_request *q, json_t **ret_body);

/* Append one line, newline included. */
void lease_answer_error(struct buf *out, const char *why);
void lease_answer(struct buf *out, const struct msg *m); /* the core's */

#endif
