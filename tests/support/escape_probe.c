#include "tests/support/escape_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/util.h"
#include "tests/support/sandbox_probe.h"

#define HELD EPERM /* where the kernel says no errno of its own */

static int result(long r)
{
	return r >= 0 ? 0 : errno;
}

/* The attack in a child: some end the process, or change it for good. */
static int in_child(int (*attack)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(attack() & 0xff);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : HELD;
}

static int try_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC), r = result(fd);

	if (fd >= 0)
		(void)close(fd);
	return r;
}

/* ---- files and processes ---- */

static int reach_init(void)
{
	char target[256];

	if (readlink("/proc/1/exe", target, sizeof target) > 0)
		return 0;
	return try_open("/proc/1/mem", O_RDONLY);
}

static int leaked_directory(void)
{
	for (int fd = 3; fd < 256; fd++) {
		struct stat st;

		if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
			return 0;
	}
	return EBADF;
}

static int hold_capability(void)
{
	char line[256];
	unsigned long long set, all = 0;
	FILE *f = fopen("/proc/self/status", "re");

	while (f && fgets(line, sizeof line, f))
		if (strncmp(line, "Cap", 3) == 0 && sscanf(line + 7, "%llx", &set) == 1)
			/* natively the bounding set is what execve(2) could give */
			all |= set;
	if (f)
		(void)fclose(f);
	return all ? 0 : HELD;
}

static int push_terminal(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY), slave, unlock = 0;

	if (master < 0)
		return errno;
	if (ioctl(master, TIOCSPTLCK, &unlock) < 0 || setsid() < 0)
		return errno;
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY);
	if (slave < 0 || ioctl(slave, TIOCSCTTY, 0) < 0)
		return errno;
	if (ioctl(slave, TIOCSTI, "x") == 0)
		return 0;
	/* CVE-2019-10063: the kernel drops the high bits that a filter may have looked at */
	return result(syscall(SYS_ioctl, slave, 0x5412L | (1L << 32), "x"));
}

static int push_terminal_in_child(void)
{
	return in_child(push_terminal);
}

static int survive_i386(void)
{
#if defined(__x86_64__)
	static const uint8_t code[] = {0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xc3}; /* getpid */
	void *p = mmap(
	    NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void (*fn)(void);

	if (p == MAP_FAILED)
		return errno;
	memcpy(p, code, sizeof code);
	memcpy(&fn, &p, sizeof fn);
	fn();
	return 0;
#else
	return ENOSYS;
#endif
}

static int foreign_architecture(void)
{
	return in_child(survive_i386);
}

/* Waits for nothing: a setuid-root program that blocks on its input, and what it is meanwhile. */
static int setuid_root(void)
{
	int in[2], uid = -1;
	char path[64], line[256], c = 0;
	pid_t pid;
	FILE *f;

	if (pipe2(in, O_CLOEXEC) < 0 || (pid = fork()) < 0)
		return errno;
	if (pid == 0) {
		(void)dup2(in[0], 0);
		(void)execl("/usr/bin/su", "su", "-c", "true", "nobody", (char *)NULL);
		_exit(127);
	}
	(void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	for (int i = 0; i < 2000 && c == 0; i++) {
		char exe[32] = "";

		(void)poll(NULL, 0, 1);
		f = fopen(path, "re");
		if (!f)
			break;
		while (fgets(line, sizeof line, f)) {
			if (sscanf(line, "Name: %31s", exe) == 1)
				c = strcmp(exe, "su") == 0;
			if (c && sscanf(line, "Uid: %*d %d", &uid) == 1)
				break;
		}
		(void)fclose(f);
	}
	(void)kill(pid, SIGKILL);
	(void)close(in[1]);
	(void)waitpid(pid, NULL, 0);
	return uid == 0 ? 0 : HELD;
}

static int keep_from_oom(void)
{
	/* by another name of the same file as well: rules of paths would not see it */
	int r = try_open("/proc/self/oom_score_adj", O_WRONLY);

	return r ? try_open("/proc/self/root/proc/self/oom_score_adj", O_WRONLY) : 0;
}

static int unmask(void)
{
	static const char *const names[] = {"/proc/interrupts", "/proc/self/root/proc/interrupts",
	    "/proc/self/cwd/proc/interrupts", "/proc/thread-self/root/proc/interrupts"};
	char c;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		int fd = open(names[i], O_RDONLY | O_CLOEXEC);

		if (fd >= 0 && read(fd, &c, 1) == 1)
			return 0;
	}
	return ENOENT;
}

static int see_cgroup(void)
{
	char line[512];
	FILE *f = fopen("/proc/self/cgroup", "re");
	int r = HELD;

	while (f && fgets(line, sizeof line, f)) {
		const char *path = strrchr(line, ':');

		if (path && strcmp(path, ":/\n") != 0)
			r = 0;
	}
	if (f)
		(void)fclose(f);
	return r;
}

static int open_kvm(void)
{
	struct stat st;

	return result(stat("/dev/kvm", &st));
}

/* ---- namespaces and mounts ---- */

static int make_userns(void)
{
	long pid = syscall(SYS_clone, (long)(CLONE_NEWUSER | SIGCHLD), 0, 0, 0, 0);

	if (pid == 0)
		_exit(0);
	if (pid > 0) {
		(void)waitpid((pid_t)pid, NULL, 0);
		return 0;
	}
	return result(unshare(CLONE_NEWUSER));
}

static int userns_in_child(void)
{
	return in_child(make_userns);
}

static int mount_anything(void)
{
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return errno;
	return result(syscall(SYS_fsopen, "tmpfs", 0));
}

static int mount_in_child(void)
{
	return in_child(mount_anything);
}

static int mount_cgroups(void)
{
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWCGROUP) < 0)
		return errno;
	return result(mount("none", "/tmp", "cgroup2", 0, NULL));
}

static int cgroups_in_child(void)
{
	return in_child(mount_cgroups);
}

/* ---- calls ---- */

static int sock(int family, int type, int protocol)
{
	int fd = socket(family, type | SOCK_CLOEXEC, protocol), r = result(fd);

	if (fd >= 0)
		(void)close(fd);
	return r;
}

static int vsock(void)
{
	return sock(40 /* AF_VSOCK */, SOCK_STREAM, 0);
}
static int mptcp(void)
{
	return sock(AF_INET, SOCK_STREAM, 262 /* IPPROTO_MPTCP */);
}
static int netlink_audit(void)
{
	return sock(AF_NETLINK, SOCK_RAW, 9 /* NETLINK_AUDIT */);
}

static int udp_encap(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), type = 2, r;

	r = result(setsockopt(fd, IPPROTO_UDP, 100, &type, sizeof type));
	(void)close(fd);
	return r;
}

static int tcp_ulp(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

	/* without a connection the kernel's own answer is ENOTCONN; without the module ENOENT */
	r = result(setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", 3));
	(void)close(fd);
	return r == ENOTCONN || r == ENOENT ? 0 : r;
}

static int io_uring(void)
{
	uint8_t params[120] = {0};
	long fd = syscall(SYS_io_uring_setup, 1, params);

	if (fd >= 0)
		(void)close((int)fd);
	return result(fd);
}

static int keyring(void)
{
	return result(syscall(SYS_add_key, "user", "postern-probe", "x", 1L, -1L /* thread */));
}

static int userfault(void)
{
	long fd = syscall(SYS_userfaultfd, 1L /* user mode only */);

	if (fd >= 0)
		(void)close((int)fd);
	return result(fd);
}

static int perf(void)
{
	struct perf_event_attr a = {.type = PERF_TYPE_SOFTWARE,
	    .size = sizeof a,
	    .config = PERF_COUNT_SW_TASK_CLOCK,
	    .exclude_kernel = 1,
	    .exclude_hv = 1};
	long fd = syscall(SYS_perf_event_open, &a, 0, -1, -1, 0L);

	if (fd >= 0)
		(void)close((int)fd);
	return result(fd);
}

static int no_randomization(void)
{
	return result(personality(ADDR_NO_RANDOMIZE));
}

static int own_filter(void)
{
	/* asks which actions there are: reaching the call at all is what counts */
	uint32_t action = 0x7fff0000;

	return result(syscall(SYS_seccomp, 2L, 0L, &action));
}

static int grow_pipe(void)
{
	int p[2], r;

	if (pipe2(p, O_CLOEXEC) < 0)
		return errno;
	r = result(fcntl(p[0], F_SETPIPE_SZ, 1 << 17));
	(void)close(p[0]);
	(void)close(p[1]);
	return r;
}

static int trace_sibling(void)
{
	int status, r;
	pid_t pid = fork();

	if (pid == 0) {
		(void)pause();
		_exit(0);
	}
	r = result(syscall(SYS_ptrace, (long)PTRACE_SEIZE, (long)pid, 0L, 0L));
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, &status, 0);
	return r;
}

static int load_bpf(void)
{
	return result(syscall(SYS_bpf, 0L, NULL, 0L));
}

static int kill_host(void)
{
	/* the parent of whoever made the sandbox is none of ours: signal 0 harms nobody */
	struct stat st;

	return result(stat("/proc/2/comm", &st)) == 0 && kill(2, 0) < 0 && errno == EPERM ? 0
	                                                                                  : ESRCH;
}

#define NS "seccomp-namespaces,userns-limit,chroot"

const struct escape escapes[] = {
    {1, "reach_init", "init: another uid, more capabilities, not dumpable; a copy, read-only",
        "init-dumpable,drop-caps", reach_init},
    {2, "leaked_directory", "close_range before init and again before each command",
        "close-fds,init-close-fds", leaked_directory},
    {5, "see_masked_proc", "own procfs, blank mounts over what tells of the host", "proc-masks",
        unmask},
    {8, "hold_capability", "init empties all five sets", "drop-caps", hold_capability},
    {11, "push_terminal", "seccomp on the low 32 bits; own devpts; setsid", "seccomp-terminal",
        push_terminal_in_child},
    {12, "foreign_architecture", "seccomp kills what is not of this architecture", "seccomp",
        foreign_architecture},
    {12, "mount_anything", "no capability, and none to be had: no user namespace", NS,
        mount_in_child},
    {13, "setuid_root", "nosuid mounts; no_new_privs, which Landlock and seccomp demand",
        "nosuid,no-new-privs,landlock,seccomp", setuid_root},
    {14, "mount_cgroups", "no user namespace; Landlock, which refuses mounts", NS ",landlock",
        cgroups_in_child},
    {15, "see_own_cgroup", "a cgroup namespace", "cgroup-namespace", see_cgroup},
    {24, "keep_from_oom", "Landlock, which goes by inode", "landlock", keep_from_oom},
    {27, "io_uring", "seccomp: not in the list", "seccomp-io_uring", io_uring},
    {27, "vsock", "seccomp: socket families", "seccomp-socket", vsock},
    {28, "masked_by_another_name", "one procfs, masked where it is mounted", "proc-masks", unmask},
    {30, "open_kvm", "six device nodes", "dev-nodes", open_kvm},
    {0, "make_user_namespace", "seccomp; max_user_namespaces 0; chroot", NS, userns_in_child},
    {0, "mptcp", "seccomp: socket protocols", "seccomp-socket", mptcp},
    {0, "netlink_audit", "seccomp: netlink is route only", "seccomp-socket", netlink_audit},
    {0, "udp_encap", "seccomp: setsockopt", "seccomp-setsockopt", udp_encap},
    {0, "tcp_ulp", "seccomp: setsockopt", "seccomp-setsockopt", tcp_ulp},
    {0, "keyring", "seccomp: not in the list", "seccomp-keyring", keyring},
    {0, "userfaultfd", "seccomp: not in the list", "seccomp-userfaultfd", userfault},
    {0, "perf", "seccomp: not in the list", "seccomp-perf", perf},
    {0, "no_randomization", "seccomp: personality", "seccomp-personality", no_randomization},
    {0, "own_seccomp_filter", "seccomp: not in the list", "seccomp-prctl", own_filter},
    {0, "grow_pipe", "seccomp: fcntl", "seccomp-fcntl", grow_pipe},
    {0, "trace_own_process", "seccomp", "seccomp-trace", trace_sibling},
    {0, "load_bpf", "seccomp; kernel.unprivileged_bpf_disabled", NULL, load_bpf},
    {0, "see_host_processes", "a pid namespace", NULL, kill_host},
};
const size_t escapes_len = ARRAY_LEN(escapes);

static bool inside(void)
{
	unsigned long first, host, count;
	FILE *f = fopen("/proc/self/uid_map", "re");
	bool in = f && fscanf(f, "%lu %lu %lu", &first, &host, &count) == 3 && count == 65536 &&
	          host >= 65536;

	if (f)
		(void)fclose(f);
	return in;
}

int escape_main(int argc, char **argv)
{
	if (!inside()) {
		(void)fprintf(stderr, "an attack is tried in a user namespace of its own only\n");
		return PROBE_REFUSED;
	}
	for (size_t i = 0; argc == 3 && i < escapes_len; i++)
		if (strcmp(argv[2], escapes[i].name) == 0) {
			int r = escapes[i].attack();

			(void)printf(r ? "held: %s\n" : "through\n", strerror(r));
			return fflush(stdout) ? 1 : 0;
		}
	return 2;
}
