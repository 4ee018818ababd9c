/*
 * What the log says of a channel, and how one is refused: recorded first, then answered.
 */
#ifndef POSTERN_CORE_EXEC_DENY_H
#define POSTERN_CORE_EXEC_DENY_H

#include <jansson.h>

struct channel;

/* Foreign text for a record (new): as it is when it is UTF-8, else escaped; long text is cut. */
json_t *exec_text(const char *s);
/* What a channel's records have in common (new; NULL without memory); a long command is cut, and
 * named by its digest, too. */
json_t *exec_body(const struct channel *ch);
/* Records it, then answers; the channel is gone at once. A channel whose descriptors are out
 * already, with nothing behind them, has failed; any other is denied. rule may be NULL. */
void exec_deny(struct channel *ch, const char *reason, const char *rule);

#endif
