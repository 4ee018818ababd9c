/*
 * Everything there is of one log, in the one order in which verifiers and bundles take it: the
 * log's name and head, the host's break notes and epoch notes, the log's own, then records and
 * checkpoints, each checkpoint behind the record that has its size as number (or where it would
 * be). Of a log whose first records are in the archive (broker/audit/prune.h) the edge comes before
 * the others.
 */
#ifndef POSTERN_AUDIT_LOG_FEED_H
#define POSTERN_AUDIT_LOG_FEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/merkle.h"

struct err;
struct log_edge;
struct ranges;
struct store;

/* 0 to go on; anything else ends the feed and is its result. */
struct log_sink {
	int (*head)(void *arg, const char *log, uint64_t records);
	int (*host_epoch)(void *arg, const void *note, size_t len);
	int (*epoch)(void *arg, const void *note, size_t len); /* not for the host's log */
	/* NULL: they are passed over. */
	int (*host_break)(void *arg, const void *note, size_t len);
	int (*own_break)(void *arg, const void *note, size_t len); /* not for the host's log */
	int (*record)(void *arg, uint64_t seq, const void *data, size_t len);
	int (*checkpoint)(void *arg, uint64_t size, const void *note, size_t len);
	/* Records up to seq are elsewhere: the leaf hash of that one, and the tree of all of them.
	 * NULL: such a log is -EBADMSG. */
	int (*edge)(
	    void *arg, uint64_t seq, const uint8_t leaf[DIGEST_LEN], const struct merkle *tree);
	/* The body beside the record that came last. NULL: not wanted. */
	int (*body)(void *arg, uint64_t seq, const void *data, size_t len);
	/* What the source itself finds wrong with its records from..to: they are not those that
	 * were written (broken), or there is less of them than there should be. NULL: -EBADMSG. */
	int (*torn)(void *arg, uint64_t from, uint64_t to, bool broken, const char *what);
};

/* Where the parts come from. Each hands on what it has from `from` on, in order, some at a time;
 * none: the end. fn answers 0 to go on, 1 to stop here. */
typedef int (*log_part_fn)(uint64_t number, const void *data, size_t len, void *arg);
struct log_parts {
	int (*records)(void *source, uint64_t from, log_part_fn fn, void *arg);
	int (*checkpoints)(void *source, uint64_t from, log_part_fn fn, void *arg);
	int (*epochs)(void *source, bool host, uint64_t from, log_part_fn fn, void *arg);
	int (*breaks)(void *source, bool host, uint64_t from, log_part_fn fn, void *arg);
	/* Of a log that was pruned; seq 0: it was not. NULL: none can be. */
	int (*edge)(void *source, struct log_edge *ret);
	/* The body beside a record, if it is there. NULL: there is none. */
	int (*body)(void *source, uint64_t seq, log_part_fn fn, void *arg);
};
int log_feed(const struct log_parts *parts, void *source, const char *log, uint64_t records,
    const struct log_sink *sink, void *arg);

/* From a store's committed state. -ENOENT: no such log. */
int log_feed_store(
    struct store *s, const char *log, const struct log_sink *sink, void *arg, struct err *e);

/* A verifier as a sink; its arg is this. */
struct log_ranges {
	struct ranges *ranges;
	uint64_t head; /* for ranges_end() */
};
extern const struct log_sink log_ranges_sink;

#endif
