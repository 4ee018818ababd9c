/*
 * How the two programs of the sshd route reach the core: connect to a listening socket by path,
 * with a deadline, and believe it only if root listens there (the supervisor makes the sockets) or
 * the caller itself (who may fool itself).
 *
 * Depends on lib alone.
 */
#ifndef POSTERN_PAM_DIAL_H
#define POSTERN_PAM_DIAL_H

#include <stdint.h>

struct chan;
struct err;

#define DIAL_PAM_SOCKET "/run/postern/pam.sock"
#define DIAL_RUN_SOCKET "/run/postern/run.sock"

/* self: MSG_PAM or MSG_RUN. Waits until deadline_ns (clock_mono_ns) for a place in the queue. *ret
 * is the caller's, for chan_free(). 0; -EINVAL for a path that is relative or too long; -EPERM when
 * somebody else listens there; else what connect(2) says. */
int dial_core(
    const char *path, unsigned self, int64_t deadline_ns, struct chan **ret, struct err *e);

#endif
