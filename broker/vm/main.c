/*
 * postern-vm session|probe uid=N memory=MIB smp=N accel=tcg|kvm [role=NAME disk=N inodes=N pids=N
 * files=N credentials=0|1 tasks=N]; descriptors from 3 on, in this order: the request socket, the
 * network namespace, the cgroup, kernel, initramfs, root image, `tasks` of version 1. A probe has
 * kernel and initramfs alone.
 *
 * One process for each session in a virtual machine: starts QEMU and is the bridge to the init
 * inside. Started by postern-spawn; its end is the session's.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/init/guest.h"
#include "broker/vm/bridge.h"
#include "broker/vm/qemu.h"
#include "lib/buf.h"
#include "lib/confine.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/log.h"
#include "lib/str.h"
#include "lib/util.h"

#define FIRST_FD   3
#define READY_MS   60000 /* an emulated guest on a busy machine */
#define PROBE_MS   5000  /* under KVM a guest needs a tenth of it */
#define AGENT      1000u
#define OPEN_FILES 1024

enum { REQUESTS, NET, CGROUP, KERNEL, INITRAMFS, ROOT, FDS };

struct args {
	bool probe;
	uint64_t uid, memory, smp, disk, inodes, pids, files, credentials, tasks;
	const char *accel, *role;
	int fd[FDS];
};

static int parse(int argc, char **argv, struct args *a)
{
	struct {
		const char *name;
		uint64_t *value, max;
	} numbers[] = {{"uid=", &a->uid, UINT32_MAX}, {"memory=", &a->memory, 1 << 24},
	    {"smp=", &a->smp, 64}, {"disk=", &a->disk, INT64_MAX},
	    {"inodes=", &a->inodes, INT64_MAX}, {"pids=", &a->pids, UINT32_MAX},
	    {"files=", &a->files, UINT32_MAX}, {"credentials=", &a->credentials, 1},
	    {"tasks=", &a->tasks, 3}};

	if (argc < 2 || (strcmp(argv[1], "session") != 0 && strcmp(argv[1], "probe") != 0))
		return -EINVAL;
	a->probe = argv[1][0] == 'p';
	a->role = "agent";
	for (int i = 2; i < argc; i++) {
		bool known = false;

		if (strncmp(argv[i], "accel=", 6) == 0)
			known = (a->accel = argv[i] + 6);
		else if (strncmp(argv[i], "role=", 5) == 0)
			known = name_valid(a->role = argv[i] + 5, strlen(argv[i] + 5));
		for (size_t k = 0; !known && k < ARRAY_LEN(numbers); k++) {
			size_t n = strlen(numbers[k].name);

			if (strncmp(argv[i], numbers[k].name, n) == 0)
				known = str_to_u64(
				            argv[i] + n, 0, numbers[k].max, numbers[k].value) == 0;
		}
		if (!known)
			return -EINVAL;
	}
	if (!a->uid || !a->memory || !a->smp || !a->accel)
		return -EINVAL;
	for (int i = 0; i < FDS; i++)
		a->fd[i] = a->probe ? -1 : FIRST_FD + i;
	if (a->probe) {
		a->fd[KERNEL] = FIRST_FD;
		a->fd[INITRAMFS] = FIRST_FD + 1;
	}
	return 0;
}

/* ---- into the session's cgroup and namespaces ---- */

static int join(const struct args *a, struct err *e)
{
	for (unsigned k = 0; k < a->tasks; k++) {
		int fd = FIRST_FD + FDS + (int)k;

		if (write(fd, "0", 1) != 1)
			return err_set(e, -errno, "tasks: %m");
		(void)close(fd); /* whoever holds it can leave the cgroup */
	}
	if (!a->probe) {
		cleanup_close int procs =
		    openat(a->fd[CGROUP], "cgroup.procs", O_WRONLY | O_CLOEXEC);

		if (procs < 0 || write(procs, "0", 1) != 1)
			return err_set(e, -errno, "cgroup.procs: %m");
		util_close(&procs);
		(void)close(a->fd[CGROUP]);
		if (setns(a->fd[NET], CLONE_NEWNET) < 0)
			return err_set(e, -errno, "network namespace: %m");
		(void)close(a->fd[NET]);
	} else if (unshare(CLONE_NEWNET) < 0) {
		return err_set(e, -errno, "network namespace: %m");
	}
	/* QEMU is process 1 of its own */
	if (unshare(CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP) < 0)
		return err_set(e, -errno, "namespaces: %m");
	return 0;
}

static int confine(const struct args *a)
{
	const struct confine_limits l = {.open_files = OPEN_FILES, .file_bytes = 0, .processes = 0};
	uint32_t own = (uint32_t)a->uid + GUEST_INIT_ID;
	int r;

	/* dials the credential listener, opens nothing */
	if ((r = confine_caps(1u << CAP_SETUID | 1u << CAP_SETGID)) < 0 ||
	    (r = confine_ids(own, own)) < 0 || (r = confine_caps(0)) < 0 ||
	    (r = confine_limits(&l)) < 0)
		return r;
	r = confine_landlock_dial(NULL, 0, NULL);
	if (r == -ENOSYS)
		r = 0;
	if (r == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		r = -errno;
	return r;
}

static int config(const struct args *a, struct buf *b)
{
	uint8_t seed[GUEST_SEED];

	fd_random(seed, sizeof seed);
	buf_put_cstring(b, a->role);
	buf_put_u64(b, a->disk);
	buf_put_u64(b, a->inodes);
	buf_put_u32(b, (uint32_t)a->pids);
	buf_put_u32(b, (uint32_t)a->files);
	buf_put_u8(b, (uint8_t)a->credentials);
	buf_put_string(b, seed, sizeof seed);
	explicit_bzero(seed, sizeof seed);
	return buf_status(b);
}

static int run(const struct args *a, pid_t parent, struct err *e)
{
	static struct bridge bridge;
	struct qemu q = {.kvm = strcmp(a->accel, "kvm") == 0,
	    .memory = a->memory << 20,
	    .smp = (unsigned)a->smp,
	    .uid = (uint32_t)a->uid + AGENT,
	    .kernel = a->fd[KERNEL],
	    .initramfs = a->fd[INITRAMFS],
	    .root = a->fd[ROOT]};
	cleanup_buf struct buf b = {.max = 4096};
	int pair[2], r;
	pid_t pid;

	if ((r = join(a, e)) < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return err_set(e, -errno, "socketpair: %m");
	q.port = pair[1];
	if ((pid = qemu_start(&q, e)) < 0)
		return pid;
	(void)close(pair[1]);
	(void)close(a->fd[KERNEL]);
	(void)close(a->fd[INITRAMFS]);
	if (a->fd[ROOT] >= 0)
		(void)close(a->fd[ROOT]);
	if ((r = confine(a)) < 0)
		return err_set(e, r, "cannot confine itself: %s", strerror(-r));
	if (getppid() != parent)
		return err_set(e, -ESRCH, "spawn is gone");
	if ((r = config(a, &b)) < 0)
		return err_set(e, r, "no memory");
	bridge_init(&bridge, pair[0], a->fd[REQUESTS], a->credentials, b.data, b.len);
	r = bridge_run(&bridge, a->probe, a->probe ? PROBE_MS : READY_MS);
	bridge_done(&bridge);
	if (r < 0)
		(void)err_set(
		    e, r, "the guest: %s%s%s", strerror(-r), *bridge.why ? ": " : "", bridge.why);
	return r;
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	struct args a = {0};
	pid_t parent = getppid();
	int r;

	log_open("postern-vm", LOG_INFO);
	if (parse(argc, argv, &a) < 0) {
		log_error("usage: postern-vm session|probe ... (started by postern-spawn)");
		return 2;
	}
	if ((r = confine_basics()) < 0)
		(void)err_set(&e, r, "cannot confine itself: %s", strerror(-r));
	else {
		(void)signal(SIGPIPE, SIG_IGN);
		r = run(&a, parent, &e);
	}
	if (r < 0 && !a.probe)
		log_error("%s", err_text(&e));
	return r < 0 ? 1 : 0;
}
