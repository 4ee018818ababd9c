/*
 * The back end of namespaces, cgroups, seccomp and Landlock: the isolation tier that every host
 * has.
 */
#ifndef POSTERN_SPAWN_BACKEND_NS_H
#define POSTERN_SPAWN_BACKEND_NS_H

#include <stdint.h>

struct backend;
struct err;
struct host;
struct work_store;

struct backend_ns_config {
	int state_fd;         /* STATE/spawn; taken over */
	int libexec_fd;       /* postern-init and postern-cred; taken over */
	int workspaces_fd;    /* STATE/workspaces; taken over; 0: none */
	const char *instance; /* for cgroup names */
	uint32_t idbase, idcount;
};

/* Moves the process into a mount namespace of its own and ends what a former spawn of this instance
 * left. The process must be root, single-threaded, and fs.suid_dumpable must be 0. NULL with e. */
struct backend *backend_ns_new(const struct backend_ns_config *c, struct err *e);

/* The cgroups that tie sshd sessions to theirs: broker/spawn/cgroup.h. */
int backend_ns_tie(
    struct backend *b, const char *session, char *path, unsigned long size, struct err *e);
int backend_ns_untie(struct backend *b, const char *session);
/* Borrowed; NULL: none. */
struct work_store *backend_ns_work(struct backend *b);
/* Borrowed: to start programs of ours outside of spawn's own mounts. */
struct host *backend_ns_host(struct backend *b);

#endif
