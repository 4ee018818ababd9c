/*
 * What the files of the archive's schedule share. Nobody else includes it.
 *
 *   archive.c       the schedule: cut, record, prune
 *   archive_due.c   what is due, and what holds it
 */
#ifndef POSTERN_CORE_ARCHIVE_INTERNAL_H
#define POSTERN_CORE_ARCHIVE_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "broker/audit/logs.h"
#include "broker/audit/prune.h"
#include "broker/core/archive.h"
#include "lib/str.h"

#define ARCHIVE_WHY_MAX 200

/* A segment that is asked for. */
struct cut {
	char log[NAME_MAX_LEN + 1];
	uint32_t number;
	uint64_t from, to;
};

struct archive {
	struct archive_env env;
	struct loop_source *tick, *late;
	struct log_info logs[LOGS_MAX];
	size_t nlogs, turn;
	bool linked;
	bool cutting;        /* asked, not answered */
	bool recording;      /* written, or about to be dropped; its record is not durable yet */
	int64_t patience_ns; /* with an exporter that does not get on */
	uint64_t asked;      /* id of the question */
	struct cut cut;
	uint64_t read;      /* the newest record of it that the exporter has asked for; 0: none */
	uint64_t bytes;     /* of its records */
	uint32_t forced;    /* the log that is pruned though somebody still wants it */
	uint64_t forced_to; /* 0: none is */
	int64_t retry_ns;   /* boot time before which none is asked for; 0: none failed */
	char failed[ARCHIVE_WHY_MAX];
	uint64_t pruned_to; /* of the record that is under way */
	uint64_t segments;  /* since we are here; the last of them, and when */
	struct cut last;
	int64_t last_ns;
	char held[LOGS_MAX][ARCHIVE_WHY_MAX]; /* of each of logs: whom it waits for; "": nobody */
};

/* Whether a segment of this log is due, and which; else why: what it waits for, if anything. */
bool archive_due(struct archive *a, const struct export_config *c, const struct log_info *l,
    struct cut *ret, char why[ARCHIVE_WHY_MAX]);
/* Up to which record a log may be pruned now; not more than the edge's `to`. why: what holds it
 * back beyond that, "" if nothing does. */
uint64_t archive_most(struct archive *a, const struct export_config *c, const struct log_info *l,
    const struct log_edge *g, char why[ARCHIVE_WHY_MAX]);
/* More than ARCHIVE_FULL_PERCENT. */
bool archive_full(struct archive *a);

#endif
