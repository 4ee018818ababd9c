/*
 * ctl.sessions and ctl.session: live sessions from memory, ended ones from their rows.
 */
#ifndef POSTERN_CORE_CTL_SESSIONS_H
#define POSTERN_CORE_CTL_SESSIONS_H

#include <jansson.h>
#include <stdbool.h>

struct core;

json_t *ctl_sessions(struct core *c, const char *tenant, bool all);
/* NULL: there is none. */
json_t *ctl_session(struct core *c, const char *id);
/* Drops the rows of the oldest ended sessions beyond SESSION_ENDED_KEPT. */
void ctl_sessions_prune(struct core *c);

#endif
