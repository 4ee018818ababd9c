/*
 * The namespaces of one sandbox that can be made beforehand: network (`lo` up and nothing else,
 * every port open to the agent, and the credential listener already inside: which listener a
 * connection came by says which session asks), and ipc and uts, which come along. Making a network
 * namespace takes longer than much of the rest of a sandbox, so spares are made
 * (broker/spawn/spare.h), and each is used once.
 */
#ifndef POSTERN_SPAWN_NETNS_H
#define POSTERN_SPAWN_NETNS_H

struct err;

struct netns_own {
	int net, ipc, uts; /* our own, to come back to */
};

struct netns {
	int net, ipc, uts;
	int listener; /* 127.0.0.1:PLAN_CRED_PORT inside, non-blocking */
};

#define NETNS_NONE                                                                                 \
	{                                                                                          \
		-1, -1, -1, -1                                                                     \
	}

/* Makes all of *ret, the caller's, and comes back to its own. 0 or -errno; without a way back the
 * process ends. */
int netns_make(const struct netns_own *own, struct netns *ret, struct err *e);
void netns_close(struct netns *n); /* NETNS_NONE is fine */

#endif
