/*
 * Ed25519 (RFC 8032) over bytes, for notes. Nobody but creds includes it.
 */
#ifndef POSTERN_CREDS_NOTE_INTERNAL_H
#define POSTERN_CREDS_NOTE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "creds/note.h"

/* 0 or -EIO. */
int note_ed25519_sign(const uint8_t seed[NOTE_KEY_LEN], const void *data, size_t len,
    uint8_t ret[NOTE_SIGNATURE_LEN]);
/* 0, -EBADMSG: it does not hold, -ENOMEM. */
int note_ed25519_verify(const uint8_t key[NOTE_KEY_LEN], const uint8_t sig[NOTE_SIGNATURE_LEN],
    const void *data, size_t len);
/* Not a key for which anybody can sign. */
bool note_point_ok(const uint8_t key[NOTE_KEY_LEN]);

#endif
