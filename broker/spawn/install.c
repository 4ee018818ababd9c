#include "broker/spawn/install.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/spawn/plan.h"
#include "broker/spawn/rootfs.h"
#include "broker/spawn/skeleton.h"
#include "broker/spawn/tree.h"
#include "lib/defence.h"
#include "lib/fdio.h"
#include "lib/util.h"

#define RAW_SYSCALLS __attribute__((no_sanitize("address", "undefined")))

/* etc and var are there already. */
static const char *const dirs[] = {"etc/apt", "etc/apt/apt.conf.d", "etc/apt/preferences.d",
    "etc/apt/sources.list.d", "etc/apt/trusted.gpg.d", "etc/dpkg", "etc/dpkg/dpkg.cfg.d", "opt",
    "srv", "var/cache", "var/cache/apt", "var/cache/apt/archives", "var/lib", "var/lib/apt",
    "var/lib/apt/lists", INSTALL_DPKG, INSTALL_DPKG "/info", "var/log", "var/log/apt"};

#define BASE_LIST INSTALL_DPKG "/info/base-files.list"

static int keep_tops(int host_root, int at)
{
	static const char tops[] = "/opt\n/srv\n";
	int r = tree_copy_file(host_root, BASE_LIST, at, BASE_LIST, 0644);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	cleanup_close int fd = openat(at, BASE_LIST, O_WRONLY | O_APPEND | O_CLOEXEC);
	return fd < 0 ? -errno : fd_write_full(fd, tops, strlen(tops));
}

int install_skeleton(int host_root, int at)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(dirs); i++)
		r = tree_dir(at, dirs[i], 0755, 0);
	if (r == 0)
		r = tree_write(at, INSTALL_DPKG "/statoverride", "");
	return r < 0 ? r : keep_tops(host_root, at);
}

bool install_wanted(const struct plan *p, const struct skeleton *s)
{
	return p->root_user && p->nprograms == 0 && !s->lower[0];
}

static int make(int up, const char *name, uint32_t owner)
{
	return mkdirat(up, name, 0755) < 0 || fchownat(up, name, owner, owner, 0) < 0 ? -errno : 0;
}

/* As the skeleton has them, so that they are no change of the session's. */
int install_furnish(const struct rootfs *f, int up, uint32_t base)
{
	static const char *const dpkg[] = {"u/var", "u/var/lib", "u/" INSTALL_DPKG};
	int r;

	if (f->own_usr && ((r = make(up, "u/usr", base)) < 0 || (r = make(up, "wu", 0)) < 0))
		return r;
	if (f->dpkg < 0)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(dpkg); i++)
		if ((r = make(up, dpkg[i], base)) < 0)
			return r;
	return make(up, "wd", 0);
}

RAW_SYSCALLS static int attach(int fd, const char *at)
{
	return move_mount(fd, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH) < 0 ? -errno : 0;
}

RAW_SYSCALLS static int overlay(
    const char *lower, const char *upper, const char *work, const char *at)
{
	unsigned attr = (DEFENCE("nosuid") ? MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV : 0) |
	                (upper ? 0 : MOUNT_ATTR_RDONLY);
	int fs = fsopen("overlay", FSOPEN_CLOEXEC), fd;

	/* what is left open by a failure goes with the child */
	if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "lowerdir", lower, 0) < 0 ||
	    (upper && (fsconfig(fs, FSCONFIG_SET_STRING, "upperdir", upper, 0) < 0 ||
	                  fsconfig(fs, FSCONFIG_SET_STRING, "workdir", work, 0) < 0)) ||
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0 ||
	    (fd = fsmount(fs, FSMOUNT_CLOEXEC, attr)) < 0)
		return -errno;
	return attach(fd, at);
}

/* The empty directory is there because an overlay without an upper layer wants two. */
RAW_SYSCALLS int install_usr(
    const struct rootfs *f, const char *low, const char *layers, const char *at)
{
	int r = attach(f->usr, low);

	return r < 0 ? r : overlay(layers, NULL, NULL, at);
}

RAW_SYSCALLS static int enter_usr(const struct rootfs *f)
{
	int r;

	if (f->usr < 0)
		return 0;
	if (!f->own_usr)
		return install_usr(f, "/low3", "/low3:/blank/dir", "/mnt/usr");
	r = attach(f->usr, "/low3");
	return r < 0 ? r : overlay("/low3", "/up/u/usr", "/up/wu", "/mnt/usr");
}

/* The upper layers are directories of the root's own one, which these mounts cover: nobody reaches
 * them through the root any more. */
RAW_SYSCALLS int install_enter(const struct rootfs *f)
{
	int r = enter_usr(f);

	if (r < 0 || f->dpkg < 0)
		return r;
	if ((r = attach(f->dpkg, "/low4")) < 0)
		return r;
	return overlay(
	    "/low/" INSTALL_DPKG ":/low4", "/up/u/" INSTALL_DPKG, "/up/wd", "/mnt/" INSTALL_DPKG);
}
