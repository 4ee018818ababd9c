/*
 * Is a range of numeric ids ours alone? Nothing in passwd, group, subuid or subgid may lie in it,
 * and no process may run with one of its ids. (Of passwd only the file is read: a directory service
 * is not asked.)
 */
#ifndef POSTERN_SUPERVISOR_IDRANGE_H
#define POSTERN_SUPERVISOR_IDRANGE_H

#include <stdint.h>

struct err;

/* root: where etc/ and proc/ are found ("/" outside of tests). -EADDRINUSE with who is in the way:
 * in a file or, process being 1, a process, which may be about to end. A file that does not exist
 * holds nobody. */
int idrange_check(const char *root, int64_t base, int64_t count, int *ret_process, struct err *e);
/* The same, but waits up to wait_ms for processes to end. */
int idrange_wait(const char *root, int64_t base, int64_t count, int wait_ms, struct err *e);

#endif
