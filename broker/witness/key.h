/*
 * A witness's own key: Ed25519, for cosignatures. Kept as one line, as Go's note package writes a
 * signer's key, so that it can move to another witness program:
 *
 *   PRIVATE+KEY+NAME+ID+base64(0x04 || seed)
 *
 * Depends on creds/note, lib/fdio and lib/secret.
 */
#ifndef POSTERN_WITNESS_KEY_H
#define POSTERN_WITNESS_KEY_H

#include "creds/note.h"

struct err;
struct secret;

#define WITNESS_KEY_FILE "key"

struct witness_key {
	struct note_key public;
	struct secret *seed;
};

/* Reads DIR/key. name: what it must be called, NULL: anything. -ENOENT: there is none; -EBADMSG;
 * -EINVAL: another name. */
int witness_key_load(int dir, const char *name, struct witness_key *ret, struct err *e);
/* Makes one, 0600 and of the directory's owner. Whoever calls holds the directory's lock. */
int witness_key_make(int dir, const char *name, struct witness_key *ret, struct err *e);
void witness_key_done(struct witness_key *k);

#endif
