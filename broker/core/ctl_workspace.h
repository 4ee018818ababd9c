/*
 * ctl.workspace: what operators ask of workspaces is recorded in the tenant's log
 * (workspace.create, .snapshot, .fork, .rollback, .delete), then done by spawn, whose answer goes
 * back. What is only read (list, diff) is recorded as every question of an operator is.
 */
#ifndef POSTERN_CORE_CTL_WORKSPACE_H
#define POSTERN_CORE_CTL_WORKSPACE_H

#include <jansson.h>

struct err;
struct msg;
struct peer;

/* A message of an operator; and workspace.done and workspace.refused of spawn. */
int ctl_workspace(struct peer *p, struct msg *m, struct err *e);
int ctl_workspace_done(struct peer *spawn, struct msg *m, struct err *e);
/* handle_leave.c: who reads a workspace that is to be exported; takes fd over. p: who has asked. */
void leave_begin(struct peer *p, int fd, const json_t *asked);
/* workspace.stream: the pipe goes on to who has asked. */
int ctl_workspace_stream(struct peer *spawn, struct msg *m, struct err *e);

#endif
