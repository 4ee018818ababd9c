#include "broker/spawn/enter.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/init/run.h"
#include "broker/spawn/binds.h"
#include "broker/spawn/cgroup.h"
#include "broker/spawn/filter.h"
#include "broker/spawn/host.h"
#include "broker/spawn/install.h"
#include "broker/spawn/landlock.h"
#include "broker/spawn/netns.h"
#include "broker/spawn/plan.h"
#include "broker/spawn/programs.h"
#include "broker/spawn/rootfs.h"
#include "broker/spawn/skeleton.h"
#include "broker/spawn/skeleton_etc.h"
#include "broker/spawn/watched.h"
#include "broker/spawn/workspace.h"
#include "lib/defence.h"

#define INIT_FD    3
#define OOM_SCORE  "900"
#define CAP_BIT(c) (1u << (c))
#define INIT_CAPS                                                                                  \
	(CAP_BIT(CAP_SETUID) | CAP_BIT(CAP_SETGID) | CAP_BIT(CAP_KILL) | CAP_BIT(CAP_SETPCAP))
#define RAW_SYSCALLS __attribute__((no_sanitize("address", "undefined")))

#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif
#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

/* ---- the child: system calls only ---- */

#define TRY(expr)                                                                                  \
	do {                                                                                       \
		if ((expr) < 0)                                                                    \
			return -errno;                                                             \
	} while (0)

RAW_SYSCALLS static int join_cgroup(struct enter *n)
{
	for (size_t k = 0; k < CGROUP_CONTROLLERS; k++)
		if (n->cgroup->tasks[k] >= 0)
			TRY(write(n->cgroup->tasks[k], "0", 1));
	return 0;
}

/* Open descriptors of `tasks` let whoever holds them leave the cgroup:
 * gone before the ids change. */
RAW_SYSCALLS static int leave_host(struct enter *n)
{
	for (size_t k = 0; k < CGROUP_CONTROLLERS; k++)
		if (n->cgroup->tasks[k] >= 0)
			TRY(close(n->cgroup->tasks[k]));
	if (DEFENCE("cgroup-namespace"))
		TRY(unshare(CLONE_NEWCGROUP));
	return 0;
}

RAW_SYSCALLS static int set_score(struct enter *n)
{
	int fd;

	(void)n;
	TRY(fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
	TRY(write(fd, OOM_SCORE, sizeof OOM_SCORE - 1));
	return close(fd);
}

RAW_SYSCALLS static int join_spare(struct enter *n)
{
	TRY(setns(n->ns->net, CLONE_NEWNET));
	TRY(setns(n->ns->ipc, CLONE_NEWIPC));
	TRY(setns(n->ns->uts, CLONE_NEWUTS));
	return 0;
}

RAW_SYSCALLS static int attach(int fd, const char *at)
{
	TRY(move_mount(fd, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH));
	return 0;
}

/* Layers by path: by descriptor they exist since 6.13 only, and only attached ones are accepted
 * before. */
RAW_SYSCALLS static int mount_overlay(struct enter *n)
{
	const struct rootfs *f = n->rootfs;
	const char *lower = f->low2 < 0                  ? "/low"
	                    : DEFENCE("skeleton-on-top") ? "/low:/low2"
	                                                 : "/low2:/low";
	int fs, fd, r;

	if ((r = attach(f->low, "/low")) < 0 ||
	    (f->low2 >= 0 && (r = attach(f->low2, "/low2")) < 0) || (r = attach(f->up, "/up")) < 0)
		return r;
	TRY(fs = fsopen("overlay", FSOPEN_CLOEXEC));
	TRY(fsconfig(fs, FSCONFIG_SET_STRING, "lowerdir", lower, 0));
	TRY(fsconfig(fs, FSCONFIG_SET_STRING, "upperdir", "/up/u", 0));
	TRY(fsconfig(fs, FSCONFIG_SET_STRING, "workdir", "/up/w", 0));
	TRY(fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
	TRY(fd = fsmount(
	        fs, FSMOUNT_CLOEXEC, DEFENCE("nosuid") ? MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV : 0));
	return attach(fd, "/mnt");
}

RAW_SYSCALLS static int mount_parts(struct enter *n)
{
	const struct rootfs *f = n->rootfs;
	int r;

	if ((r = install_enter(f)) < 0)
		return r;
	TRY(mount("/dev", "/mnt/dev", NULL, MS_BIND, NULL));
	if ((r = attach(f->pts, "/mnt/dev/pts")) < 0)
		return r;
	TRY(mount("/up/shm", "/mnt/dev/shm", NULL, MS_BIND, NULL));
	return 0;
}

RAW_SYSCALLS static int mount_workspace(struct enter *n)
{
	return n->workspace ? workspace_enter(n->workspace) : 0;
}

RAW_SYSCALLS static int mount_binds(struct enter *n)
{
	return n->binds ? binds_enter(n->binds) : 0;
}

/* Of this process's own pid namespace, so it is made here. */
RAW_SYSCALLS static int mount_proc(struct enter *n)
{
	struct mount_attr ro = {.attr_set = MOUNT_ATTR_RDONLY};
	int fs, fd, dir;

	TRY(fs = fsopen("proc", FSOPEN_CLOEXEC));
	TRY(fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
	TRY(fd = fsmount(
	        fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
	TRY(move_mount(fd, "", AT_FDCWD, "/mnt/proc", MOVE_MOUNT_F_EMPTY_PATH));
	TRY(dir = open_tree(AT_FDCWD, "/mnt/proc/sys", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
	TRY(mount_setattr(dir, "", AT_EMPTY_PATH, &ro, sizeof ro));
	TRY(move_mount(dir, "", AT_FDCWD, "/mnt/proc/sys", MOVE_MOUNT_F_EMPTY_PATH));
	if (!DEFENCE("proc-masks"))
		return 0;
	TRY(chdir("/mnt/proc"));
	for (size_t i = 0; n->host->mask_files[i]; i++)
		TRY(mount("/blank/file", n->host->mask_files[i], NULL, MS_BIND, NULL));
	for (size_t i = 0; n->host->mask_dirs[i]; i++)
		TRY(mount("/blank/dir", n->host->mask_dirs[i], NULL, MS_BIND, NULL));
	return 0;
}

/* The old root is stacked on the new one and taken off (pivot_root(2), "pivot_root(".", ".")"). The
 * sandbox's own is one directory deeper, by chroot(2): the kernel makes no user namespace for
 * whoever is not at the root of its mount namespace (user_namespaces(7), EPERM). What lies above is
 * empty and read-only. */
RAW_SYSCALLS static int pivot(struct enter *n)
{
	(void)n;
	if (!DEFENCE("chroot")) {
		TRY(chdir("/mnt"));
		TRY(syscall(SYS_pivot_root, ".", "."));
		TRY(umount2(".", MNT_DETACH));
		TRY(chdir("/"));
		return 0;
	}
	TRY(mount(HOST_SHELL, HOST_SHELL, NULL, MS_BIND, NULL));
	TRY(mount("/mnt", HOST_SHELL HOST_SHELL_ROOT, NULL, MS_MOVE, NULL));
	TRY(chdir(HOST_SHELL));
	TRY(syscall(SYS_pivot_root, ".", "."));
	TRY(umount2(".", MNT_DETACH));
	TRY(chroot(HOST_SHELL_ROOT));
	TRY(chdir("/"));
	return 0;
}

RAW_SYSCALLS static int limit_programs(struct enter *n)
{
	return programs_mounts(n->programs);
}

RAW_SYSCALLS static int set_names(struct enter *n)
{
	TRY(sethostname(n->hostname, strlen(n->hostname)));
	TRY(setdomainname("", 0));
	return 0;
}

#define SIGNALS 4096 /* that are queued */

RAW_SYSCALLS static int set_limits(struct enter *n)
{
	struct rlimit none = {0, 0};
	struct rlimit signals = {SIGNALS, SIGNALS};

	(void)n;
	TRY(setrlimit(RLIMIT_CORE, &none));
	TRY(setrlimit(RLIMIT_SIGPENDING, &signals));
	return 0;
}

/* The raw calls: libc would want to change every thread it knows of. */
RAW_SYSCALLS static int become_init(struct enter *n)
{
	TRY(setns(n->userns, CLONE_NEWUSER));
	TRY(syscall(SYS_setgroups, 0, NULL));
	TRY(syscall(SYS_setresgid, INIT_ID, INIT_ID, INIT_ID));
	TRY(syscall(SYS_setresuid, INIT_ID, INIT_ID, INIT_ID));
	return 0;
}

/* Exactly four, kept across execve as ambient ones; and those that it gives to an agent that is
 * root, which also must be in the bounding set. */
RAW_SYSCALLS static int trim_caps(struct enter *n)
{
	uint32_t keep = INIT_CAPS | (n->plan->root_user ? PLAN_ROOT_CAPS : 0);
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[_LINUX_CAPABILITY_U32S_3] = {{keep, keep, keep}, {0, 0, 0}};

	for (unsigned long c = 0; c < 64; c++) {
		if (c < 32 && (keep & 1u << c))
			continue;
		if (prctl(PR_CAPBSET_DROP, c, 0, 0, 0) < 0) {
			if (errno != EINVAL)
				return -errno;
			break; /* the last one that this kernel knows */
		}
	}
	TRY(syscall(SYS_capset, &h, d));
	for (unsigned long c = 0; c < 32; c++)
		if (keep & 1u << c)
			TRY(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, c, 0, 0));
	if (DEFENCE("no-new-privs"))
		TRY(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	/* after the ids, as their change forgets it (prctl(2)) */
	TRY(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
	return 0;
}

RAW_SYSCALLS static int restrict_files(struct enter *n)
{
	if (n->landlock_abi < 1)
		return -ENOTSUP; /* every kernel that we run on has it, unless it was switched off
		                  */
	return DEFENCE("landlock")
	           ? landlock_agent(n->skeleton, n->plan, n->programs, n->rules, n->landlock_abi)
	           : 0;
}

RAW_SYSCALLS static int tell_programs(struct enter *n)
{
	return n->watch < 0 ? 0 : watched_enter(n->watch);
}

RAW_SYSCALLS static int arrange_fds(struct enter *n)
{
	struct rlimit files = {n->open_files, n->open_files};
	int null;

	TRY(null = open("/dev/null", O_RDWR | O_CLOEXEC));
	if (n->init_fd != INIT_FD)
		TRY(dup2(n->init_fd, INIT_FD));
	else
		TRY(fcntl(INIT_FD, F_SETFD, 0));
	/* 0, 1 and 2 may be what the request socket was, so they come last */
	for (int fd = 0; fd < INIT_FD; fd++)
		TRY(dup2(null, fd));
	if (DEFENCE("close-fds"))
		TRY(syscall(SYS_close_range, INIT_FD + 1, ~0u, 0));
	/* not before: with many sandboxes, what we inherit lies above any limit for one of them */
	if (n->open_files)
		TRY(setrlimit(RLIMIT_NOFILE, &files));
	return 0;
}

RAW_SYSCALLS static int filter_calls(struct enter *n)
{
	const struct filter_program *f = n->filter;
	union {
		const struct sock_filter *in;
		struct sock_filter *out;
	} insns = {.in = f->insns};
	struct sock_fprog prog = {f->len, insns.out};

	int r = programs_filter(n->programs);

	if (r < 0 || !DEFENCE("seccomp"))
		return r;
	TRY(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog));
	return 0;
}

/* The word for an agent that is root: broker/init/run.h. */
RAW_SYSCALLS static int run_init(struct enter *n)
{
	static char name[] = "postern-init", root[] = INIT_WORD_ROOT;
	char *argv[] = {name, n->plan->root_user ? root : NULL, NULL};
	sigset_t none;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	TRY(execve(SKELETON_INIT, argv, DEFENCE_ENVIRON));
	return 0;
}

static const struct step {
	const char *name;
	int (*fn)(struct enter *n);
} steps[] = {
    {"cgroup", join_cgroup},
    {"cgroup namespace", leave_host},
    {"oom score", set_score},
    {"namespaces", join_spare},
    {"overlay", mount_overlay},
    {"mounts", mount_parts},
    {"workspace", mount_workspace},
    {"mounts of the host", mount_binds},
    {"proc", mount_proc},
    {"programs", limit_programs},
    {"pivot_root", pivot},
    {"host name", set_names},
    {"rlimits", set_limits},
    {"user namespace", become_init},
    {"capabilities", trim_caps},
    {"landlock", restrict_files},
    {"watch", tell_programs},
    {"descriptors", arrange_fds},
    {"seccomp", filter_calls},
    {"init", run_init},
};

RAW_SYSCALLS static void __attribute__((noreturn)) child(struct enter *n)
{
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		int r = steps[i].fn(n);

		if (r < 0) {
			n->error = -r;
			n->step = steps[i].name;
			break;
		}
	}
	for (;;)
		_exit(1);
}

/* ---- the parent ---- */

/* The call itself, inline: the child runs on this stack, so no function may return in it before it
 * is gone. */
static inline __attribute__((always_inline)) long clone3_inline(struct clone_args *a, size_t size)
{
#if defined(__x86_64__)
	long ret;

	__asm__ volatile("syscall"
	                 : "=a"(ret)
	                 : "0"(SYS_clone3), "D"(a), "S"(size)
	                 : "rcx", "r11", "memory");
	return ret;
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = SYS_clone3;
	register long x0 __asm__("x0") = (long)a;
	register long x1 __asm__("x1") = (long)size;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1) : "memory");
	return x0;
#else
#error "clone3 by hand is missing for this architecture"
#endif
}

RAW_SYSCALLS static __attribute__((noinline)) long start(struct enter *n, struct clone_args *a)
{
	long pid = clone3_inline(a, sizeof *a);

	if (pid == 0)
		child(n);
	return pid;
}

int enter(struct enter *n)
{
	struct clone_args a = {
	    .flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | CLONE_CLEAR_SIGHAND | CLONE_NEWPID |
	             CLONE_NEWNS | CLONE_NEWTIME | CLONE_INTO_CGROUP,
	    .pidfd = (uint64_t)(uintptr_t)&n->pidfd,
	    .exit_signal = SIGCHLD,
	    .cgroup = (unsigned)n->cgroup->dir,
	};
	cpu_set_t here, affinity;
	sigset_t all, old;
	bool pinned;
	long pid;

	n->step = NULL;
	n->pidfd = -1;
	/* a handler must not run in the child, on our memory */
	(void)sigfillset(&all);
	if (sigprocmask(SIG_BLOCK, &all, &old) < 0)
		return -errno;
	/* We sleep while the child works, so it may as well work here: waking another processor up
	 * and moving to it costs a fifth of the whole start. */
	pinned = sched_getaffinity(0, sizeof affinity, &affinity) == 0;
	CPU_ZERO(&here);
	CPU_SET((size_t)sched_getcpu(), &here);
	pinned = pinned && sched_setaffinity(0, sizeof here, &here) == 0;
	pid = start(n, &a);
	if (pinned) {
		(void)sched_setaffinity(0, sizeof affinity, &affinity);
		if (pid > 0)
			(void)sched_setaffinity((pid_t)pid, sizeof affinity, &affinity);
	}
	(void)sigprocmask(SIG_SETMASK, &old, NULL);
	if (pid < 0) {
		n->step = "clone";
		n->error = (int)-pid;
		return -n->error;
	}
	n->pid = (pid_t)pid;
	if (!n->step)
		return 0;
	(void)waitpid(n->pid, NULL, 0);
	(void)close(n->pidfd);
	n->pidfd = -1;
	return -n->error;
}
