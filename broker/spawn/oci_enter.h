/*
 * From spawn into a sandbox that an OCI runtime makes: what enter.h does by one clone3(2), with the
 * runtime's program in between. The runtime runs in the session's cgroup and in a copy of the
 * host's mounts of its own, in which the bundle is put together on a tmpfs; all of that goes with
 * the processes, so nothing is left of a sandbox that was killed. It stays as long as init does,
 * and it is what n->pid names.
 */
#ifndef POSTERN_SPAWN_OCI_ENTER_H
#define POSTERN_SPAWN_OCI_ENTER_H

struct cgroup;
struct enter;

/* As enter(). 0: the runtime's program runs; whether it gets as far as init shows later. */
int oci_enter(struct enter *n);
/* After the end: a runtime that was killed has left its cgroup below the session's. 0, or -EAGAIN
 * while somebody is in it. */
int oci_leave(const struct cgroup *g);

#endif
