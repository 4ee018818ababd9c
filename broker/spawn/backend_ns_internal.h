/*
 * What the files of the back end of namespaces share. Nobody else includes it.
 *
 *   backend_ns.c         building, ending, and the calls of backend.h
 *   backend_ns_layers.c  what a sandbox has written
 *   backend_ns_open.c    the back end itself, once at spawn's start
 *   backend_ns_pool.c    sandboxes that wait for a session
 *   backend_ns_tell.c    what this host can enforce, and what holds for a session
 */
#ifndef POSTERN_SPAWN_BACKEND_NS_INTERNAL_H
#define POSTERN_SPAWN_BACKEND_NS_INTERNAL_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "broker/spawn/backend.h"
#include "broker/spawn/cgroup.h"
#include "broker/spawn/host.h"
#include "broker/spawn/spare.h"
#include "broker/spawn/watched.h"
#include "lib/digest.h"

struct idmap;
struct programs_kept;
struct rootfs;
struct pool;
struct skeleton;
struct skeletons;
struct work_store;

struct ns_backend {
	struct backend base;
	struct host host;
	struct idmap *ids;
	struct cgroups *cgroups;
	struct skeletons *skeletons;
	struct programs_kept *programs;
	struct work_store *work; /* NULL: no workspaces here */
	struct spares spares;
	struct pool *pool;
	int landlock;
	char seccomp[DIGEST_HEX_LEN + 1];
	char kernel[128];
};

struct sandbox {
	struct ns_backend *b; /* first: a sandbox begins with its back end */
	struct cgroup cgroup;
	struct spare spare;
	char session[37];
	int pts, pidfd;
	uint64_t own_inodes; /* of its layer, before anything ran */
	int up, low[2];      /* its layers (rootfs.h), kept until they have been walked */
	pid_t pid;
	struct watched watched;
	unsigned programs;               /* how many may be run, 0: any */
	int strength;                    /* enum programs_strength */
	int claim;                       /* a member of the pool: to be claimed by; else 0 */
	const struct skeleton *skeleton; /* of a member */
	bool reaped;                     /* init has been waited for */
	bool by_runtime;                 /* an OCI runtime made it (oci_enter.h) */
	bool usr_mapped; /* the host's /usr looks as if it belonged to the sandbox's root */
};

extern const struct backend_ops ns_ops;

/* Builds one, cold. Nothing is left of a failure. */
int ns_make(struct ns_backend *b, const char *session, const struct plan *p, int init_fd,
    struct sandbox **ret, struct backend_failure *f, struct err *e);
/* How many the file system has in use; 0: not known. */
uint64_t ns_inodes(int up);
void ns_layers_keep(struct sandbox *s, struct rootfs *f); /* takes them over */
void ns_layers_done(struct sandbox *s);
bool ns_layers(const struct sandbox *s, struct backend_layers *ret);
struct pool *ns_pool_new(struct ns_backend *b); /* NULL without memory */
json_t *ns_pool_tell(const struct ns_backend *b);

/* New objects; NULL without memory. What is told of a session is shown to operators and stands in
 * the log (session.enforced): exactly what holds, nothing that was merely asked for. */
json_t *ns_tell_host(const struct ns_backend *b);
json_t *ns_tell_session(const struct ns_backend *b, const struct plan *p, const struct sandbox *s);

#endif
