/*
 * C2SP signed notes (c2sp.org/signed-note) with Ed25519, and the checkpoints of
 * c2sp.org/tlog-checkpoint.
 *
 *   TEXT, ending in a newline
 *   (an empty line)
 *   EM DASH, space, key name, space, base64(key id || signature) for each signature
 *
 * A key's id is the first four bytes of SHA-256(name || LF || type || public key); type 0x01 is a
 * signature of the text, 0x04 a timestamped cosignature (c2sp.org/tlog-cosignature). A verifier
 * ignores signatures of keys that it does not know; one that it knows and that does not hold makes
 * the note bad.
 *
 * A checkpoint's text is: origin LF size in decimal LF base64(root) LF. Extension lines are
 * refused.
 */
#ifndef POSTERN_CREDS_NOTE_H
#define POSTERN_CREDS_NOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/digest.h"

struct buf;
struct err;

#define NOTE_MAX            (16u * 1024)
#define NOTE_SIGNATURES_MAX 32  /* a verifier must take 16 at least */
#define NOTE_NAME_MAX       255 /* no white space, no plus sign */
#define NOTE_KEY_LEN        32
#define NOTE_SIGNATURE_LEN  64

enum note_type { NOTE_ED25519 = 0x01, NOTE_COSIGNATURE = 0x04 };

/* A verifier key: "NAME+hex key id+base64(type || public key)". */
struct note_key {
	char name[NOTE_NAME_MAX + 1];
	uint8_t type;
	uint8_t id[4];
	uint8_t key[NOTE_KEY_LEN];
};

/* -EINVAL for a bad name. */
int note_key_init(struct note_key *k, const char *name, uint8_t type,
    const uint8_t key[NOTE_KEY_LEN], struct err *e);
int note_key_parse(const char *text, size_t len, struct note_key *ret, struct err *e);
void note_key_format(const struct note_key *k, struct buf *out);

struct note_signature {
	char name[NOTE_NAME_MAX + 1];
	uint8_t id[4];
	const uint8_t *data; /* into the note's own storage */
	size_t len;
};

/* A parsed note; owns its storage. */
struct note {
	char *text; /* ends in a newline; NUL-terminated */
	size_t text_len;
	size_t nsignatures;
	struct note_signature signatures[NOTE_SIGNATURES_MAX];
	uint8_t *storage;
};

int note_parse(const void *data, size_t len, struct note *ret, struct err *e);
void note_done(struct note *n);
/* 1: signed by k and good (*ret_time_s is a cosignature's time, may be NULL); 0: no signature by k;
 * -EBADMSG: one by k that does not hold. */
int note_verify(const struct note *n, const struct note_key *k, int64_t *ret_time_s, struct err *e);
/* Appends "— NAME base64\n" over text. seed: the private key's 32 bytes. time_s only for
 * NOTE_COSIGNATURE. */
int note_sign(const char *text, size_t text_len, const struct note_key *k,
    const uint8_t seed[NOTE_KEY_LEN], int64_t time_s, struct buf *out, struct err *e);
/* The public half of a seed. */
int note_public(const uint8_t seed[NOTE_KEY_LEN], uint8_t ret[NOTE_KEY_LEN]);

struct checkpoint {
	char origin[NOTE_NAME_MAX + 1];
	uint64_t size;
	uint8_t root[DIGEST_LEN];
};

void checkpoint_text(const struct checkpoint *c, struct buf *out);
int checkpoint_parse(const char *text, size_t len, struct checkpoint *ret, struct err *e);

#endif
