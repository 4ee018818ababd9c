/*
 * What the reader of a session's files (broker/walk) tells: the shape of each, and nothing more. It
 * has read a hostile tree, so its word is foreign: it goes on record and decides nothing.
 */
#ifndef POSTERN_CORE_WALK_REPORT_H
#define POSTERN_CORE_WALK_REPORT_H

#include <jansson.h>

struct err;

#define WALK_PATH_MAX 4096 /* escaped: LINE_PATH_MAX of broker/walk/line.h */

/* files: of walk.changed, an array. -EBADMSG with the field that is wrong. */
int walk_report_check(const json_t *files, struct err *e);

#endif
