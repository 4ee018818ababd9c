/*
 * The archive beside a log: its segments (broker/audit/segment_file.h), opened while we may still,
 * and what is in them handed on as if the log had it.
 */
#ifndef POSTERN_CTL_AUDIT_ARCHIVE_H
#define POSTERN_CTL_AUDIT_ARCHIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "broker/audit/log_feed.h"

struct audit_archive;
struct ctl;
struct segment;
struct stat;

/* --archive DIR; else, if `standard`, STATE/archive if it is there and may be read. EXIT_OK and
 * *ret, NULL if there is none; or an exit status with its reason said. log: only its segments;
 * NULL: all. */
int audit_archive_open(
    const struct ctl *c, bool standard, const char *log, struct audit_archive **ret);
void audit_archive_close(struct audit_archive *a); /* NULL is fine */
/* Whether it stands for this log: it was named, or has segments of it. a may be NULL: no. */
bool audit_archive_of(const struct audit_archive *a, const char *log);
/* The newest record of this log in it; 0: none. a may be NULL. */
uint64_t audit_archive_last(const struct audit_archive *a, const char *log);
/* Puts the archive as it is now in its place if it has newer segments of this log: whether. */
bool audit_archive_again(const struct ctl *c, const char *log, struct audit_archive **a);
const struct segment *audit_archive_segments(const struct audit_archive *a, size_t *ret_n);
/* Of its file; all zero when the system does not say. */
void audit_archive_stat(const struct audit_archive *a, size_t i, struct stat *ret);
/* A stream of the bundle in it, to be closed; NULL with errno. */
FILE *audit_archive_stream(const struct audit_archive *a, size_t i);

/* A sink that hands on to another, and where the log begins with an edge the archive's records and
 * checkpoints up to it first. Its arg is this. */
struct audit_joined {
	struct log_sink sink;
	const struct audit_archive *archive;
	const char *log;
	const struct log_sink *to;
	void *to_arg;
	/* of the segment that is read */
	const struct segment *segment;
	uint64_t next;       /* the record that has to come */
	uint64_t last, upto; /* the newest record handed on; the edge */
};
void audit_archive_join(struct audit_joined *j, const struct audit_archive *a, const char *log,
    const struct log_sink *to, void *to_arg);

#endif
