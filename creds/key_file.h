/*
 * Private keys, in OpenSSH's own file format (PROTOCOL.key, "openssh-key-v1"), without a
 * passphrase: an encrypted one is refused with a text that names the way (ssh-agent, ssh-keygen
 * -p).
 *
 * Invariant of a struct key_private: the private part belongs to the public one (checked by signing
 * and verifying once when it is read). The file's bytes pass through struct secret only.
 *
 * Uses libcrypto (EVP).
 */
#ifndef POSTERN_CREDS_KEY_FILE_H
#define POSTERN_CREDS_KEY_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "creds/key.h"

struct key_private;
struct secret;

#define KEY_FILE_MAX    (32u * 1024)
#define KEY_COMMENT_MAX 256

/* OpenSSL's locked, guarded heap for numbers of private keys; once, early in a process that holds
 * keys. 0 or -errno. */
int key_secure_heap(void);

/* The text of a file. -EBADMSG: malformed; -ENOKEY: encrypted; the errors of key_parse_blob(). */
int key_private_parse(const void *text, size_t len, struct key_private **ret, struct err *e);
/* Reads a regular file that nobody but its owner can read or write (-EACCES otherwise). */
int key_private_load(int dirfd, const char *path, struct key_private **ret, struct err *e);
/* The same from an open descriptor (which stays the caller's); name is what errors call it. */
int key_private_load_fd(int fd, const char *name, struct key_private **ret, struct err *e);
/* bits: only for RSA, 0 means 3072. */
int key_private_generate(
    enum key_type type, unsigned bits, struct key_private **ret, struct err *e);
void key_private_free(struct key_private *k); /* NULL is fine; keeps errno */

const struct key *key_private_public(const struct key_private *k); /* borrowed */
const char *key_private_comment(const struct key_private *k);      /* "" if there is none */

/* The file's text. The caller owns *ret. */
int key_private_format(
    const struct key_private *k, const char *comment, struct secret **ret, struct err *e);
/* Writes NAME, mode 0600, durably; -EEXIST if there is one. */
int key_private_save(
    const struct key_private *k, const char *comment, int dirfd, const char *name, struct err *e);

/* Appends a signature in SSH's form. RSA signs as rsa-sha2-512. */
int key_private_sign(
    const struct key_private *k, const void *data, size_t len, struct buf *sig, struct err *e);
#define KEY_RAW_SIG_MAX 132
/* The raw r || s of an ECDSA key, each at full length, as JWS wants it (RFC 7518 section 3.4). */
int key_private_sign_raw(const struct key_private *k, const void *data, size_t len,
    uint8_t ret[KEY_RAW_SIG_MAX], size_t *ret_len, struct err *e);

static inline void key_private_cleanup(struct key_private **k)
{
	key_private_free(*k);
}
#define cleanup_key_private __attribute__((cleanup(key_private_cleanup)))

#endif
