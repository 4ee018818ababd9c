/*
 * A segment of a log in the archive: records FROM to TO with their seals as a log bundle
 * (broker/audit/export_file.h) that begins with the edge before FROM, in one zstd frame with a
 * checksum, in a file LOG-FROM-TO.plog.zst. `zstd -d` makes a bundle of it.
 *
 * The only user of libzstd. What it opens is a stdio stream of the bundle's bytes: the window is
 * bounded, so that a hostile file takes no more memory than an honest one. A read fails with
 * EBADMSG where the frame is damaged or something follows it, and with ENODATA where the file ends
 * before the frame does.
 */
#ifndef POSTERN_AUDIT_SEGMENT_FILE_H
#define POSTERN_AUDIT_SEGMENT_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/str.h"

struct err;

#define SEGMENT_SUFFIX   ".plog.zst"
#define SEGMENT_NAME_MAX (NAME_MAX_LEN + 2 * 20 + 2 + sizeof SEGMENT_SUFFIX)
#define SEGMENTS_MAX     65536 /* files of one archive that are looked at */

struct segment {
	char log[NAME_MAX_LEN + 1];
	uint64_t from, to;
	char file[SEGMENT_NAME_MAX];
};

/* Of the log and numbers; -EINVAL. */
int segment_name(const char *log, uint64_t from, uint64_t to, char dst[SEGMENT_NAME_MAX]);
/* false: it is no such name, as this writes it. */
bool segment_parse(const char *name, struct segment *ret);
/* Those of a directory, of one log (NULL: all), by log and number; the caller frees *ret. -errno;
 * -E2BIG. */
int segment_list(int dirfd, const char *log, struct segment **ret, size_t *ret_n);

/* fd is borrowed. Streams: NULL with errno. What is written is whole only when fclose() answers 0.
 */
FILE *segment_create(int fd);
FILE *segment_open(int fd); /* can be rewound; nothing else is sought */
/* Whether a file begins as one. */
bool segment_magic(const void *data, size_t len);

#endif
