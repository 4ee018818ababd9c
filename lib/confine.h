/*
 * Restrictions that our own processes put on themselves before they read a foreign byte. All are
 * irreversible. Each returns 0 or -errno; a caller that cannot confine itself must not go on.
 *
 * Filters are classic BPF programs made at build time (build/gen/filters.h, by
 * broker/spawn/filter_gen.c, the only user of libseccomp), so nothing is compiled at run time.
 */
#ifndef POSTERN_LIB_CONFINE_H
#define POSTERN_LIB_CONFINE_H

#include <linux/filter.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct confine_limits {
	uint64_t open_files; /* RLIMIT_NOFILE */
	uint64_t memory;     /* RLIMIT_AS, 0: not set */
	uint64_t cpu_s;      /* RLIMIT_CPU, 0: not set */
	uint64_t processes;  /* RLIMIT_NPROC: 0 forbids fork */
	uint64_t file_bytes; /* RLIMIT_FSIZE, UINT64_MAX: not set */
};

/* PR_SET_NO_NEW_PRIVS, PR_SET_DUMPABLE 0, RLIMIT_CORE 0, default signal dispositions and mask.
 * Comes first: it also reads what lib/ later needs from files (jansson's hash seed,
 * the boot id). */
int confine_basics(void);
int confine_limits(const struct confine_limits *l);
/* Empty supplementary groups, gid and uid (real, effective, saved), verified afterwards. */
int confine_ids(uid_t uid, gid_t gid);
/* Drops every capability from all five sets; keep is a bit mask of those to stay permitted and
 * effective (0: none); -EPERM if one of them is not held. The bounding set can only be emptied
 * while CAP_SETPCAP is held: a daemon calls this with SETUID and SETGID, then confine_ids(), then
 * this with 0. */
int confine_caps(uint64_t keep);
/* Landlock with no file system access at all beyond the directory descriptors given (read, or read
 * and write), and as many scopes as the ABI has. *ret_abi is the ABI used; -ENOSYS where the kernel
 * has none. */
struct confine_path {
	int dirfd;
	int writable;
	int links; /* and symbolic links can be made */
};
int confine_landlock(const struct confine_path *paths, size_t n, int *ret_abi);
/* The same for who dials: TCP may be connected to, but not bound. */
int confine_landlock_dial(const struct confine_path *paths, size_t n, int *ret_abi);
/* Landlock's ABI, or -errno. */
int confine_landlock_abi(void);
int confine_seccomp(const struct sock_filter *filter, size_t len);
/* Closes every descriptor >= 3 that is not in keep[n] (close_range(2)). */
int confine_fds(const int *keep, size_t n);

#endif
