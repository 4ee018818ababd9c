#include "lib/confine.h"

#include <errno.h>
#include <grp.h>
#include <jansson.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/landlock_abi.h"
#include "lib/util.h"

#define CAPS_MAX 64

static int set_limit(__rlimit_resource_t what, uint64_t value)
{
	struct rlimit l = {value, value};

	return setrlimit(what, &l) < 0 ? -errno : 0;
}

int confine_basics(void)
{
	sigset_t none;

	/* Read now what needs a file, because soon none can be opened: jansson's hash seed comes
	 * from /dev/urandom and would fall back to time and pid, which a peer can guess. */
	json_object_seed(0);
	(void)clock_boot_id();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	for (int s = 1; s < NSIG; s++) {
		/* SIGKILL, SIGSTOP and libc's own two answer EINVAL */
		if (signal(s, SIG_DFL) == SIG_ERR && errno != EINVAL)
			return -errno;
	}
	(void)sigemptyset(&none);
	if (sigprocmask(SIG_SETMASK, &none, NULL) < 0)
		return -errno;
	return set_limit(RLIMIT_CORE, 0);
}

int confine_limits(const struct confine_limits *l)
{
	int r;

	if ((r = set_limit(RLIMIT_NOFILE, l->open_files)) < 0 ||
	    (r = set_limit(RLIMIT_NPROC, l->processes)) < 0)
		return r;
	if (l->memory && (r = set_limit(RLIMIT_AS, l->memory)) < 0)
		return r;
	if (l->cpu_s && (r = set_limit(RLIMIT_CPU, l->cpu_s)) < 0)
		return r;
	if (l->file_bytes != UINT64_MAX && (r = set_limit(RLIMIT_FSIZE, l->file_bytes)) < 0)
		return r;
	return 0;
}

int confine_ids(uid_t uid, gid_t gid)
{
	uid_t ru, eu, su;
	gid_t rg, eg, sg;

	if (uid == (uid_t)-1 || gid == (gid_t)-1)
		return -EINVAL;
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return -errno;
	if (getresuid(&ru, &eu, &su) < 0 || getresgid(&rg, &eg, &sg) < 0)
		return -errno;
	if (ru != uid || eu != uid || su != uid || rg != gid || eg != gid || sg != gid ||
	    getgroups(0, NULL) != 0)
		return -EPERM;
	if (uid != 0 && (setresuid(0, 0, 0) == 0 || setresgid(0, 0, 0) == 0))
		return -EPERM; /* the way back is still open */
	/* a change of uid sets it to fs.suid_dumpable (prctl(2)) */
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : 0;
}

struct caps {
	uint64_t effective, permitted, inheritable;
};

/* The raw calls: libcap would bring allocation and text, and there is nothing to parse here. */
static int caps_get(struct caps *c)
{
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &h, d) < 0)
		return -errno;
	c->effective = d[0].effective | (uint64_t)d[1].effective << 32;
	c->permitted = d[0].permitted | (uint64_t)d[1].permitted << 32;
	c->inheritable = d[0].inheritable | (uint64_t)d[1].inheritable << 32;
	return 0;
}

static int caps_set(const struct caps *c)
{
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[_LINUX_CAPABILITY_U32S_3] = {
	    {(uint32_t)c->effective, (uint32_t)c->permitted, (uint32_t)c->inheritable},
	    {(uint32_t)(c->effective >> 32), (uint32_t)(c->permitted >> 32),
	        (uint32_t)(c->inheritable >> 32)},
	};

	return syscall(SYS_capset, &h, d) < 0 ? -errno : 0;
}

/* EINVAL from the kernel marks the end of the capabilities it knows. */
static int drop_bounding(void)
{
	for (unsigned long cap = 0; cap < CAPS_MAX; cap++) {
		int have = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);

		if (have < 0)
			return errno == EINVAL ? 0 : -errno;
		if (have && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return -errno;
	}
	return 0;
}

int confine_caps(uint64_t keep)
{
	struct caps now, want = {keep, keep, 0};
	bool bounding;
	int r;

	if ((r = caps_get(&now)) < 0)
		return r;
	if ((now.permitted & keep) != keep)
		return -EPERM;
	bounding = (now.permitted >> CAP_SETPCAP & 1) != 0;
	if (bounding) {
		/* it may be permitted but not effective */
		now.effective |= UINT64_C(1) << CAP_SETPCAP;
		if ((r = caps_set(&now)) < 0 || (r = drop_bounding()) < 0)
			return r;
	}
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	if ((r = caps_set(&want)) < 0 || (r = caps_get(&now)) < 0)
		return r;
	if (now.effective != keep || now.permitted != keep || now.inheritable != 0)
		return -EPERM;
	for (unsigned long cap = 0; cap < CAPS_MAX; cap++) {
		if (bounding && prctl(PR_CAPBSET_READ, cap, 0, 0, 0) > 0)
			return -EPERM;
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) > 0)
			return -EPERM;
	}
	return 0;
}

int confine_landlock_abi(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	if (abi < 0) /* EOPNOTSUPP: built in but switched off at boot */
		return errno == EOPNOTSUPP ? -ENOSYS : -errno;
	return (int)abi;
}

#define FILE_RIGHTS                                                                                \
	(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |                            \
	    LANDLOCK_ACCESS_FS_EXECUTE | LL_FS_TRUNCATE | LL_FS_IOCTL_DEV)
#define READ_RIGHTS (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
/* No device nodes, sockets, FIFOs, and symbolic links only for who says so. */
#define WRITE_RIGHTS                                                                               \
	(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                           \
	    LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |                         \
	    LANDLOCK_ACCESS_FS_MAKE_REG | LL_FS_REFER | LL_FS_TRUNCATE)

static int add_path(int ruleset, const struct confine_path *path, uint64_t handled)
{
	struct landlock_path_beneath_attr rule = {.parent_fd = path->dirfd};
	struct stat st;

	if (fstat(path->dirfd, &st) < 0)
		return -errno;
	rule.allowed_access = READ_RIGHTS | (path->writable ? WRITE_RIGHTS : 0);
	rule.allowed_access |= path->links ? LANDLOCK_ACCESS_FS_MAKE_SYM : 0;
	rule.allowed_access &= handled;
	if (!S_ISDIR(st.st_mode)) /* others are refused with EINVAL for a file */
		rule.allowed_access &= FILE_RIGHTS;
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		return -errno;
	return 0;
}

static int landlock(const struct confine_path *paths, size_t n, uint64_t net, int *ret_abi)
{
	struct ll_ruleset_attr attr = {LL_FS_ABI1, 0, 0};
	int abi = confine_landlock_abi(), r;

	if (abi < 0)
		return abi;
	if (abi > LL_ABI_MAX)
		abi = LL_ABI_MAX;
	if (abi >= 2)
		attr.handled_access_fs |= LL_FS_REFER;
	if (abi >= 3)
		attr.handled_access_fs |= LL_FS_TRUNCATE;
	if (abi >= 4)
		attr.handled_access_net = net;
	if (abi >= 5)
		attr.handled_access_fs |= LL_FS_IOCTL_DEV;
	if (abi >= 6)
		attr.scoped = LL_SCOPE_ABSTRACT_UNIX | LL_SCOPE_SIGNAL;
	/* CLOEXEC by itself (landlock_create_ruleset(2)) */
	cleanup_close int ruleset =
	    (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
	if (ruleset < 0)
		return -errno;
	for (size_t i = 0; i < n; i++)
		if ((r = add_path(ruleset, &paths[i], attr.handled_access_fs)) < 0)
			return r;
	if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		return -errno;
	if (ret_abi)
		*ret_abi = abi;
	return 0;
}

int confine_landlock(const struct confine_path *paths, size_t n, int *ret_abi)
{
	return landlock(paths, n, LL_NET_BIND_TCP | LL_NET_CONNECT_TCP, ret_abi);
}

int confine_landlock_dial(const struct confine_path *paths, size_t n, int *ret_abi)
{
	return landlock(paths, n, LL_NET_BIND_TCP, ret_abi);
}

int confine_seccomp(const struct sock_filter *filter, size_t len)
{
	/* the kernel copies the program; the type of the field is older than const */
	union {
		const struct sock_filter *in;
		struct sock_filter *out;
	} f = {.in = filter};
	struct sock_fprog prog = {.filter = f.out};

	if (len == 0 || len > BPF_MAXINSNS)
		return -EINVAL;
	prog.len = (unsigned short)len;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) < 0 ? -errno : 0;
}

int confine_fds(const int *keep, size_t n)
{
	unsigned from = 3;

	for (;;) {
		unsigned next = UINT32_MAX; /* the lowest kept descriptor from `from` on */

		for (size_t i = 0; i < n; i++)
			if (keep[i] >= 0 && (unsigned)keep[i] >= from && (unsigned)keep[i] < next)
				next = (unsigned)keep[i];
		if (next > from && close_range(from, next == UINT32_MAX ? next : next - 1, 0) < 0)
			return -errno;
		if (next == UINT32_MAX)
			return 0;
		from = next + 1;
	}
}
