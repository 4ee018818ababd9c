#include "tests/support/sandbox_probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/util.h"

/* Each answers 0 or the errno. */
static int result(long r)
{
	if (r >= 0)
		return 0;
	return errno;
}

static int sock(int family, int type, int protocol)
{
	int fd = socket(family, type, protocol), r = result(fd);

	if (fd >= 0)
		(void)close(fd);
	return r;
}

static int option(int type, int level, int name)
{
	int fd = socket(AF_INET, type, 0), one = 1, r;

	if (fd < 0)
		return errno;
	r = result(setsockopt(fd, level, name, name == TCP_ULP ? (const void *)"tls" : &one, 4));
	(void)close(fd);
	return r;
}

static int opened(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0644), r = result(fd);

	if (fd >= 0)
		(void)close(fd);
	return r;
}

static int connected(const struct sockaddr *a, socklen_t len)
{
	int fd = socket(a->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

	r = result(connect(fd, a, len));
	(void)close(fd);
	return r;
}

/* The host's listeners: the numbers come as arguments. */
static int connect_tcp(const char *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
	    .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	return connected((const struct sockaddr *)&a, sizeof a);
}

static int connect_abstract(const char *name)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	(void)snprintf(a.sun_path + 1, sizeof a.sun_path - 1, "%s", name);
	return connected((const struct sockaddr *)&a,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name)));
}

static void put(const char *name, int value)
{
	(void)printf("%s=%d\n", name, value);
}

static void probe_calls(void)
{
	/* the call itself, as glibc would look at the arguments first */
	put("unshare user", result(unshare(CLONE_NEWUSER)));
	put("unshare mount", result(unshare(CLONE_NEWNS)));
	put("unshare net", result(unshare(CLONE_NEWNET)));
	put("clone user", result(syscall(SYS_clone, (long)(CLONE_NEWUSER | SIGCHLD), 0, 0, 0, 0)));
	put("clone user high bits",
	    result(syscall(SYS_clone, (long)(CLONE_NEWUSER | SIGCHLD) | (1L << 40), 0, 0, 0, 0)));
	put("clone3", result(syscall(SYS_clone3, NULL, 0)));
	put("setns", result(setns(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), 0)));
	put("mount", result(mount("none", "/tmp", "tmpfs", 0, NULL)));
	put("umount", result(umount2("/proc", MNT_DETACH)));
	put("pivot_root", result(syscall(SYS_pivot_root, ".", ".")));
	put("chroot", result(chroot("/tmp")));
	put("fsopen", result(syscall(SYS_fsopen, "tmpfs", 0)));
	put("open_tree", result(syscall(SYS_open_tree, AT_FDCWD, "/", 1)));
	put("mknod", result(mknod("/tmp/null", S_IFCHR | 0666, 0x103)));
	put("io_uring_setup", result(syscall(SYS_io_uring_setup, 1, NULL)));
	put("keyctl", result(syscall(SYS_keyctl, 0, 0, 0, 0, 0)));
	put("add_key", result(syscall(SYS_add_key, "user", "x", "x", 1, -3)));
	put("request_key", result(syscall(SYS_request_key, "user", "x", NULL, 0)));
	put("userfaultfd", result(syscall(SYS_userfaultfd, 1)));
	put("bpf", result(syscall(SYS_bpf, 0, NULL, 0)));
	put("perf_event_open", result(syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0)));
	put("ptrace", result(syscall(SYS_ptrace, 16, 1, NULL, NULL)));
	put("process_vm_readv", result(syscall(SYS_process_vm_readv, 1, NULL, 0, NULL, 0, 0)));
	put("open_by_handle_at", result(syscall(SYS_open_by_handle_at, 0, NULL, 0)));
	put("name_to_handle_at", result(syscall(SYS_name_to_handle_at, 0, NULL, NULL, NULL, 0)));
	put("quotactl", result(syscall(SYS_quotactl, 0, NULL, 0, NULL)));
	put("kexec_load", result(syscall(SYS_kexec_load, 0, 0, NULL, 0)));
	put("seccomp", result(syscall(SYS_seccomp, 1, 0, NULL)));
	put("prctl seccomp", result(syscall(SYS_prctl, 22, 2, NULL, 0, 0)));
	put("prctl mm", result(syscall(SYS_prctl, 35, 1, 0, 0, 0)));
	put("prctl dumpable", result(syscall(SYS_prctl, 4, 0, 0, 0, 0)));
	put("personality query", result(syscall(SYS_personality, 0xffffffffL)));
	put("personality", result(syscall(SYS_personality, (long)ADDR_NO_RANDOMIZE)));
	put("TIOCSTI", result(syscall(SYS_ioctl, 0, 0x5412L, "x")));
	put("TIOCSTI high bits", result(syscall(SYS_ioctl, 0, 0x5412L | (0xdeadL << 32), "x")));
	put("TIOCLINUX high bits", result(syscall(SYS_ioctl, 0, 0x541cL | (1L << 62), "x")));
	put("TIOCSETD", result(syscall(SYS_ioctl, 0, 0x5423L, "x")));
	put("F_SETPIPE_SZ", result(syscall(SYS_fcntl, 1, 1031L, 1 << 20)));
	put("F_SETPIPE_SZ high bits", result(syscall(SYS_fcntl, 1, 1031L | (1L << 32), 1 << 20)));
	put("F_SETLEASE", result(syscall(SYS_fcntl, 1, 1024L, 2)));
	put("F_GETPIPE_SZ", result(syscall(SYS_fcntl, 1, 1032L, 0)));
	put("ioctl other", result(syscall(SYS_ioctl, 0, 0x5401L, NULL)) == EPERM);
	put("setuid 0", result(syscall(SYS_setuid, 0)));
	put("setgroups", result(syscall(SYS_setgroups, 0, NULL)));
	put("sethostname", result(sethostname("x", 1)));
	put("kill init", result(kill(1, 0)));
}

static void probe_sockets(void)
{
	put("unix", sock(AF_UNIX, SOCK_STREAM, 0));
	put("inet tcp", sock(AF_INET, SOCK_STREAM, 0));
	put("inet6 udp", sock(AF_INET6, SOCK_DGRAM, IPPROTO_UDP));
	put("netlink route", sock(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
	put("netlink audit", sock(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT));
	put("netlink netfilter", sock(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER));
	put("vsock", sock(40, SOCK_STREAM, 0));
	put("alg", sock(38, SOCK_SEQPACKET, 0));
	put("packet", sock(AF_PACKET, SOCK_RAW, 0));
	put("xdp", sock(44, SOCK_RAW, 0));
	put("mptcp", sock(AF_INET, SOCK_STREAM, 262));
	put("sctp", sock(AF_INET, SOCK_STREAM, IPPROTO_SCTP));
	put("sctp seqpacket", sock(AF_INET, SOCK_SEQPACKET, IPPROTO_SCTP));
	put("raw", sock(AF_INET, SOCK_RAW, IPPROTO_ICMP));
	put("ping", sock(AF_INET, SOCK_DGRAM, IPPROTO_ICMP));
	put("family high bits",
	    result(syscall(SYS_socket, 40L | (2L << 32), (long)SOCK_STREAM, 0)));
	put("tcp ulp", option(SOCK_STREAM, IPPROTO_TCP, TCP_ULP));
	put("udp encap", option(SOCK_DGRAM, IPPROTO_UDP, 100));
	put("nodelay", option(SOCK_STREAM, IPPROTO_TCP, TCP_NODELAY));
}

static void probe_files(void)
{
	put("/proc/sys/kernel/hostname", opened("/proc/sys/kernel/hostname", O_WRONLY));
	put("/proc/sys/kernel/core_pattern", opened("/proc/sys/kernel/core_pattern", O_WRONLY));
	put("/proc/sysrq-trigger", opened("/proc/sysrq-trigger", O_WRONLY) != 0);
	put("/proc/kcore empty",
	    result(open("/proc/kcore", O_RDONLY | O_CLOEXEC)) != 0 ||
	        lseek(open("/proc/kcore", O_RDONLY | O_CLOEXEC), 0, SEEK_END) == 0);
	put("/proc/1/mem", opened("/proc/1/mem", O_RDWR));
	put("/proc/1/exe", opened("/proc/1/exe", O_WRONLY));
	put("/proc/1/environ", opened("/proc/1/environ", O_RDONLY));
	put("/proc/self/exe", opened("/proc/self/exe", O_WRONLY));
	put("/proc/self/oom_score_adj", opened("/proc/self/oom_score_adj", O_WRONLY));
	put("/usr/bin/x", opened("/usr/bin/x", O_WRONLY | O_CREAT) != 0);
	put("/usr/bin/true", opened("/usr/bin/true", O_WRONLY) != 0);
	put("/etc/x", opened("/etc/x", O_WRONLY | O_CREAT));
	put("/etc/passwd", opened("/etc/passwd", O_WRONLY));
	put("/x", opened("/x", O_WRONLY | O_CREAT));
	put("/run/postern/postern-init", opened("/run/postern/postern-init", O_WRONLY));
	put("/run/postern/x", opened("/run/postern/x", O_WRONLY | O_CREAT));
	put("/dev/x", opened("/dev/x", O_WRONLY | O_CREAT) != 0);
	put("/dev/kmsg", opened("/dev/kmsg", O_RDONLY));
	put("/dev/kvm", opened("/dev/kvm", O_RDONLY));
	put("/sys", opened("/sys/kernel", O_RDONLY));
	put("/etc/shadow", opened("/etc/shadow", O_RDONLY));
	put("/home/agent/x", opened("/home/agent/x", O_WRONLY | O_CREAT));
	put("/tmp/x", opened("/tmp/x", O_WRONLY | O_CREAT));
}

static void probe_fds(void)
{
	for (int fd = 0; fd < 4096; fd++) {
		struct stat st;

		if (fstat(fd, &st) == 0)
			put(S_ISFIFO(st.st_mode)   ? "pipe"
			    : S_ISCHR(st.st_mode)  ? "tty"
			    : S_ISSOCK(st.st_mode) ? "socket"
			                           : "other",
			    fd);
	}
}

/* 64-bit code that makes a 32-bit call (int 0x80), and an x32 one. Both must kill. */
static void probe_i386(void)
{
	static const uint8_t code[] = {0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xc3}; /* getpid */
	void *p = mmap(
	    NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void (*fn)(void);

	if (p == MAP_FAILED)
		return;
	memcpy(p, code, sizeof code);
	memcpy(&fn, &p, sizeof fn);
	fn();
	put("survived", 1);
}

static void probe_x32(void)
{
	(void)syscall(0x40000000 + SYS_getpid);
	put("survived", 1);
}

static bool inside(void)
{
	char map[64] = {0};
	int fd = open("/proc/self/uid_map", O_RDONLY | O_CLOEXEC);
	unsigned long first, host, count;

	if (fd < 0 || read(fd, map, sizeof map - 1) <= 0)
		return false;
	(void)close(fd);
	return sscanf(map, "%lu %lu %lu", &first, &host, &count) == 3 && count == 65536 &&
	       host >= 65536;
}

int probe_main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*fn)(void);
	} probes[] = {{"calls", probe_calls}, {"sockets", probe_sockets}, {"files", probe_files},
	    {"fds", probe_fds}, {"i386", probe_i386}, {"x32", probe_x32}};

	if (!inside()) {
		(void)fprintf(stderr, "a probe runs in a sandbox only\n");
		return PROBE_REFUSED;
	}
	if (argc == 4 && strcmp(argv[1], "host") == 0) {
		put("tcp", connect_tcp(argv[2]));
		put("abstract", connect_abstract(argv[3]));
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(probes); i++)
		if (argc == 2 && strcmp(argv[1], probes[i].name) == 0) {
			probes[i].fn();
			return fflush(stdout) ? 1 : 0;
		}
	return 2;
}
