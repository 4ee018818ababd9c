#include "broker/spawn/oci_enter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/spawn/cgroup.h"
#include "broker/spawn/enter.h"
#include "broker/spawn/host.h"
#include "broker/spawn/install.h"
#include "broker/spawn/netns.h"
#include "broker/spawn/oci_config.h"
#include "broker/spawn/plan.h"
#include "broker/spawn/rootfs.h"
#include "lib/fdio.h"
#include "lib/util.h"

#define OCI_ID      "sandbox" /* in a state directory of its own */
#define OCI_SIGNALS 4096      /* that are queued: as in enter.c */
#define REQUESTS    3 /* init's request socket, and the one descriptor that the runtime hands on */

#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

/* What the child tells when it does not get as far as execve. */
struct verdict {
	int step, error;
};

struct parts {
	int tell; /* the verdict's pipe, closed by execve */
};

#define TRY(expr)                                                                                  \
	do {                                                                                       \
		if ((expr) < 0)                                                                    \
			return -errno;                                                             \
	} while (0)

/* ---- the child: a process of its own, with a copy of spawn's memory ---- */

static int join_cgroup(struct enter *n, struct parts *p)
{
	(void)p;
	for (size_t k = 0; k < CGROUP_CONTROLLERS; k++)
		if (n->cgroup->tasks[k] >= 0)
			TRY(write(n->cgroup->tasks[k], "0", 1));
	return 0;
}

/* The host's mounts, as the runtime's program and its libraries need them, in a copy of its own. */
static int join_host(struct enter *n, struct parts *p)
{
	(void)p;
	TRY(setns(n->host->mnt_ns, CLONE_NEWNS));
	TRY(unshare(CLONE_NEWNS));
	TRY(setns(n->ns->net, CLONE_NEWNET));
	TRY(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	TRY(mount("postern", OCI_BASE, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m"));
	return 0;
}

static int attach(int fd, const char *at)
{
	TRY(move_mount(fd, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH));
	return 0;
}

static int make_dirs(void)
{
	static const char *const dirs[] = {OCI_BASE "/low", OCI_BASE "/low2", OCI_BASE "/low3",
	    OCI_BASE "/none", OCI_BASE "/up", OCI_BUNDLE, OCI_ROOTFS, OCI_BASE "/run"};

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		TRY(mkdir(dirs[i], 0755));
	return 0;
}

/* Lies in the root before the runtime comes, which fills it: a bind mount in the bundle would make
 * runc open the container's namespaces by /proc, for which it would need CAP_SYS_PTRACE. */
static int mount_dev(const struct enter *n)
{
	char options[128];

	(void)snprintf(options, sizeof options, "mode=0755,size=64k,nr_inodes=64,uid=%u,gid=%u",
	    n->idbase, n->idbase);
	TRY(mount("dev", OCI_ROOTFS "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, options));
	TRY(mkdir(OCI_ROOTFS "/dev/pts", 0755));
	TRY(mkdir(OCI_ROOTFS "/dev/shm", 0755));
	TRY(mount(OCI_BASE "/up/shm", OCI_ROOTFS "/dev/shm", NULL, MS_BIND, NULL));
	return attach(n->rootfs->pts, OCI_ROOTFS "/dev/pts");
}

static int mount_root(struct enter *n, struct parts *p)
{
	const struct rootfs *f = n->rootfs;
	const char *lower = f->low2 >= 0 ? OCI_BASE "/low:" OCI_BASE "/low2" : OCI_BASE "/low";
	int fs, fd, r;

	if ((r = make_dirs()) < 0 || (r = attach(f->low, OCI_BASE "/low")) < 0 ||
	    (f->low2 >= 0 && (r = attach(f->low2, OCI_BASE "/low2")) < 0) ||
	    (r = attach(f->up, OCI_BASE "/up")) < 0)
		return r;
	TRY(fs = fsopen("overlay", FSOPEN_CLOEXEC));
	TRY(fsconfig(fs, FSCONFIG_SET_STRING, "lowerdir", lower, 0));
	TRY(fsconfig(fs, FSCONFIG_SET_STRING, "upperdir", OCI_BASE "/up/u", 0));
	TRY(fsconfig(fs, FSCONFIG_SET_STRING, "workdir", OCI_BASE "/up/w", 0));
	TRY(fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
	TRY(fd = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV));
	(void)p;
	if ((r = attach(fd, OCI_ROOTFS)) < 0 ||
	    (f->usr >= 0 && (r = install_usr(f, OCI_BASE "/low3",
	                         OCI_BASE "/low3:" OCI_BASE "/none", OCI_ROOTFS "/usr")) < 0))
		return r;
	return mount_dev(n);
}

/* The runtime opens the user namespace by our process's descriptor, which stays open in it. */
static int write_bundle(struct enter *n, struct parts *p)
{
	int userns = fcntl(n->userns, F_DUPFD, 16);
	json_t *o;
	int r;

	(void)p;
	if (userns < 0)
		return -errno;
	o = oci_config(n, getpid(), userns);
	r = !o ? -ENOMEM : json_dump_file(o, OCI_BUNDLE "/config.json", 0) < 0 ? -EIO : 0;
	json_decref(o);
	return r;
}

/* Inherited through the runtime: runc would set those of another process, for which spawn has no
 * capability. */
static int set_limits(struct enter *n, struct parts *p)
{
	struct rlimit none = {0, 0}, files = {n->open_files, n->open_files};
	struct rlimit signals = {OCI_SIGNALS, OCI_SIGNALS};

	(void)p;
	TRY(setrlimit(RLIMIT_CORE, &none));
	TRY(setrlimit(RLIMIT_SIGPENDING, &signals));
	if (n->open_files)
		TRY(setrlimit(RLIMIT_NOFILE, &files));
	return 0;
}

static int arrange(struct enter *n, struct parts *p)
{
	sigset_t none;
	int null;

	(void)p;
	TRY(null = open("/dev/null", O_RDWR | O_CLOEXEC));
	TRY(dup2(null, 0));
	if (n->init_fd != REQUESTS)
		TRY(dup2(n->init_fd, REQUESTS));
	else
		TRY(fcntl(REQUESTS, F_SETFD, 0));
	(void)umask(022);
	(void)sigemptyset(&none);
	TRY(sigprocmask(SIG_SETMASK, &none, NULL));
	TRY(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
	return getppid() == 1 ? -ESRCH : 0;
}

/* The cgroup is not the runtime's business. crun can be told so, though 1.8 still refuses a hybrid
 * host while version 2 shows controllers there. Others get a version 2 whose root is the session's
 * own cgroup, and make theirs below it. */
static int hide_cgroups(bool told)
{
	if (told) {
		(void)mount(
		    "/dev/null", "/sys/fs/cgroup/unified/cgroup.controllers", NULL, MS_BIND, NULL);
		return 0;
	}
	TRY(unshare(CLONE_NEWCGROUP));
	/* where version 2 is alone it cannot be mounted over itself */
	(void)umount2("/sys/fs/cgroup", MNT_DETACH);
	TRY(mount("cgroup2", "/sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
	return 0;
}

static int run_runtime(struct enter *n, struct parts *p)
{
	static char root[] = "--root", where[] = OCI_BASE "/run",
	            mine[] = "--cgroup-manager=disabled", run[] = "run", bundle[] = "--bundle",
	            dir[] = OCI_BUNDLE, fds[] = "--preserve-fds", one[] = "1", id[] = OCI_ID,
	            path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
	const char *name = strrchr(n->plan->runtime, '/') + 1;
	char runtime[PLAN_PATH_MAX], *argv[12], *envp[] = {path, NULL};
	size_t k = 0;

	(void)p;
	memcpy(runtime, n->plan->runtime, sizeof runtime);
	argv[k++] = runtime;
	argv[k++] = root;
	argv[k++] = where;
	if (strcmp(name, "crun") == 0)
		argv[k++] = mine;
	TRY(hide_cgroups(strcmp(name, "crun") == 0));
	argv[k++] = run;
	argv[k++] = bundle;
	argv[k++] = dir;
	argv[k++] = fds;
	argv[k++] = one;
	argv[k++] = id;
	argv[k] = NULL;
	TRY(execve(runtime, argv, envp));
	return 0;
}

static const struct step {
	const char *name;
	int (*fn)(struct enter *n, struct parts *p);
} steps[] = {
    {"cgroup", join_cgroup},
    {"namespaces", join_host},
    {"overlay", mount_root},
    {"bundle", write_bundle},
    {"descriptors", arrange},
    {"rlimits", set_limits},
    {"runtime", run_runtime},
};

static void __attribute__((noreturn)) child(struct enter *n, struct parts *p)
{
	struct verdict v = {0, 0};

	for (; v.step < (int)ARRAY_LEN(steps); v.step++)
		if ((v.error = -steps[v.step].fn(n, p)) > 0)
			break;
	if (write(p->tell, &v, sizeof v) != (ssize_t)sizeof v)
		_exit(2);
	_exit(1);
}

/* ---- the parent ---- */

/* Until the runtime's program runs, or the child has said why it does not. */
static int await(struct enter *n, int from)
{
	struct verdict v = {0, 0};
	ssize_t got;

	do
		got = read(from, &v, sizeof v);
	while (got < 0 && errno == EINTR);
	if (got == 0)
		return 0;
	n->step = got == (ssize_t)sizeof v ? steps[v.step].name : "runtime";
	n->error = got == (ssize_t)sizeof v ? v.error : EIO;
	(void)waitpid(n->pid, NULL, 0);
	util_close(&n->pidfd);
	return -n->error;
}

int oci_enter(struct enter *n)
{
	struct clone_args a = {
	    /* version 1.0 of the runtime's specification has no time namespace */
	    .flags = CLONE_PIDFD | CLONE_CLEAR_SIGHAND | CLONE_INTO_CGROUP | CLONE_NEWTIME,
	    .pidfd = (uint64_t)(uintptr_t)&n->pidfd,
	    .exit_signal = SIGCHLD,
	    .cgroup = (unsigned)n->cgroup->dir,
	};
	cleanup_close int from = -1, tell = -1;
	struct parts p;
	int fds[2];
	long pid;

	n->step = "bundle";
	n->pidfd = -1;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -(n->error = errno);
	from = fds[0];
	tell = fds[1];
	p = (struct parts){tell};
	pid = syscall(SYS_clone3, &a, sizeof a);
	if (pid == 0)
		child(n, &p);
	if (pid < 0) {
		n->step = "clone";
		return -(n->error = errno);
	}
	n->step = NULL;
	n->pid = (pid_t)pid;
	util_close(&tell);
	return await(n, from);
}

int oci_leave(const struct cgroup *g)
{
	if (g->dir >= 0 && unlinkat(g->dir, OCI_ID, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return -EAGAIN;
	return 0;
}
