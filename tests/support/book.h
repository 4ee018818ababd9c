/*
 * The outside list for the tests of bad days: which records of which log were acknowledged, with
 * their leaf hashes, kept by somebody who does not die with the writer; and whether a store has all
 * of them.
 *
 * A check grows the tree of each log as far as the store's head, so that the next one has only what
 * is new to read: the root that it compares covers everything before.
 */
#ifndef POSTERN_TESTS_SUPPORT_BOOK_H
#define POSTERN_TESTS_SUPPORT_BOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/merkle.h"

struct err;
struct store;

#define BOOK_LOGS 4 /* the host's and three tenants' */
extern const char *const book_names[BOOK_LOGS];

/* Written to a pipe as it is: both ends are one program. */
struct ack {
	uint64_t log; /* index into book_names */
	uint64_t seq;
	uint8_t leaf[DIGEST_LEN];
};

struct book_leaf {
	bool known;
	uint8_t hash[DIGEST_LEN];
};

struct book_log {
	struct book_leaf *leaf; /* by seq, from 1 */
	size_t max;
	uint64_t acked;     /* the newest acknowledged one */
	struct merkle tree; /* of what was checked */
};

struct book {
	struct book_log log[BOOK_LOGS];
};

void book_init(struct book *b);
void book_done(struct book *b);
/* -EUCLEAN: another record was acknowledged under this number before. */
int book_ack(struct book *b, const struct ack *a);
uint64_t book_total(const struct book *b); /* acknowledged, in all logs */
/* Every acknowledged record is there as it was, head and stored tree add up. whole: reads all
 * again. -EUCLEAN with what is missing. */
int book_check(struct book *b, struct store *s, bool whole, struct err *e);
/* Where the store's logs have come to. */
int book_heads(struct store *s, uint64_t ret[BOOK_LOGS], struct err *e);

#endif
