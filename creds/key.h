/*
 * Public keys in OpenSSH's form (RFC 4253 section 6.6, RFC 5656 section 3.1, RFC 8709 section 4).
 *
 * Invariants of a struct key: it is of one of the five types below; an RSA modulus has
 * KEY_RSA_MIN_BITS to KEY_RSA_MAX_BITS bits; a point is on its curve, in its one canonical form,
 * and not of small order; the blob is the one encoding of the key, without a byte after it. DSA,
 * sk- keys and certificates are refused. A key is immutable.
 *
 * Uses libcrypto (EVP). Must not know certificates or files.
 */
#ifndef POSTERN_CREDS_KEY_H
#define POSTERN_CREDS_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;
struct key;

enum key_type { KEY_ED25519, KEY_ECDSA_256, KEY_ECDSA_384, KEY_ECDSA_521, KEY_RSA };
#define KEY_TYPES 5

#define KEY_BLOB_MAX        4096
#define KEY_RSA_MIN_BITS    2048
#define KEY_RSA_MAX_BITS    16384
#define KEY_SIG_MAX         (KEY_RSA_MAX_BITS / 8 + 64)
#define KEY_FINGERPRINT_LEN 51 /* "SHA256:" and 43 characters, and the NUL */

/* A blob: string type, then the type's fields. On success the caller owns *ret (key_free).
 * -EBADMSG: malformed; -ENOTSUP: of a type that is not accepted; -EKEYREJECTED: too small, too
 * large, not on its curve; -ENOMEM. */
int key_parse_blob(const void *data, size_t len, struct key **ret, struct err *e);
/* "TYPE BASE64" or "TYPE BASE64 COMMENT", one line, with or without its newline, no options in
 * front. The name must be the blob's type. Errors as above. */
int key_parse_line(const char *line, size_t len, struct key **ret, struct err *e);
void key_free(struct key *k); /* NULL is fine; keeps errno */
struct key *key_dup(const struct key *k);

enum key_type key_type(const struct key *k);
const char *key_type_name(enum key_type t); /* "ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa" */
unsigned key_bits(const struct key *k);
/* Borrowed; lives as long as k. */
const uint8_t *key_blob(const struct key *k, size_t *ret_len);
/* Compares the keys themselves, not text or blobs. */
bool key_equal(const struct key *a, const struct key *b);
/* "SHA256:..." without padding, as ssh-keygen -l prints it. Returns dst. */
char *key_fingerprint(const struct key *k, char dst[KEY_FINGERPRINT_LEN]);
/* Appends "TYPE BASE64 COMMENT\n"; comment may be NULL or empty. */
void key_format_line(const struct key *k, const char *comment, struct buf *out);
/* The affine coordinates of an ECDSA key as fixed-length big-endian numbers (RFC 7518
 * section 6.2.1); x and y point into k's blob. -EINVAL for other types. */
int key_ec_point(
    const struct key *k, const uint8_t **ret_x, const uint8_t **ret_y, size_t *ret_len);

/* Checks a signature in SSH's form (string algorithm, string signature) over data. The algorithm
 * must fit the key; for RSA only rsa-sha2-256 and rsa-sha2-512. 0; -EBADMSG: malformed; -ENOTSUP:
 * algorithm not accepted for this key; -EKEYREJECTED: the signature is wrong. */
int key_verify(const struct key *k, const void *sig, size_t sig_len, const void *data, size_t len,
    struct err *e);

static inline void key_cleanup(struct key **k)
{
	key_free(*k);
}
#define cleanup_key __attribute__((cleanup(key_cleanup)))

#endif
