/*
 * What the exporter has: its sinks, its witnesses, and what is known of the logs. One in a process.
 *
 * exporter.c is told by the core what there is (export.grown) and wakes whoever wants it; each sink
 * (sink.h) and each witness (witness.h) goes at its own pace and knows nothing of the others.
 */
#ifndef POSTERN_EXPORT_EXPORTER_H
#define POSTERN_EXPORT_EXPORTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/core/export_config.h"
#include "creds/note.h"

struct err;
struct http;
struct loop;
struct loop_source;
struct msg;
struct pull;
struct sink;
struct witness;

#define EXPORT_LOGS_KNOWN_MAX 1024 /* as many as export.grown tells of */

struct export_log {
	char name[NAME_MAX_LEN + 1];
	char origin[NOTE_NAME_MAX + 1]; /* "" until the first checkpoint was seen */
	uint64_t size, checkpoint;      /* records; size of the newest checkpoint, 0: none */
};

struct exporter {
	struct loop *loop;
	struct pull *pull;
	struct http *http;
	int config_dir, export_dir, archive_dir; /* borrowed */
	struct export_config *config;
	size_t nlogs;
	struct export_log *logs; /* never shrinks, never reordered: an index stays good */
	size_t asking,
	    turn; /* the place + 1 of the log whose origin is asked for; where to look next */
	struct sink *sinks[EXPORT_SINKS_MAX];
	struct witness *witnesses[EXPORT_WITNESSES_MAX];
	struct loop_source *alone;  /* without a core for too long */
	struct loop_source *report; /* export.state, at most once a second */
	int64_t reported_ns;
};

/* directories are borrowed; the http may be NULL in tests without a network. */
int exporter_init(struct exporter *x, struct loop *l, int config_dir, int export_dir,
    int archive_dir, struct err *e);
void exporter_done(struct exporter *x);
/* Reads the configuration again, all or nothing; what has not changed goes on undisturbed. */
int exporter_reload(struct exporter *x, struct err *e);
/* A link to the core; takes fd over. */
int exporter_link(struct exporter *x, int fd);

/* For sinks and witnesses: the state of one of them has changed. */
void exporter_changed(struct exporter *x);

/* Between one second and a minute, twice as long each time, up to a quarter off either way so that
 * many do not come back at once. failures: in a row, from 1. */
int64_t exporter_backoff_ns(unsigned failures);

#endif
