/*
 * What the files of creds that touch libcrypto's objects share. Nobody else includes it.
 */
#ifndef POSTERN_CREDS_KEY_INTERNAL_H
#define POSTERN_CREDS_KEY_INTERNAL_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "creds/key.h"

struct key {
	enum key_type type;
	unsigned bits;
	EVP_PKEY *pkey;
	size_t blob_len;
	uint8_t blob[];
};

/* What tells the types apart. curve and point_len are 0 for what is not ECDSA. */
struct key_kind {
	const char *name;
	const char *curve;  /* SSH's name: "nistp256" */
	const char *group;  /* OpenSSL's: "P-256" */
	size_t point_len;   /* 1 + 2 coordinates */
	unsigned bits;      /* 0: it varies */
	const char *digest; /* NULL: the algorithm has its own, or it is chosen by name */
};

const struct key_kind *key_kind(enum key_type t); /* never NULL */
/* By SSH's name of the key's type; -ENOTSUP for one that we do not have. */
int key_type_find(const char *name, size_t len, enum key_type *ret);

/* "TYPE BASE64 COMMENT" taken apart; *ret_blob is allocated. */
int key_line_decode(const char *line, size_t len, size_t max, const char **ret_name,
    size_t *ret_name_len, uint8_t **ret_blob, size_t *ret_blob_len, struct err *e);

/* True if these 32 bytes are a point of edwards25519 in canonical form and not of small order. */
bool ed25519_point_ok(const uint8_t p[32]);

/* The digest of a signature algorithm for this key; -ENOTSUP if the two do not fit. *ret is NULL
 * for ed25519. */
int key_sig_digest(const struct key *k, const char *alg, size_t len, const char **ret);

/* ---- private keys ---- */

struct buf;
struct secret;
struct key_private;

/* A buf over memory that it does not own and cannot grow: for text that must stay in a struct
 * secret. Never buf_done() it. */
void buf_over_secret(struct buf *b, struct secret *s);

/* fields: what a private section holds between its check words and the comment. Takes fields over
 * on success. */
int key_private_from_fields(struct secret *fields, size_t len, const struct key *pub,
    const char *comment, struct key_private **ret, struct err *e);
/* How many bytes of data (a private section behind its check words) are the key's fields. */
int key_private_fields_len(const uint8_t *data, size_t len, size_t *ret);
const uint8_t *key_private_fields(const struct key_private *k, size_t *ret_len);

#endif
