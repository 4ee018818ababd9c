/*
 * A sandbox of the warm pool before it is anybody's: what init has as descriptor 3 is the claim
 * socket, and the first thing to arrive there, one byte and one descriptor, brings the session's
 * request socket (broker/spawn/claim.h). No request is that short, and nothing else can be the
 * first, so that init need not be told which of the two it has.
 */
#ifndef POSTERN_INIT_CLAIM_H
#define POSTERN_INIT_CLAIM_H

#include <stdbool.h>
#include <stddef.h>

#define CLAIM_LEN 1 /* bytes of the record */

/* True if the record is a claim; then descriptor `at` is the request socket, and the claim socket
 * is closed. fds stay the caller's. */
bool claim_take(size_t len, const int *fds, size_t nfds, int at);

#endif
