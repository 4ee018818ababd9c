#include "broker/spawn/workspace.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "broker/spawn/host.h"
#include "broker/spawn/idmap.h"
#include "broker/spawn/plan.h"
#include "broker/workspace/store.h"
#include "lib/err.h"
#include "lib/util.h"

#define LAYERS       "/ws" /* in spawn's own mounts: empty; in a sandbox's: the tenant's layers */
#define RAW_SYSCALLS __attribute__((no_sanitize("address", "undefined")))

_Static_assert(WORK_IDS == IDMAP_BLOCK, "a tenant has a block on the disk");

/* ---- the store ---- */

static int allot(void *arg, uint32_t *ret_ids, struct err *e)
{
	int block = idmap_keep(arg);

	if (block < 0)
		return err_set(e, block, "no block of ids is left for the tenant's files");
	*ret_ids = idmap_base(arg, block);
	return 0;
}

static void hold(void *arg, uint32_t ids)
{
	idmap_keep_base(arg, ids);
}

int workspace_store(struct host *h, const char *path, int fd, struct idmap *ids,
    struct work_store **ret, struct err *e)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
	struct work_config c = {.allot = allot, .hold = hold, .arg = ids};
	struct stat a, b;
	char dst[64];
	int r;

	if ((r = host_bind(h, path, dst, sizeof dst, e)) < 0)
		return r;
	if (mount_setattr(AT_FDCWD, dst, 0, &attr, sizeof attr) < 0)
		return err_set(e, -errno, "workspaces: %m");
	if (mkdir(LAYERS, 0755) < 0 && errno != EEXIST)
		return err_set(e, -errno, "%s: %m", LAYERS);
	c.dir = open(dst, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c.dir < 0 || fstat(c.dir, &a) < 0 || fstat(fd, &b) < 0 || a.st_dev != b.st_dev ||
	    a.st_ino != b.st_ino) {
		util_close(&c.dir);
		return err_set(e, -ESTALE, "workspaces: %s is another directory now", path);
	}
	return work_open(&c, ret, e);
}

/* ---- for one sandbox ---- */

static int add(struct workspace *w, size_t *n, const char *key, uint32_t layer, const char *what)
{
	int len = snprintf(w->options + *n, sizeof w->options - *n, "%s%u/%s", key, layer, what);

	if (len < 0 || (size_t)len >= sizeof w->options - *n)
		return -E2BIG;
	*n += (size_t)len;
	return 0;
}

/* Relative to the layers. Renamed directories, copies of names alone and an index are left out:
 * a layer shall say everything by itself. */
static int options(struct workspace *w, const struct work_view *v)
{
	static const char rest[] = ",redirect_dir=off,metacopy=off,index=off";
	size_t n = 0;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < v->nlower; i++)
		r = add(w, &n, i ? ":" : "lowerdir=", v->lower[i], "d");
	/* without an upper one there must be two (overlayfs): 0/w is empty, too */
	if (r == 0 && !v->top && v->nlower == 1)
		r = add(w, &n, ":", 0, "w");
	if (r == 0 && v->top && (r = add(w, &n, ",upperdir=", v->top, "d")) == 0)
		r = add(w, &n, ",workdir=", v->top, "w");
	if (r == 0 && !str_copy(w->options + n, sizeof w->options - n, rest))
		r = -E2BIG;
	return r;
}

static int mapped_clone(int layers, uint32_t from, uint32_t to, int *ret, struct err *e)
{
	cleanup_close int userns = idmap_shift(from, to, e);
	cleanup_close int tree =
	    open_tree(layers, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	struct mount_attr attr = {
	    .attr_set = MOUNT_ATTR_IDMAP | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
	    .userns_fd = userns < 0 ? 0 : (unsigned)userns,
	};

	if (userns < 0)
		return userns;
	if (tree < 0)
		return err_set(e, -errno, "open_tree: %m");
	if (mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof attr) < 0)
		return err_set(
		    e, -errno, "%m: its file system must be able to map ids (ext4, xfs, btrfs)");
	*ret = steal_fd(&tree);
	return 0;
}

static int mount_point(int up, uint32_t base)
{
	if (mkdirat(up, "u" WORKSPACE_DIR, 0755) < 0 ||
	    fchownat(up, "u" WORKSPACE_DIR, base, base, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return 0;
}

int workspace_make(struct work_store *s, const char *session, const struct plan *p, uint32_t base,
    int up, int landlock, struct workspace *ret, struct err *e)
{
	struct workspace w = WORKSPACE_NONE;
	struct work_view v = {.layers = -1};
	int r;

	if (p->workspace_mode == PLAN_WORKSPACE_NONE) {
		*ret = w;
		return 0;
	}
	w.write = p->workspace_mode == PLAN_WORKSPACE_RW;
	w.noexec = p->nprograms > 0;
	w.base = base;
	if (!s)
		return err_set(e, -ENOTSUP, "this spawn has no directory of workspaces");
	if (p->tier != PLAN_TIER_NAMESPACES)
		return err_set(e, -ENOTSUP, "tier %s has no workspaces", plan_tiers[p->tier]);
	if (w.write && landlock < 1)
		return err_set(e, -ENOTSUP, "without Landlock sockets could be left in it");
	if ((r = work_acquire(s, p->tenant, p->workspace, w.write, session, &v, e)) < 0)
		return r;
	if ((r = options(&w, &v)) < 0)
		(void)err_set(e, r, "it has too many layers");
	else if ((r = mount_point(up, base)) < 0)
		(void)err_set(e, r, "%s: %s", WORKSPACE_DIR, strerror(-r));
	else
		r = mapped_clone(v.layers, v.ids, base, &w.tree, e);
	work_view_done(&v);
	if (r == 0)
		*ret = w;
	return r;
}

void workspace_done(struct workspace *w)
{
	util_close(&w->tree);
}

/* ---- the child ---- */

/* The file system ids alone, and the capabilities that their change takes away (capabilities(7)).
 */
RAW_SYSCALLS static int work_as(uint32_t id)
{
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &h, d) < 0)
		return -errno;
	(void)syscall(SYS_setfsgid, id);
	(void)syscall(SYS_setfsuid, id);
	for (unsigned i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
		d[i].effective = d[i].permitted;
	return syscall(SYS_capset, &h, d) < 0 ? -errno : 0;
}

RAW_SYSCALLS int workspace_enter(const struct workspace *w)
{
	unsigned long flags =
	    MS_NOSUID | MS_NODEV | (w->write ? 0 : MS_RDONLY) | (w->noexec ? MS_NOEXEC : 0);
	int r;

	if (w->tree < 0)
		return 0;
	if (move_mount(w->tree, "", AT_FDCWD, LAYERS, MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
	    chdir(LAYERS) < 0)
		return -errno;
	if ((r = work_as(w->base)) < 0)
		return r;
	if (mount("workspace", "/mnt" WORKSPACE_DIR, "overlay", flags, w->options) < 0)
		return -errno;
	if ((r = work_as(0)) < 0)
		return r;
	return chdir("/") < 0 ? -errno : 0;
}
