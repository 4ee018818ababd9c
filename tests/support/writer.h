/*
 * The record store as the core has it, for tests of bad days: opened on a directory, without
 * limits, and fed with records of several tenants whose acknowledgements are handed on with the
 * leaf hash of what is in the store at that moment.
 */
#ifndef POSTERN_TESTS_SUPPORT_WRITER_H
#define POSTERN_TESTS_SUPPORT_WRITER_H

#include <stddef.h>
#include <stdint.h>

#include "tests/support/book.h"

struct err;
struct loop;
struct record_log;

typedef void (*writer_fn)(const struct ack *a, void *arg);

struct writer {
	struct loop *loop;
	struct store *store;
	struct record_log *log;
	writer_fn on_ack;
	void *arg;
	uint64_t next; /* numbers the records' bodies */
	uint64_t acked, refused;
	int error; /* of the newest refusal */
};

#define WRITER_MAP (UINT64_C(256) << 20)

/* The caller sets on_ack and arg afterwards. */
int writer_open(struct writer *w, int dirfd, struct err *e);
void writer_close(struct writer *w);
/* n critical records, their logs and sizes by *seed. 0, or why the last one was not even queued. */
int writer_append(struct writer *w, size_t n, uint64_t *seed);
/* Commits what is queued, and hands on the acknowledgements. */
int writer_flush(struct writer *w);
/* The next number of a small generator (xorshift64). */
uint64_t writer_random(uint64_t *seed);

#endif
