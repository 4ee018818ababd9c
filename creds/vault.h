/*
 * A file of secrets that a passphrase opens: for keys that leave the host in a backup.
 *
 *   "postvault" LF, u32 version 1, u8 log2 N, u32 r, u32 p, salt[32]        the header
 *   frames: u32 length, u8 last, then that many bytes: AES-256-GCM, its 16 byte tag at the end
 *
 * The key is scrypt(passphrase, salt) (RFC 7914), N = 2^17, r = 8, p = 1: 128 MiB and about half a
 * second for each guess. What a file may demand is bounded before anything is computed. The nonce
 * is the frame's number, as no key is used for two files; the header and the frame's head are
 * authenticated with each frame, so that frames can neither be exchanged nor be dropped, and the
 * last one has to be there. Numbers are big endian.
 */
#ifndef POSTERN_CREDS_VAULT_H
#define POSTERN_CREDS_VAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct secret;
struct vault;

#define VAULT_MAGIC      "postvault\n"
#define VAULT_MAGIC_LEN  10
#define VAULT_VERSION    1
#define VAULT_SALT       32
#define VAULT_HEADER     (VAULT_MAGIC_LEN + 4 + 1 + 4 + 4 + VAULT_SALT)
#define VAULT_TAG        16
#define VAULT_FRAME_HEAD 5
#define VAULT_FRAME_MAX  (65536 - VAULT_TAG) /* of plain bytes */
#define VAULT_LOG2_N     17
#define VAULT_R          8
#define VAULT_P          1
/* What a file may ask of who opens it. */
#define VAULT_LOG2_N_MIN 14
#define VAULT_LOG2_N_MAX 18
#define VAULT_R_MAX      8
#define VAULT_P_MAX      4
#define VAULT_PASS_MIN   8
#define VAULT_PASS_MAX   1024

struct vault_header {
	uint32_t version, r, p;
	uint8_t log2_n;
	uint8_t salt[VAULT_SALT];
};
/* -EBADMSG: not a vault, or cut off; -EPROTO: of a newer version; -ERANGE: asks for more work than
 * is given, or for so little that it protects nothing. */
int vault_header_parse(const void *data, size_t len, struct vault_header *ret, struct err *e);

/* fd is borrowed. The header is written at once. */
int vault_create(int fd, struct secret *passphrase, struct vault **ret, struct err *e);
/* One frame, at most VAULT_FRAME_MAX bytes (at least one); after the last one there is none. */
int vault_put(struct vault *v, const void *data, size_t len, bool last, struct err *e);

/* Reads the header; the passphrase shows at the first frame. */
int vault_open(int fd, struct secret *passphrase, struct vault **ret, struct err *e);
/* The next frame; the caller owns *ret. -EKEYREJECTED: another passphrase, or it was changed;
 * -ENODATA: behind the last one; -EBADMSG: cut off. */
int vault_get(struct vault *v, struct secret **ret, bool *ret_last, struct err *e);
void vault_free(struct vault *v);

static inline void vault_cleanup(struct vault **v)
{
	vault_free(*v);
}
#define cleanup_vault __attribute__((cleanup(vault_cleanup)))

#endif
