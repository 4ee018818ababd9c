/*
 * When records go into the archive, and when they leave the store: the core's side.
 *
 * One log at a time, whatever is due (config `archive`: so many bytes, or so old): the exporter is
 * asked to cut a segment that ends at a checkpoint; what it says it wrote is held against the
 * log's own tree; that is recorded (log.archived, durable); only then do the records leave the
 * store, a step at a time (broker/audit/prune.h). If something dies in between, the same is asked
 * for again.
 *
 * What is in the archive stays in the store as long as
 *   - `keep` says,
 *   - a sink has not taken it, or its checkpoints,
 *   - with witnesses: the quorum has not signed a checkpoint of it; such a segment is not cut,
 * unless the store is more than ARCHIVE_FULL_PERCENT full: then it goes, and log.pruned says whom
 * it was not kept for.
 *
 * Nothing beyond the newest checkpoint is ever cut, and the newest record always stays.
 */
#ifndef POSTERN_CORE_ARCHIVE_H
#define POSTERN_CORE_ARCHIVE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct archive;
struct export_config;
struct loop;
struct msg;
struct record_log;
struct store;

#define ARCHIVE_FULL_PERCENT 90
#define ARCHIVE_TICK_S       5
#define ARCHIVE_RETRY_S      15  /* after a segment that could not be written */
#define ARCHIVE_SHOWN_MAX    128 /* logs in one answer */
#define ARCHIVE_CUT_S        900 /* without a record read, until a cut is asked for again */

struct archive_env {
	struct loop *loop;
	struct store *store;
	struct record_log *log;
	/* NULL: there is no configuration now, and nothing is done. */
	const struct export_config *(*config)(void *arg);
	/* archive.cut to the exporter; takes body over. -EPIPE: it is not there. */
	int (*ask)(void *arg, json_t *body, uint64_t *ret_id);
	/* The newest size of this log that the quorum has signed; 0: none. */
	uint64_t (*witnessed)(void *arg, const char *log);
	void *arg;
};

struct archive *archive_new(const struct archive_env *env); /* NULL without memory */
void archive_free(struct archive *a);
/* The exporter is there; it is gone. */
void archive_linked(struct archive *a);
void archive_lost(struct archive *a);
/* archive.written, archive.failed: whether it was an answer to us. */
bool archive_answer(struct archive *a, const struct msg *m);
/* The exporter has read this record for a segment: as long as it gets on, its answer is waited for.
 */
void archive_read(struct archive *a, const char *log, uint64_t seq);
/* Looks at once. */
void archive_soon(struct archive *a);
/* As ctl.status has it: broker/core/ctl_answers.h. */
json_t *archive_status(struct archive *a);

#endif
