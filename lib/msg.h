/*
 * Every message of every boundary, in one table.
 *
 * On the wire a message is one SOCK_SEQPACKET record: {"v":1,"id":N,"type":"T","body":{...}} in
 * UTF-8 JSON, at most MSG_MAX bytes (a record beyond the socket's buffer fails with EMSGSIZE), with
 * at most MSG_FDS_MAX descriptors by SCM_RIGHTS. An answer repeats the id of its question. Bytes
 * that need not be text travel as base64.
 *
 * The table (msg_table.c) says for each type who may send it to whom, in which phase, its strict
 * schema, its size cap, and how many descriptors it carries. msg_decode() checks in the order
 * who, when, what: a record that is not permitted, malformed, oversized, or carries unexpected
 * descriptors is refused as a whole and its descriptors are closed.
 *
 * Uses jansson. Must not know sockets (that is chan) nor what a message means.
 */
#ifndef POSTERN_LIB_MSG_H
#define POSTERN_LIB_MSG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;

#define MSG_VERSION   1
#define MSG_MAX       (128u * 1024)
#define MSG_FDS_MAX   8
#define MSG_DEPTH_MAX 16 /* levels of objects and arrays, the envelope's included */

/* Who speaks. A role is known from the socket a message came by, never from the message. */
enum msg_role {
	MSG_SUPERVISOR = 1u << 0,
	MSG_CORE = 1u << 1,
	MSG_SPAWN = 1u << 2,
	MSG_SIGNER = 1u << 3,
	MSG_LISTENER = 1u << 4,
	MSG_WORKER = 1u << 5,
	MSG_LEASE = 1u << 6,
	MSG_CTL = 1u << 7,     /* an operator's `postern` command */
	MSG_PAM = 1u << 8,     /* pam_postern.so inside sshd's privileged process */
	MSG_RUN = 1u << 9,     /* postern-run, started by sshd's ForceCommand */
	MSG_EXPORT = 1u << 10, /* sinks and witnesses */
	MSG_WALK = 1u << 11,   /* reads what a session left in its files */
	MSG_WATCH = 1u << 12,  /* sees which programs a session runs */
};

/* When. The receiver sets the phase of a channel as its state changes. */
enum msg_phase {
	MSG_PHASE_SPARE = 1u << 0, /* a worker without a client: may say nothing */
	MSG_PHASE_AUTH = 1u << 1,  /* client known, not authenticated */
	MSG_PHASE_OPEN = 1u << 2,  /* authenticated; or a link without phases */
	MSG_PHASE_ENDED = 1u << 3, /* only farewells */
	MSG_PHASE_ANY = 0xf,
};

/* Kinds of a field. The maximum is the length in bytes (after base64 for BYTES), the largest value,
 * or the number of elements. Strings never hold NUL. */
enum msg_kind {
	MSG_NAME,   /* [a-z][a-z0-9-]{0,30}, lib/str.h */
	MSG_STRING, /* UTF-8, no NUL */
	MSG_BYTES,  /* base64 of any bytes */
	MSG_INT,    /* 0 .. max */
	MSG_SIGNED, /* -max .. max */
	MSG_BOOL,
	MSG_STRINGS, /* array of at most max strings of at most MSG_ITEM_MAX bytes */
	MSG_BLOBS,   /* array of at most max BYTES of at most MSG_ITEM_MAX bytes decoded */
	MSG_INTS,    /* array of at most max integers 0 .. INT32_MAX */
	MSG_OBJECT,  /* an object that its own strict reader unpacks (a plan, a grant) */
	MSG_OBJECTS, /* array of at most max such objects */
};

#define MSG_ITEM_MAX   (64u * 1024)
#define MSG_FIELDS_MAX 20

struct msg_field {
	const char *name; /* NULL ends the list */
	enum msg_kind kind;
	int64_t max;
	bool optional;
};

struct msg_type {
	const char *name;
	unsigned from, to; /* msg_role masks */
	unsigned phases;   /* msg_phase mask, of the receiving channel */
	size_t max;        /* bytes of the whole record */
	uint8_t fds_min, fds_max;
	struct msg_field fields[MSG_FIELDS_MAX + 1];
};

extern const struct msg_type msg_types[];               /* ends with name == NULL */
const struct msg_type *msg_type_find(const char *name); /* NULL if there is none */

struct msg {
	uint64_t id;
	const struct msg_type *type;
	json_t *body;
	int fds[MSG_FDS_MAX];
	size_t nfds;
};

#define MSG_INIT                                                                                   \
	{                                                                                          \
		0, NULL, NULL, {-1, -1, -1, -1, -1, -1, -1, -1}, 0                                 \
	}

/* Checks and unpacks one record from `from` to `to` in `phase`. Takes over fds in every case
 * (closed on failure). -EPERM: not this sender's, or not now; -EBADMSG: malformed or against the
 * schema; -EMSGSIZE; -EPROTO: wrong number of descriptors. On success msg_done() releases. */
int msg_decode(struct msg *m, unsigned from, unsigned to, unsigned phase, const void *data,
    size_t len, const int *fds, size_t nfds, struct err *e);
/* Checks the body against the table as the receiver will, and writes the record. Borrowed body. */
int msg_encode(
    struct buf *out, const char *type, uint64_t id, json_t *body, size_t nfds, struct err *e);
void msg_done(struct msg *m); /* drops the body, closes what descriptors are left */
bool msg_is(const struct msg *m, const char *type);
int msg_take_fd(struct msg *m, size_t i); /* ownership to the caller; -1 if there is none */

/* Fields of a checked message. A required field is always there; for an optional one that is absent
 * the answer is NULL / dflt / empty. Strings and objects are borrowed. */
const char *msg_str(const struct msg *m, const char *field);
int64_t msg_int(const struct msg *m, const char *field, int64_t dflt);
bool msg_bool(const struct msg *m, const char *field);
json_t *msg_obj(const struct msg *m, const char *field);
/* Decodes BYTES; appends to b. 0, -ENOENT if absent, -ENOBUFS. */
int msg_bytes(const struct msg *m, const char *field, struct buf *b);
/* A new JSON string that holds base64 of data; NULL without memory. */
json_t *msg_json_bytes(const void *data, size_t len);
/* The way back, for one element of BLOBS or a field of an object. As msg_bytes(), and -EBADMSG. */
int msg_json_decode(const json_t *v, struct buf *b);
/* Foreign text to a JSON object (the caller owns it): strict, no duplicate keys, no trailing bytes,
 * nested MSG_DEPTH_MAX at most. Everything that is JSON and not ours is read by this. -EBADMSG. */
int msg_json_parse(const void *data, size_t len, json_t **ret, struct err *e);

/* The same strict check for objects inside messages and files of ours (plans, grants, records):
 * unknown keys, missing keys, wrong kinds and ranges are -EBADMSG with WHAT and the key. */
int msg_check_fields(
    const char *what, const json_t *o, const struct msg_field *fields, struct err *e);

#endif
