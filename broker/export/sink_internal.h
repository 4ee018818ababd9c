/* Between sink.c, sink_batch.c and sink_files.c alone. */
#ifndef POSTERN_EXPORT_SINK_INTERNAL_H
#define POSTERN_EXPORT_SINK_INTERNAL_H

#include "broker/export/sink.h"

struct msg;

/* The sink's batch: dropped, made of export.batch, of export.notelist. It may become empty. */
void sink_batch_drop(struct sink *s);
int sink_batch_records(struct sink *s, size_t feed, const struct msg *m);
int sink_batch_checkpoints(struct sink *s, size_t feed, const struct msg *m);

/* On failure, too, sink_files_drop() releases what was read. */
int sink_files_read(
    struct sink *s, const struct exporter *x, const struct export_sink *c, struct err *e);
void sink_files_drop(struct sink *s);

#endif
