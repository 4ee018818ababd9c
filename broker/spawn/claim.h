/*
 * How a session gets a sandbox that was built before it: init's end of the session's request
 * socket travels over a claim socket, once. Nothing comes back: our end is shut down for reading.
 */
#ifndef POSTERN_SPAWN_CLAIM_H
#define POSTERN_SPAWN_CLAIM_H

/* *ret_ours sends, *ret_inits becomes init's descriptor 3; both the caller's. */
int claim_pair(int *ret_ours, int *ret_inits);
/* init_fd is borrowed. -EPIPE: nobody waits there. */
int claim_send(int ours, int init_fd);

#endif
