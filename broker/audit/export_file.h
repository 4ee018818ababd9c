/*
 * A log bundle: everything there is of one log in one file, for somebody who has nothing else.
 *
 *   "postern log bundle 1\n", then items: u8 type, u32 length, that many bytes
 *   'H'  string name of the log, u64 number of its records      first, once
 *   'B'  a break note of the host's log                         in order
 *   'E'  an epoch note of the host's log                        in order
 *   'b'  a break note of this log
 *   'e'  an epoch note of this log
 *   'P'  u64 number, leaf hash, packed tree (lib/merkle.h)      before what follows, once: the log
 *                                                               begins behind this record
 *   'R'  u64 number, the record as it was hashed                in order
 *   'D'  u64 number, the body that lies beside that record      right behind it; may be left out
 *   'C'  a checkpoint: u64 size, note                           behind the record of that number
 *   'Z'  u64 records, u64 checkpoints, u64 epoch and break notes, SHA-256 of all bytes before this
 * item: last
 *
 * Numbers are big endian. Every length has a maximum, the order is checked, and nothing follows
 * 'Z'. The digest finds accidents; what proves anything is the notes.
 *
 * The reader takes bytes as they come, and holds one item at a time.
 */
#ifndef POSTERN_AUDIT_EXPORT_FILE_H
#define POSTERN_AUDIT_EXPORT_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "broker/audit/log_feed.h"

struct err;

#define EXPORT_MAGIC     "postern log bundle 1\n"
#define EXPORT_MAGIC_LEN 21
#define EXPORT_ITEM_MAX  (128u * 1024 + 8)

struct export_writer;
struct export_reader;

/* f is borrowed. The sink's arg is the writer. */
int export_writer_new(FILE *f, struct export_writer **ret);
void export_writer_free(struct export_writer *w);
extern const struct log_sink export_sink;
/* The last item; -EIO if anything could not be written. */
int export_writer_end(struct export_writer *w);

/* What it reads it hands on. */
int export_reader_new(const struct log_sink *sink, void *arg, struct export_reader **ret);
void export_reader_free(struct export_reader *r);
/* -EBADMSG: not a bundle, with the place; or what the sink answered. Every later call fails alike.
 */
int export_read(struct export_reader *r, const void *data, size_t len, struct err *e);
/* Whether the last item was read, and nothing behind it. */
bool export_complete(const struct export_reader *r);
/* A whole file. 0 and *ret_complete. */
int export_read_file(
    FILE *f, const struct log_sink *sink, void *arg, bool *ret_complete, struct err *e);

#endif
