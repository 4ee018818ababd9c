/*
 * The seam behind which an isolation tier builds sandboxes: namespaces (backend_ns.h), an OCI
 * runtime (backend_oci.h), a virtual machine (backend_vm.h), chosen by the plan (backend_tiers.h).
 *
 * All calls come from spawn's one thread. start() returns when init runs or has failed; nothing
 * of a failed start is left. End is asynchronous: the back end reports through ended().
 */
#ifndef POSTERN_SPAWN_BACKEND_H
#define POSTERN_SPAWN_BACKEND_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "broker/spawn/plan.h"

struct backend;
struct sandbox; /* the back end's own */
struct err;

/* What failed, by name: goes to the client, the log and sandbox.failed. */
struct backend_failure {
	const char *step; /* static: "cgroup", "userns", "rootfs", "clone", "landlock", ... */
};

struct backend_usage {
	uint64_t cpu_us, memory_peak, oom_kills;
};

/* What a sandbox leaves in its private layer, for who looks at it after its end. Descriptors are
 * borrowed. */
struct backend_layers {
	int tree;   /* the directory with `u` and `shm` */
	int low[2]; /* what lies below `u`, uppermost first */
	size_t nlow;
	uint32_t ids; /* the first of its block */
};

/* Who is told of each program that it runs (watched.h). Descriptors are borrowed. */
struct backend_watch {
	int pidfd, link, control;
};

struct backend_ops {
	const char *name;
	/* What this host can enforce: a new object {kernel, cgroup: "v2"|"hybrid"|"none",
	 * controllers: [...], landlock: ABI, seccomp: hex digest of the program, userns, overlay,
	 * ...}. */
	json_t *(*probe)(struct backend *b);
	/* Warms whatever a plan of this kind needs (skeleton, spare namespaces). Optional. */
	int (*prepare)(
	    struct backend *b, const struct plan *p, struct backend_failure *f, struct err *e);
	/* What prepare() made ready is dropped soon, unless it is prepared once more. Optional. */
	void (*forget)(struct backend *b);
	/* init_fd (borrowed) becomes init's request socket. *ret_enforced: a new object that names
	 * exactly what holds for this session. */
	int (*start)(struct backend *b, const char *session, const struct plan *p, int init_fd,
	    struct sandbox **ret, json_t **ret_enforced, struct backend_failure *f, struct err *e);
	pid_t (*pid)(const struct sandbox *s);
	int (*pidfd)(const struct sandbox *s);         /* readable when init has exited; borrowed */
	int (*cred_listener)(const struct sandbox *s); /* borrowed; -1 if the plan has none */
	/* A pair from the session's own devpts. */
	int (*open_pty)(struct sandbox *s, int *ret_master, int *ret_slave, struct err *e);
	int (*freeze)(struct sandbox *s, int on, struct err *e);
	void (*stat)(struct sandbox *s, struct backend_usage *ret);
	/* Optional: between the exit of init and reap(). False: nothing was written, or it cannot
	 * be looked at. */
	bool (*layers)(const struct sandbox *s, struct backend_layers *ret);
	/* Optional. False: its programs are not recorded. */
	bool (*watch)(const struct sandbox *s, struct backend_watch *ret);
	/* Optional: counts a process of ours that serves it against its tenant (cgroup.h). */
	int (*charge)(struct sandbox *s, pid_t pid);
	/* Kills every process. The pidfd becomes readable. */
	void (*kill)(struct sandbox *s);
	/* Work that nobody waits for, one step of it (spares): 1 if there is more to do, 0 if not
	 * now, else in how many milliseconds to ask again. */
	int (*idle)(struct backend *b);
	/* Optional: event() is called when the descriptor (borrowed) is readable, to end who has
	 * run out of memory, say. */
	int (*event_fd)(struct backend *b);
	void (*event)(struct backend *b);
	/* After init has exited: 0 when cgroup, mounts and ids are returned, -EAGAIN to be asked
	 * again. */
	int (*reap)(struct sandbox *s, struct backend_usage *ret);
	void (*free)(struct backend *b);
};

struct backend {
	const struct backend_ops *ops;
};

#endif
