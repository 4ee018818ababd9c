/*
 * From spawn into the sandbox: one clone3(2) and what its child does up to the execve of init.
 *
 * The child shares spawn's memory (CLONE_VM | CLONE_VFORK: a fork would cost by the size of the
 * process), so it makes only system calls, on data prepared here, and spawn sleeps until it has run
 * init or died. It is never in a place where another process of the tenant lives, which is what
 * makes the sharing safe (a process with the tenant's ids could otherwise write to spawn's memory).
 *
 * Order: cgroup; cgroup namespace; network, ipc and uts namespaces; mounts, pivot_root and chroot;
 * limits; user namespace (last of the namespaces, so that the others belong to the host's); ids;
 * capabilities; no_new_privs; Landlock; descriptors; seccomp; execve.
 */
#ifndef POSTERN_SPAWN_ENTER_H
#define POSTERN_SPAWN_ENTER_H

#include <stdint.h>
#include <sys/types.h>

struct binds;
struct cgroup;
struct err;
struct filter_program;
struct host;
struct netns;
struct plan;
struct programs;
struct rootfs;
struct rules;
struct skeleton;
struct workspace;

struct enter {
	const struct plan *plan;
	const struct host *host;
	const struct skeleton *skeleton;
	const struct rootfs *rootfs;
	const struct workspace *workspace; /* NULL: none */
	const struct binds *binds;         /* NULL: none */
	const struct cgroup *cgroup;
	const struct netns *ns;
	const struct programs *programs; /* NULL: any may be run */
	const struct rules *rules;       /* NULL: a template has none of its own */
	int userns;
	uint32_t idbase; /* what it maps 0 to */
	const struct filter_program *filter;
	int init_fd; /* becomes init's descriptor 3 */
	int watch;   /* who is told of each program (watched.h), by this socket; -1: nobody */
	const char *hostname;
	uint64_t open_files; /* 0: as spawn has it */
	int landlock_abi;    /* 0: the kernel has none */

	/* out */
	const char *volatile step; /* what failed: static, NULL if nothing did */
	volatile int error;        /* its errno */
	pid_t pid;
	int pidfd;
};

/* 0: init runs. Else -errno, and step says where; no process is left. */
int enter(struct enter *n);

#endif
