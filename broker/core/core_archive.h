/*
 * The archive as the core has it: broker/core/archive.h with the core's store, log, configuration
 * and exporter.
 */
#ifndef POSTERN_CORE_CORE_ARCHIVE_H
#define POSTERN_CORE_CORE_ARCHIVE_H

struct core;
struct err;
struct msg;
struct peer;

/* c->archive, if there is a store. 0 or -ENOMEM. */
int core_archive_start(struct core *c);
/* c->exporter has come, or gone. */
void core_archive_linked(struct core *c);
void core_archive_lost(struct core *c);
/* archive.written, archive.failed: as handle_export.c has them. */
int core_archive_answer(struct peer *p, struct msg *m, struct err *e);

#endif
