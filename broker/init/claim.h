/*
 * A sandbox of the warm pool before it is anybody's: init waits on descriptor 3 for the one message
 * that brings its request socket (broker/spawn/claim.h).
 */
#ifndef POSTERN_INIT_CLAIM_H
#define POSTERN_INIT_CLAIM_H

#define CLAIM_ARG "claim" /* argv[1] of an init that is to wait */

/* Waits; then fd is the request socket, and the claim's is closed. -ECONNRESET: nobody will come
 * any more. */
int claim_wait(int fd);

#endif
