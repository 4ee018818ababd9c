/*
 * Personal values of records (who, from which address): a record holds a salted commitment of each,
 * and the value lies beside the log with its salt, where it can be erased without touching a byte
 * that is proved.
 *
 *   "c:" || hex(SHA-256(0x02 || salt (16 bytes) || value))
 *
 * Within one connection the same value has the same commitment, so that records can be told to be
 * of one person; in another connection it has another. STORE_PRIVATE: 'c' || digest -> salt ||
 * value, and 'i' || the first 16 bytes of SHA-256(person) || digest -> "" for each that was
 * recorded together with a person.
 *
 * What a commitment looks like is private_text.c, which needs no store.
 *
 * What is erased is gone from what the store shows; LMDB may keep the bytes in pages that it has
 * not used again.
 */
#ifndef POSTERN_AUDIT_PRIVATE_H
#define POSTERN_AUDIT_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/digest.h"

struct buf;
struct err;
struct private_values; /* what this process has committed to: a cache */
struct store;

#define PRIVATE_TEXT_LEN  (2 + DIGEST_HEX_LEN)
#define PRIVATE_SALT_LEN  16
#define PRIVATE_VALUE_MAX 1024

bool private_field(const char *key);                /* of a subject or body */
bool private_is_text(const char *text, size_t len); /* of the form of a commitment */

/* The digest that such a text holds. -EBADMSG. */
int private_parse(const char *text, size_t len, uint8_t ret[DIGEST_LEN]);
void private_commitment(
    const uint8_t *salt, const void *value, size_t len, uint8_t ret[DIGEST_LEN]);

struct private_values *private_new(struct store *s); /* NULL without memory */
void private_free(struct private_values *p);
void private_reset(
    struct private_values *p); /* after an aborted transaction: nothing is known to be there */

/* Inside a write transaction. person: whom it is about, "" if that is not known yet. */
int private_commit(struct private_values *p, const char *conn, const char *person,
    const char *value, size_t len, char ret[PRIVATE_TEXT_LEN + 1], struct err *e);

/* Appends the value. -ENOENT: erased, or never there; -EBADMSG: no commitment; -EUCLEAN: it is not
 * what was committed to. */
int private_reveal(struct store *s, const char *text, size_t len, struct buf *ret);
/* The same from salt and value that came from elsewhere. */
int private_check(const char *text, size_t len, const void *entry, size_t entry_len);
/* The commitment that an entry (salt || value) opens. -EBADMSG: it is none. */
int private_opens(const void *entry, size_t len, char ret[PRIVATE_TEXT_LEN + 1]);
/* The entry itself (salt || value), for who checks elsewhere. */
int private_entry(struct store *s, const char *text, size_t len, struct buf *ret);
/* Every value that was recorded with this person, in a transaction of its own. */
int private_erase(struct store *s, const char *person, size_t *ret_n, struct err *e);

#endif
