/* Between the files of a sink alone. */
#ifndef POSTERN_EXPORT_SINK_INTERNAL_H
#define POSTERN_EXPORT_SINK_INTERNAL_H

#include "broker/export/sink.h"

struct msg;

size_t sink_line_max(const struct sink *s);
/* What private entries open: commitment -> value. NULL where the sink may not have them. */
json_t *sink_personal(const struct sink *s, const json_t *list);

/* The sink's batch: dropped, made of export.batch, of export.notelist. It may become empty. */
void sink_batch_drop(struct sink *s);
int sink_batch_records(struct sink *s, size_t feed, const struct msg *m);
int sink_batch_checkpoints(struct sink *s, size_t feed, const struct msg *m);

/* sink_body.c: asks for the next body that lies beside a record of the batch and would fit its
 * line. 1: sink_go_on() is called then; 0: there is none. */
int sink_body_ask(struct sink *s);
void sink_go_on(struct sink *s, int r, const char *why);

/* On failure, too, sink_files_drop() releases what was read. */
int sink_files_read(
    struct sink *s, const struct exporter *x, const struct export_sink *c, struct err *e);
void sink_files_drop(struct sink *s);

#endif
