/*
 * audit show --session: one session told from its beginning to its end.
 */
#ifndef POSTERN_CTL_AUDIT_TIMELINE_H
#define POSTERN_CTL_AUDIT_TIMELINE_H

#include <jansson.h>

struct audit_source;
struct buf;
struct ctl;

/* An exit status, its reason said. */
int audit_timeline(const struct ctl *c, struct audit_source *source, const char *session);
/* Appends it for people; everything foreign is escaped. */
void timeline_text(const json_t *timeline, struct buf *out);

#endif
