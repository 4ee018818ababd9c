/*
 * A body that is too large for its record lies beside the log, and the record holds its SHA-256:
 *
 *   "body":{small members..., "body_digest":"<64 hex>","body_bytes":N}
 *
 * The body's bytes are JSON as a record would have had them (personal values as commitments), and
 * nothing is ever written again to be verified. In the store they have the key of their record
 * (STORE_BODIES), so that they go with it: of a shared body nobody could tell when it may go.
 *
 * Knows no store.
 */
#ifndef POSTERN_AUDIT_BODY_H
#define POSTERN_AUDIT_BODY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/audit/record_json.h"
#include "lib/digest.h"

struct buf;

#define BODY_MAX (128u * 1024) /* what is longer is cut, and says so */

/* Writes body into spill (reset before), cut to BODY_MAX if need be, and makes what stays in the
 * record: new, without personal values hidden. -ENOMEM; -EMSGSIZE: it cannot be cut that far. */
int body_spill(
    const json_t *body, record_json_fn personal, void *arg, struct buf *spill, json_t **ret_small);
/* Cuts the longest string at the top of body; its name and true length go to "cut". False when
 * nothing is left to cut. */
bool body_cut(json_t *body);

/* What a record says of its body. -ENOENT: it has it within; valid for any bytes: a record that was
 * not written by us may be told to have one, never another's. */
int body_named(const void *record, size_t len, uint8_t ret_digest[DIGEST_LEN], size_t *ret_len);
/* 0, or -EBADMSG: these are not those bytes. */
int body_check(const void *record, size_t len, const void *body, size_t body_len);

#endif
