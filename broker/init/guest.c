#include "broker/init/guest.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/random.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "broker/init/run.h"
#include "filters.h"
#include "lib/reader.h"

#define MODULES_MAX 64
#define PORT_TRIES  2500 /* of 2 ms: the port appears when the host has answered */
#define SIGNALS     4096
#define CAP_BIT(c)  (1u << (c))
#define INIT_CAPS                                                                                  \
	(CAP_BIT(CAP_SETUID) | CAP_BIT(CAP_SETGID) | CAP_BIT(CAP_KILL) | CAP_BIT(CAP_SETPCAP))

/* ---- before anybody is heard ---- */

/* /m/0.ko, /m/1.ko, ... in the order in which they need each other. Gone afterwards: they lie in
 * memory. */
static int load_modules(void)
{
	for (int i = 0; i < MODULES_MAX; i++) {
		char path[32];
		int fd;
		long r;

		(void)snprintf(path, sizeof path, "/m/%d.ko", i);
		if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
			return errno == ENOENT ? 0 : -1;
		r = syscall(SYS_finit_module, fd, "", 0);
		(void)close(fd);
		if (r < 0 && errno != EEXIST)
			return -1;
		(void)unlink(path);
	}
	return 0;
}

static int find_port(void)
{
	for (int i = 0; i < PORT_TRIES; i++) {
		DIR *d = opendir("/dev");
		struct dirent *n;
		int fd = -1;

		while (d && fd < 0 && (n = readdir(d)))
			if (strncmp(n->d_name, "vport", 5) == 0)
				fd = openat(dirfd(d), n->d_name, O_RDWR | O_CLOEXEC | O_NONBLOCK);
		if (d)
			(void)closedir(d);
		if (fd >= 0)
			return fd;
		(void)poll(NULL, 0, 2);
	}
	errno = ENODEV;
	return -1;
}

int guest_boot(const char **ret_step)
{
	*ret_step = "devtmpfs";
	(void)mkdir("/dev", 0755);
	if (mount("dev", "/dev", "devtmpfs", MS_NOSUID, NULL) < 0 && errno != EBUSY)
		return -1;
	*ret_step = "modules";
	if (load_modules() < 0)
		return -1;
	*ret_step = "port";
	return find_port();
}

int guest_config(struct guest_config *ret, struct reader *r)
{
	struct guest_config c = {.pids = 0};
	const uint8_t *seed;
	uint8_t credentials;
	size_t len;

	if (reader_cstring(r, c.role, sizeof c.role) < 0 || reader_u64(r, &c.disk_bytes) < 0 ||
	    reader_u64(r, &c.disk_inodes) < 0 || reader_u32(r, &c.pids) < 0 ||
	    reader_u32(r, &c.open_files) < 0 || reader_u8(r, &credentials) < 0 || credentials > 1 ||
	    reader_string(r, GUEST_SEED, &seed, &len) < 0 || len != GUEST_SEED || reader_end(r) < 0)
		return -EBADMSG;
	c.credentials = credentials;
	memcpy(c.seed, seed, GUEST_SEED);
	*ret = c;
	return 0;
}

/* ---- the root ---- */

static int put_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	size_t len = strlen(text);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = write(fd, text, len);
	(void)close(fd);
	return n == (ssize_t)len ? 0 : -1;
}

static int make_dir(const char *path, mode_t mode, uid_t owner)
{
	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return -1;
	return chmod(path, mode) < 0 || chown(path, owner, owner) < 0 ? -1 : 0;
}

static int mount_root(const struct guest_config *c)
{
	char size[64] = "mode=0755", inodes[48] = "", options[112];

	if (mkdir("/low", 0755) < 0 || mkdir("/up", 0755) < 0 || mkdir("/mnt", 0755) < 0)
		return -1;
	if (mount("/dev/vda", "/low", "erofs", MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) < 0 &&
	    mount("/dev/vda", "/low", "squashfs", MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) < 0)
		return -1;
	if (c->disk_bytes)
		(void)snprintf(
		    size, sizeof size, "mode=0755,size=%llu", (unsigned long long)c->disk_bytes);
	if (c->disk_inodes)
		(void)snprintf(
		    inodes, sizeof inodes, ",nr_inodes=%llu", (unsigned long long)c->disk_inodes);
	(void)snprintf(options, sizeof options, "%s%s", size, inodes);
	if (mount("up", "/up", "tmpfs", MS_NOSUID | MS_NODEV, options) < 0 ||
	    mkdir("/up/u", 0755) < 0 || mkdir("/up/w", 0755) < 0 || mkdir("/up/shm", 0) < 0 ||
	    chmod("/up/shm", 01777) < 0)
		return -1;
	return mount("root", "/mnt", "overlay", MS_NOSUID | MS_NODEV,
	    "lowerdir=/low,upperdir=/up/u,workdir=/up/w");
}

static int mount_dev(void)
{
	static const struct {
		const char *name;
		unsigned major, minor;
	} nodes[] = {{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8},
	    {"urandom", 1, 9}, {"tty", 5, 0}};
	static const char *const links[][2] = {{"fd", "/proc/self/fd"},
	    {"stdin", "/proc/self/fd/0"}, {"stdout", "/proc/self/fd/1"},
	    {"stderr", "/proc/self/fd/2"}, {"ptmx", "pts/ptmx"}};

	if (make_dir("/mnt/dev", 0755, 0) < 0 ||
	    mount("dev", "/mnt/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755,size=64k") < 0 ||
	    chdir("/mnt/dev") < 0)
		return -1;
	for (size_t i = 0; i < sizeof nodes / sizeof nodes[0]; i++)
		if (mknod(nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)) <
		        0 ||
		    chmod(nodes[i].name, 0666) < 0)
			return -1;
	for (size_t i = 0; i < sizeof links / sizeof links[0]; i++)
		if (symlink(links[i][1], links[i][0]) < 0)
			return -1;
	if (mkdir("pts", 0755) < 0 || mkdir("shm", 0755) < 0 ||
	    mount("pts", "pts", "devpts", MS_NOSUID | MS_NOEXEC,
	        "newinstance,ptmxmode=0666,mode=0620,gid=5") < 0 ||
	    mount("/up/shm", "shm", NULL, MS_BIND, NULL) < 0)
		return -1;
	return mount(
	    NULL, "/mnt/dev", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC, NULL);
}

static int set_sysctls(void)
{
	static const char *const set[][2] = {
	    {"/mnt/proc/sys/user/max_user_namespaces", "0"},
	    {"/mnt/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"},
	    {"/mnt/proc/sys/kernel/kptr_restrict", "2"},
	    {"/mnt/proc/sys/kernel/dmesg_restrict", "1"},
	    {"/mnt/proc/sys/fs/suid_dumpable", "0"},
	};

	for (size_t i = 0; i < sizeof set / sizeof set[0]; i++) {
		int fd = open(set[i][0], O_WRONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? -1 : write(fd, set[i][1], strlen(set[i][1]));

		if (fd >= 0)
			(void)close(fd);
		if (n < 0 && errno != ENOENT)
			return -1;
	}
	return 0;
}

/* As in a sandbox of namespaces: what is the machine's is not shown (broker/spawn/host.c). */
static int mount_proc(void)
{
	static const char *const files[] = {"kcore", "keys", "key-users", "sysrq-trigger",
	    "timer_list", "interrupts", "kmsg", "slabinfo"};
	static const char *const dirs[] = {"acpi", "bus", "fs", "irq", "scsi", "driver"};

	if (make_dir("/mnt/proc", 0555, 0) < 0 ||
	    mount("proc", "/mnt/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0 ||
	    set_sysctls() < 0 || chdir("/mnt/proc") < 0 ||
	    mount("sys", "sys", NULL, MS_BIND, NULL) < 0 ||
	    mount(NULL, "sys", NULL,
	        MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return -1;
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
		if (access(files[i], F_OK) == 0 &&
		    mount("/mnt/dev/null", files[i], NULL, MS_BIND, NULL) < 0)
			return -1;
	for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++)
		if (access(dirs[i], F_OK) == 0 && mount("/up/w", dirs[i], NULL, MS_BIND, NULL) < 0)
			return -1;
	return 0;
}

/* The image's own users stay, but for the agent's name and number. */
static int add_users(const char *path, const char *fallback, const char *line, const char *role)
{
	char text[16384], out[20480];
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	size_t len = 0, role_len = strlen(role);
	struct stat st;

	if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)))
		n = -1;
	if (fd >= 0)
		(void)close(fd);
	text[n < 0 ? 0 : n] = '\0';
	for (const char *p = n > 0 ? text : fallback; *p;) {
		size_t l = strcspn(p, "\n");
		const char *id = memchr(p, ':', l);

		id = id ? memchr(id + 1, ':', l - (size_t)(id + 1 - p)) : NULL;
		if (!(l > role_len && p[role_len] == ':' && memcmp(p, role, role_len) == 0) &&
		    !(id && strncmp(id, ":1000:", 6) == 0)) {
			memcpy(out + len, p, l);
			out[len + l] = '\n';
			len += l + 1;
		}
		p += l + (p[l] == '\n');
	}
	(void)snprintf(out + len, sizeof out - len, "%s", line);
	(void)unlink(path);
	return put_file(path, out);
}

static int write_etc(const struct guest_config *c)
{
	const char *shell = access("/mnt/bin/bash", X_OK) == 0 ? "/bin/bash" : "/bin/sh";
	char line[256];

	(void)snprintf(line, sizeof line, "%s:x:1000:1000:agent:/home/agent:%s\n", c->role, shell);
	if (make_dir("/mnt/etc", 0755, 0) < 0 ||
	    add_users("/mnt/etc/passwd",
	        "root:x:0:0:root:/root:/usr/sbin/nologin\n"
	        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
	        line, c->role) < 0)
		return -1;
	(void)snprintf(line, sizeof line, "%s:x:1000:\n", c->role);
	if (add_users("/mnt/etc/group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n", line, c->role) <
	    0)
		return -1;
	(void)snprintf(line, sizeof line, "%s\n", c->role);
	(void)unlink("/mnt/etc/hostname");
	(void)unlink("/mnt/etc/hosts");
	(void)unlink("/mnt/etc/resolv.conf");
	if (put_file("/mnt/etc/hostname", line) < 0 || put_file("/mnt/etc/resolv.conf", "") < 0)
		return -1;
	(void)snprintf(line, sizeof line,
	    "127.0.0.1 localhost %s\n::1 localhost ip6-localhost ip6-loopback\n", c->role);
	return put_file("/mnt/etc/hosts", line);
}

static int copy_program(const char *from, const char *to)
{
	char data[8192];
	int in = open(from, O_RDONLY | O_CLOEXEC), out;
	ssize_t n = 0;

	if (in < 0)
		return errno == ENOENT ? 0 : -1;
	out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	while (out >= 0 && (n = read(in, data, sizeof data)) > 0)
		if (write(out, data, (size_t)n) != n) {
			n = -1;
			break;
		}
	(void)close(in);
	if (out >= 0)
		(void)close(out);
	return out < 0 || n < 0 ? -1 : 0;
}

static int make_places(const struct guest_config *c)
{
	(void)c;
	if (make_dir("/mnt/tmp", 01777, 0) < 0 || make_dir("/mnt/home", 0755, 0) < 0 ||
	    make_dir("/mnt/home/agent", 0755, AGENT_UID) < 0 || make_dir("/mnt/run", 0755, 0) < 0 ||
	    make_dir("/mnt/run/postern", 0755, 0) < 0 ||
	    make_dir("/mnt/run/postern/bin", 0755, 0) < 0)
		return -1;
	return copy_program("/postern-cred", "/mnt/run/postern/bin/postern-cred");
}

/* The first root cannot be pivoted away from (pivot_root(2)); it is covered, and left. */
static int switch_root(const struct guest_config *c)
{
	(void)c;
	return chdir("/mnt") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
	               chdir("/") < 0
	           ? -1
	           : 0;
}

/* ---- names, limits, identity ---- */

static int set_names(const struct guest_config *c)
{
	return sethostname(c->role, strlen(c->role));
}

static int set_seed(const struct guest_config *c)
{
	struct {
		int bits, size;
		uint8_t bytes[GUEST_SEED];
	} pool = {GUEST_SEED * 8, GUEST_SEED, {0}};
	int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC), r;

	if (fd < 0)
		return -1;
	memcpy(pool.bytes, c->seed, GUEST_SEED);
	r = ioctl(fd, RNDADDENTROPY, &pool);
	(void)close(fd);
	explicit_bzero(&pool, sizeof pool);
	return r;
}

static int lo_up(const struct guest_config *c)
{
	struct ifreq q = {.ifr_flags = IFF_UP};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), r;

	(void)c;
	if (fd < 0)
		return -1;
	memcpy(q.ifr_name, "lo", 3);
	r = ioctl(fd, SIOCSIFFLAGS, &q);
	(void)close(fd);
	return r;
}

static int set_limits(const struct guest_config *c)
{
	struct rlimit none = {0, 0}, signals = {SIGNALS, SIGNALS};
	struct rlimit files = {c->open_files, c->open_files}, pids = {c->pids, c->pids};

	if (setrlimit(RLIMIT_CORE, &none) < 0 || setrlimit(RLIMIT_SIGPENDING, &signals) < 0 ||
	    (c->open_files && setrlimit(RLIMIT_NOFILE, &files) < 0))
		return -1;
	/* counted by user, and the agent is the only one with processes of its own */
	return c->pids ? setrlimit(RLIMIT_NPROC, &pids) : 0;
}

static int become_init(const struct guest_config *c)
{
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[2] = {{INIT_CAPS, INIT_CAPS, 0}, {0, 0, 0}};

	(void)c;
	for (unsigned long k = 0; k < 64; k++) {
		if (k < 32 && (INIT_CAPS & 1u << k))
			continue;
		if (prctl(PR_CAPBSET_DROP, k, 0, 0, 0) < 0) {
			if (errno != EINVAL)
				return -1;
			break; /* the last one that this kernel knows */
		}
	}
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || syscall(SYS_setgroups, 0, NULL) < 0 ||
	    syscall(SYS_setresgid, GUEST_INIT_ID, GUEST_INIT_ID, GUEST_INIT_ID) < 0 ||
	    syscall(SYS_setresuid, GUEST_INIT_ID, GUEST_INIT_ID, GUEST_INIT_ID) < 0 ||
	    syscall(SYS_capset, &h, d) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -1;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static int filter_calls(const struct guest_config *c)
{
	union {
		const struct sock_filter *in;
		struct sock_filter *out;
	} f = {.in = filter_agent};
	struct sock_fprog prog = {FILTER_AGENT_LEN, f.out};

	(void)c;
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog);
}

static int dev_step(const struct guest_config *c)
{
	(void)c;
	return mount_dev();
}

static int proc_step(const struct guest_config *c)
{
	(void)c;
	return mount_proc();
}

static const struct {
	const char *name;
	int (*fn)(const struct guest_config *c);
} steps[] = {
    {"root image", mount_root},
    {"dev", dev_step},
    {"proc", proc_step},
    {"etc", write_etc},
    {"directories", make_places},
    {"switch root", switch_root},
    {"host name", set_names},
    {"randomness", set_seed},
    {"loopback", lo_up},
};

static const struct {
	const char *name;
	int (*fn)(const struct guest_config *c);
} last[] = {
    {"rlimits", set_limits},
    {"capabilities", become_init},
    {"seccomp", filter_calls},
};

static int listen_inside(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
	    .sin_port = htons(GUEST_CRED_PORT),
	    .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd >= 0 && (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 16) < 0)) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

const char *guest_enter(const struct guest_config *c, int *ret_listener)
{
	(void)umask(022);
	*ret_listener = -1;
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
		if (steps[i].fn(c) < 0)
			return steps[i].name;
	if (c->credentials && (*ret_listener = listen_inside()) < 0)
		return "credential listener";
	for (size_t i = 0; i < sizeof last / sizeof last[0]; i++)
		if (last[i].fn(c) < 0)
			return last[i].name;
	return NULL;
}
