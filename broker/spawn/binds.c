#include "broker/spawn/binds.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "broker/spawn/host.h"
#include "broker/spawn/idmap.h"
#include "broker/spawn/skeleton.h"
#include "broker/spawn/workspace.h"
#include "lib/err.h"
#include "lib/str.h"
#include "lib/util.h"

#define RAW_SYSCALLS __attribute__((no_sanitize("address", "undefined")))

static bool is_below(const char *path, const char *top)
{
	size_t n = strlen(top);

	return strncmp(path, top, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

/* ---- the sources ---- */

/* Sockets take no notice of a mount that is read-only. */
static const char *const refused[] = {"/dev", "/proc", "/run", "/sys", "/var/run"};
static const long kernels_own[] = {PROC_SUPER_MAGIC, SYSFS_MAGIC, CGROUP_SUPER_MAGIC,
    CGROUP2_SUPER_MAGIC, DEBUGFS_MAGIC, TRACEFS_MAGIC, SECURITYFS_MAGIC, BPF_FS_MAGIC,
    DEVPTS_SUPER_MAGIC, NSFS_MAGIC};

/* In the host's mounts: a path of the host's own templates, in which no link is followed, so that
 * what an administrator reads there is what is bound. */
static int clone_source(void *arg)
{
	const char *path = arg;
	struct open_how how = {
	    .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
	cleanup_close int fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
	int tree;

	if (fd < 0)
		return -errno;
	tree = open_tree(fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	return tree < 0 ? -errno : tree;
}

static int clone_one(struct host *h, const char *path, int *ret, struct err *e)
{
	struct mount_attr ro = {
	    .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
	char copy[PLAN_PATH_MAX];
	struct statfs fs;
	int r;

	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		if (is_below(path, refused[i]))
			return err_set(e, -EPERM, "nothing below %s is shown", refused[i]);
	(void)str_copy(copy, sizeof copy, path);
	cleanup_close int tree = r = host_visit(h, clone_source, copy);
	if (tree < 0)
		return err_set(e, r, "%s", strerror(-r));
	if (fstatfs(tree, &fs) < 0)
		return err_set(e, -errno, "statfs: %m");
	for (size_t i = 0; i < ARRAY_LEN(kernels_own); i++)
		if ((long)fs.f_type == kernels_own[i])
			return err_set(e, -EPERM, "a file system of the kernel's own");
	if (mount_setattr(tree, "", AT_EMPTY_PATH, &ro, sizeof ro) < 0)
		return err_set(e, -errno, "mount_setattr: %m");
	*ret = steal_fd(&tree);
	return 0;
}

/* ---- the places ---- */

/* As the layers below have it, the skeleton's first: a directory that is made above one hides its
 * owner and mode. 1 if it is there. */
static int find_below(const struct skeleton *s, const char *name, struct stat *ret)
{
	const char *const layers[] = {s->path, s->lower};
	struct open_how how = {.flags = O_PATH | O_CLOEXEC,
	    .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};

	for (size_t i = 0; i < ARRAY_LEN(layers); i++) {
		cleanup_close int top =
		    layers[i][0] ? open(layers[i], O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
		cleanup_close int fd =
		    top < 0 ? -1 : (int)syscall(SYS_openat2, top, name, &how, sizeof how);

		if (fd >= 0)
			return fstat(fd, ret) < 0 ? -errno : 1;
		if (top >= 0 && errno == ELOOP) /* a link, which would be covered */
			return -ELOOP;
	}
	return 0;
}

static uid_t inside(uid_t id, uint32_t base)
{
	return id < IDMAP_BLOCK ? base + id : base;
}

/* The upper layer was made a moment ago and is nobody else's: there are no links in it. */
static int make_dir(const struct skeleton *s, int u, const char *name, uint32_t base)
{
	struct stat st = {.st_mode = S_IFDIR | 0755};
	int found = find_below(s, name, &st);

	if (found < 0 || (found && !S_ISDIR(st.st_mode)))
		return found < 0 ? found : -ENOTDIR;
	if (mkdirat(u, name, 0700) < 0)
		return errno == EEXIST ? 0 : -errno;
	if (fchownat(u, name, inside(st.st_uid, base), inside(st.st_gid, base),
	        AT_SYMLINK_NOFOLLOW) < 0 ||
	    fchmodat(u, name, st.st_mode & 01777, 0) < 0)
		return -errno;
	return 0;
}

static int make_file(int u, const char *name, uint32_t base)
{
	cleanup_close int fd = openat(u, name, O_CREAT | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0444);

	return fd < 0 || fchown(fd, base, base) < 0 ? -errno : 0;
}

static int make_place(
    const struct skeleton *s, int up, const char *name, bool is_dir, uint32_t base)
{
	cleanup_close int u = openat(up, "u", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char part[PLAN_INSIDE_MAX];
	int r;

	if (u < 0)
		return -errno;
	if (!s->lower[0] && is_below(name, "usr")) /* another mount: what is there is there */
		return 0;
	for (const char *p = strchr(name, '/'); p; p = strchr(p + 1, '/')) {
		memcpy(part, name, (size_t)(p - name));
		part[p - name] = '\0';
		if ((r = make_dir(s, u, part, base)) < 0)
			return r;
	}
	return is_dir ? make_dir(s, u, name, base) : make_file(u, name, base);
}

static int check_place(const struct plan *p, const char *target, struct err *e)
{
	static const char *const ours[] = {"/dev", "/proc", "/sys", "/run/postern"};

	for (size_t i = 0; i < ARRAY_LEN(ours); i++)
		if (is_below(target, ours[i]) || is_below(ours[i], target))
			return err_set(e, -EPERM, "%s is the sandbox's own", ours[i]);
	if (p->workspace_mode != PLAN_WORKSPACE_NONE && is_below(target, WORKSPACE_DIR))
		return err_set(e, -EPERM, "%s is the workspace", WORKSPACE_DIR);
	return 0;
}

static int make_one(struct host *h, const struct skeleton *s, const struct plan *p,
    const struct plan_mount *m, int up, uint32_t base, struct binds *b, struct err *e)
{
	struct stat st;
	int r;

	if ((r = check_place(p, m->target, e)) < 0 ||
	    (r = clone_one(h, m->source, &b->tree[b->n], e)) < 0)
		return r;
	(void)str_copy(b->at[b->n], sizeof b->at[0], m->target + 1);
	if (fstat(b->tree[b->n++], &st) < 0)
		return err_set(e, -errno, "stat: %m");
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return err_set(e, -ENOTSUP, "neither a directory nor a file");
	r = make_place(s, up, m->target + 1, S_ISDIR(st.st_mode), base);
	return r < 0 ? err_set(e, r, "its place: %s", strerror(-r)) : 0;
}

int binds_make(struct host *h, const struct skeleton *s, const struct plan *p, int up,
    uint32_t base, struct binds *ret, struct err *e)
{
	struct binds b = BINDS_NONE;

	if (p->nmounts && p->tier != PLAN_TIER_NAMESPACES)
		return err_set(e, -ENOTSUP, "tier %s has no mounts", plan_tiers[p->tier]);
	for (unsigned i = 0; i < p->nmounts; i++) {
		const struct plan_mount *m = &p->mounts[i];
		int r = make_one(h, s, p, m, up, base, &b, e);

		if (r < 0) {
			binds_done(&b);
			return err_wrap(e, r, "%s at %s", m->source, m->target);
		}
	}
	*ret = b;
	return 0;
}

void binds_done(struct binds *b)
{
	while (b->n > 0)
		util_close(&b->tree[--b->n]);
}

/* ---- the child ---- */

RAW_SYSCALLS int binds_enter(const struct binds *b)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC,
	    .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
	int root, at;

	if (b->n == 0)
		return 0;
	root = open("/mnt", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -errno;
	for (unsigned i = 0; i < b->n; i++) {
		at = (int)syscall(SYS_openat2, root, b->at[i], &how, sizeof how);
		if (at < 0 || move_mount(b->tree[i], "", at, "",
		                  MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
			return -errno;
		(void)close(at);
	}
	return close(root) < 0 ? -errno : 0;
}
