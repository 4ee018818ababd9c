/*
 * For tests of keys and certificates: a directory of their own, the real ssh-keygen, and
 * certificates put together field by field, broken in any way. Every function asserts (cmocka) that
 * it worked.
 */
#ifndef POSTERN_TESTS_SUPPORT_KEYGEN_H
#define POSTERN_TESTS_SUPPORT_KEYGEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "creds/key_file.h"

struct buf;

/* A new directory, the working directory from now on; and its removal. For group set-up. */
int keygen_enter(void **state);
int keygen_leave(void **state);

/* Runs a program (NULL-terminated arguments after it) without input. Returns its exit status; out
 * (may be NULL) gets its standard output and error. */
int keygen_run(struct buf *out, const char *program, ...) __attribute__((sentinel));
/* ssh-keygen -q -t TYPE -N "" -f NAME, once for each name. */
void keygen_make(const char *name, enum key_type type);
/* A file's content with a NUL behind it; the caller frees. */
char *keygen_read(const char *path, size_t *ret_len);
struct key *keygen_public(const char *path);
struct key_private *keygen_private(const char *path);
/* The blob in a file of one line TYPE BASE64 COMMENT; the caller frees. */
uint8_t *keygen_blob(const char *path, size_t *ret_len);

/* ---- certificates by hand ---- */

struct cert_build {
	const char *type;          /* the type name */
	const struct key *subject; /* its fields follow the nonce */
	size_t nonce_len;
	uint64_t serial;
	uint32_t kind;
	const void *key_id;
	size_t key_id_len;
	/* what lies inside each list's string, raw */
	const void *principals, *critical, *extensions, *reserved;
	size_t principals_len, critical_len, extensions_len, reserved_len;
	uint64_t after, before;
	const void *ca_blob; /* NULL: the signing key's own */
	size_t ca_blob_len;
	const void *tail; /* behind the signature */
	size_t tail_len;
};

/* A good certificate: principal "agent", key id "test", valid always, no options. */
void cert_build_init(struct cert_build *b, const struct key *subject);
/* Signs and writes it; the caller frees. */
uint8_t *cert_build_blob(const struct cert_build *b, const struct key_private *ca, size_t *ret_len);
/* A list entry as critical options and extensions have it: name, and data as it is. */
void cert_build_option(struct buf *list, const char *name, const void *data, size_t len);
/* The same with the value wrapped in a string of its own, as it should be. */
void cert_build_value(struct buf *list, const char *name, const char *value);

#endif
