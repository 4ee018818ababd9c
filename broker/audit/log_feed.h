/*
 * Everything there is of one log, in the one order in which verifiers and bundles take it: the
 * log's name and head, the host's epoch notes, the log's own, then records and checkpoints, each
 * checkpoint behind the record that has its size as number (or where it would be).
 */
#ifndef POSTERN_AUDIT_LOG_FEED_H
#define POSTERN_AUDIT_LOG_FEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct ranges;
struct store;

/* 0 to go on; anything else ends the feed and is its result. */
struct log_sink {
	int (*head)(void *arg, const char *log, uint64_t records);
	int (*host_epoch)(void *arg, const void *note, size_t len);
	int (*epoch)(void *arg, const void *note, size_t len); /* not for the host's log */
	int (*record)(void *arg, uint64_t seq, const void *data, size_t len);
	int (*checkpoint)(void *arg, uint64_t size, const void *note, size_t len);
};

/* Where the parts come from. Each hands on what it has from `from` on, in order, some at a time;
 * none: the end. fn answers 0 to go on, 1 to stop here. */
typedef int (*log_part_fn)(uint64_t number, const void *data, size_t len, void *arg);
struct log_parts {
	int (*records)(void *source, uint64_t from, log_part_fn fn, void *arg);
	int (*checkpoints)(void *source, uint64_t from, log_part_fn fn, void *arg);
	int (*epochs)(void *source, bool host, uint64_t from, log_part_fn fn, void *arg);
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
