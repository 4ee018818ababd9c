/*
 * A change as JSON: {"path", "change", "kind", "mode": "0644", "uid", "gid", "size", "links",
 * "sha256", "skipped", "flags": [...], "cut", "deep", "unstable"}. What does not apply is not
 * there.
 */
#ifndef POSTERN_WALK_LINE_H
#define POSTERN_WALK_LINE_H

#include <jansson.h>
#include <stdint.h>

#define LINE_PATH_MAX 4096 /* bytes of an escaped path; what is longer is cut, and says so */

struct change;

/* New; NULL without memory. ids: the session's id block, whose members are told as the sandbox sees
 * them; 0: as they are. */
json_t *line_of(const struct change *x, uint32_t ids);

#endif
