#include "broker/spawn/programs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/landlock_abi.h"
#include "lib/util.h"

/*
 * In the child of enter.c: system calls only, on what programs_kept.c prepared.
 */

#define RAW_SYSCALLS __attribute__((no_sanitize("address", "undefined")))
#define TRY(expr)                                                                                  \
	do {                                                                                       \
		if ((expr) < 0)                                                                    \
			return -errno;                                                             \
	} while (0)

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#else
#define ARCH AUDIT_ARCH_AARCH64
#endif

RAW_SYSCALLS static int put_place(const struct programs_place *p)
{
	struct mount_attr run = {.attr_clr = MOUNT_ATTR_NOEXEC,
	    .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
	struct mount_attr data = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC |
	                                      MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
	struct mount_attr *a = p->execute ? &run : &data;
	int fd;

	if (!*p->from) {
		TRY(mount_setattr(AT_FDCWD, p->at, 0, a, sizeof *a));
		return 0;
	}
	TRY(fd = open_tree(AT_FDCWD, p->from, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
	TRY(mount_setattr(fd, "", AT_EMPTY_PATH, a, sizeof *a));
	TRY(move_mount(fd, "", AT_FDCWD, p->at, MOVE_MOUNT_F_EMPTY_PATH));
	return close(fd);
}

/* Whoever mounted what: nothing of it runs but what is listed here. */
RAW_SYSCALLS int programs_mounts(const struct programs *g)
{
	struct mount_attr all = {.attr_set = MOUNT_ATTR_NOEXEC};
	int r;

	if (!g)
		return 0;
	TRY(mount_setattr(AT_FDCWD, "/mnt", AT_RECURSIVE, &all, sizeof all));
	for (unsigned i = 0; i < g->nplaces; i++)
		if ((r = put_place(&g->place[i])) < 0)
			return r;
	return 0;
}

RAW_SYSCALLS static int allow(int ruleset, const char *path, uint64_t access)
{
	struct landlock_path_beneath_attr rule = {.allowed_access = access};
	struct stat st;
	int r = 0;

	rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
	if (rule.parent_fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	if (fstat(rule.parent_fd, &st) < 0)
		r = -errno;
	if (!S_ISDIR(st.st_mode)) /* a right of directories on a file is EINVAL */
		rule.allowed_access &= ~(uint64_t)LANDLOCK_ACCESS_FS_READ_DIR;
	else /* what may be run is named one by one */
		rule.allowed_access &= ~(uint64_t)LANDLOCK_ACCESS_FS_EXECUTE;
	if (r == 0 &&
	    syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		r = -errno;
	(void)close(rule.parent_fd);
	return r;
}

RAW_SYSCALLS int programs_rules(const struct programs *g, int ruleset, uint64_t handled)
{
	uint64_t read = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
	int r;

	if (!g)
		return 0;
	r = allow(ruleset, "/", LANDLOCK_ACCESS_FS_READ_DIR & handled);
	for (unsigned i = 0; r == 0 && i < g->nfiles; i++)
		r = allow(ruleset, g->file[i].path,
		    (g->file[i].execute ? read | LANDLOCK_ACCESS_FS_EXECUTE : read) & handled);
	return r;
}

RAW_SYSCALLS bool programs_runs_in(const struct programs *g, const char *dir)
{
	for (unsigned i = 0; g && i < g->nplaces; i++)
		if (g->place[i].execute && strcmp(g->place[i].at + 4, dir) == 0)
			return true;
	return false;
}

/* A file of memory lies on no mount, so neither noexec nor Landlock has a say. */
RAW_SYSCALLS int programs_filter(const struct programs *g)
{
	struct sock_filter f[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 0, 3),
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_create, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW), /* the agent's filter judges the rest */
	};
	struct sock_fprog prog = {ARRAY_LEN(f), f};

	if (!g)
		return 0;
	TRY(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog));
	return 0;
}
