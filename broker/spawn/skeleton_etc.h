/*
 * The synthetic /etc of a sandbox: enough for programs to know who they are and where libraries,
 * certificates and alternatives lie, and nothing about the host's people.
 */
#ifndef POSTERN_SPAWN_SKELETON_ETC_H
#define POSTERN_SPAWN_SKELETON_ETC_H

struct err;
struct plan;

#define AGENT_ID 1000u
#define TTY_ID   5u
#define INIT_ID  65534u /* nobody: pid 1, another than the agent */

/* root: where the files come from (the host, or a template's directory); with the
 * host's, nothing of its own /etc will be visible beneath, so what is needed is copied. at: the
 * skeleton. */
int skeleton_etc(int root, const struct plan *p, int at, struct err *e);

#endif
