/*
 * Whose checkpoints a witness cosigns: a list of logs' verifier keys, each named by the log's
 * origin. The key of a Postern host, named ORIGIN, also stands for the logs of its tenants, whose
 * origins are ORIGIN/t/TENANT and who have the same public key; so many of those as
 * TRUST_TENANTS_MAX says, lest a host fills the witness's disk.
 *
 * Knows no file and no request.
 */
#ifndef POSTERN_WITNESS_TRUST_H
#define POSTERN_WITNESS_TRUST_H

#include <stdbool.h>
#include <stddef.h>

#include "creds/note.h"

struct err;

#define TRUST_KEYS_MAX    512
#define TRUST_TENANTS_MAX 1024 /* logs of tenants, for each host */
#define TRUST_SAME_MAX    4    /* keys of one origin, while one replaces the other */
#define TRUST_FILE_MAX    (256u * 1024)

struct trust;

struct trust *trust_new(void); /* NULL without memory */
void trust_free(struct trust *t);
/* A key of type 0x01 that is no epoch's. One that is there already is fine. -EINVAL, -EBADMSG,
 * -ENOSPC: too many. */
int trust_add(struct trust *t, const char *key, size_t len, struct err *e);
/* What `postern audit keys` prints: the last word of each line that holds a plus sign; lines that
 * begin with # are comments. Keys of epochs and of witnesses are passed over. */
int trust_add_text(struct trust *t, const char *text, size_t len, struct err *e);
size_t trust_count(const struct trust *t);

/* The keys that may sign for origin, named like it. 0: nobody. */
size_t trust_find(const struct trust *t, const char *origin, struct note_key ret[TRUST_SAME_MAX]);
/* May one more log be kept, which was not before? True for those with a key of their own. */
bool trust_room(const struct trust *t, const char *origin);
/* One more is kept. */
void trust_kept(struct trust *t, const char *origin);

#endif
