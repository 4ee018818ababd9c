/*
 * A network namespace for one sandbox: `lo` up and nothing else, every port open to the agent, and
 * the credential listener already inside (which listener a connection came by says which session
 * asks). Making one takes longer than all the rest of a sandbox, so spares are made beforehand
 * (broker/spawn/spare.h), and each is used once.
 */
#ifndef POSTERN_SPAWN_NETNS_H
#define POSTERN_SPAWN_NETNS_H

struct err;

/* own: our namespace, to come back to. *ret_listener: 127.0.0.1:PLAN_CRED_PORT, non-blocking.
 * Returns the namespace's descriptor or -errno. */
int netns_make(int own, int *ret_listener, struct err *e);

#endif
