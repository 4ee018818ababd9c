#include "broker/spawn/rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/spawn/install.h"
#include "broker/spawn/skeleton.h"
#include "lib/defence.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/str.h"
#include "lib/util.h"

/* A clone of the mount at path. (Detached ones can be cloned since 6.15 only, so none of these is
 * made of another.) idmap < 0: not mapped. */
static int clone_of(const char *path, uint64_t attr, int idmap)
{
	struct mount_attr a = {.attr_set = attr};
	cleanup_close int fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (idmap >= 0) {
		a.attr_set |= MOUNT_ATTR_IDMAP;
		a.userns_fd = (unsigned)idmap;
	}
	if (a.attr_set && mount_setattr(fd, "", AT_EMPTY_PATH, &a, sizeof a) < 0)
		return -errno;
	return steal_fd(&fd);
}

static int set_text(int fs, const char *key, const char *text)
{
	return fsconfig(fs, FSCONFIG_SET_STRING, key, text, 0) < 0 ? -errno : 0;
}

static int set_number(int fs, const char *key, uint64_t value)
{
	char text[32];

	(void)snprintf(text, sizeof text, "%llu", (unsigned long long)value);
	return set_text(fs, key, text);
}

static int finish(int fs, unsigned attr)
{
	int fd;

	if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	fd = fsmount(fs, FSMOUNT_CLOEXEC, attr);
	return fd < 0 ? -errno : fd;
}

static int make_upper(const struct plan *p)
{
	cleanup_close int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);
	int r;

	if (fs < 0)
		return -errno;
	if ((r = set_text(fs, "mode", "0755")) < 0 ||
	    (p->disk_bytes && (r = set_number(fs, "size", p->disk_bytes)) < 0) ||
	    (p->disk_inodes && (r = set_number(fs, "nr_inodes", p->disk_inodes)) < 0))
		return r;
	return finish(fs, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
}

/* Its own, also when it was built before anybody came: what programs take a machine's name from is
 * shared by no two sandboxes. (Written before the overlay is mounted, as a layer must not change
 * below one.) */
static int name_machine(int up, uint32_t base)
{
	uint8_t random[16];
	char text[2 * sizeof random + 2];
	cleanup_close int fd = -1;

	fd_random(random, sizeof random);
	hex_encode(text, random, sizeof random);
	text[sizeof text - 2] = '\n';
	if (mkdirat(up, "u/etc", 0755) < 0 || fchownat(up, "u/etc", base, base, 0) < 0 ||
	    (fd = openat(up, "u/etc/machine-id", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0444)) <
	        0 ||
	    write(fd, text, sizeof text - 1) != (ssize_t)sizeof text - 1 ||
	    fchown(fd, base, base) < 0)
		return -errno;
	return 0;
}

/* u becomes the root directory of the sandbox, so it belongs to the sandbox's root. */
static int furnish_upper(const struct rootfs *f, int up, uint32_t base)
{
	int r;

	if (mkdirat(up, "u", 0755) < 0 || fchownat(up, "u", base, base, 0) < 0 ||
	    mkdirat(up, "w", 0700) < 0 || mkdirat(up, "shm", 0700) < 0 ||
	    fchownat(up, "shm", base, base, 0) < 0 || fchmodat(up, "shm", 01777, 0) < 0)
		return -errno;
	r = install_furnish(f, up, base);
	return r < 0 ? r : name_machine(up, base);
}

/* Of one sandbox, its channels' and its own: kernel.pty.max is the whole host's. */
#define TERMINALS "64"

/* Without owners: the options uid= and gid= end at INT_MAX on 6.1, so who opens a terminal for
 * the agent gives it to it. */
static int make_pts(void)
{
	cleanup_close int fs = fsopen("devpts", FSOPEN_CLOEXEC);
	int r;

	if (fs < 0)
		return -errno;
	if ((r = set_text(fs, "mode", "0620")) < 0 || (r = set_text(fs, "ptmxmode", "0666")) < 0 ||
	    (r = set_text(fs, "max", TERMINALS)) < 0)
		return r;
	return finish(fs, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
}

static int fail(struct err *e, const char *what, int r)
{
	if (r == -EINVAL)
		return err_set(
		    e, r, "%s: its file system cannot map ids (ext4, xfs and btrfs can)", what);
	return err_set(e, r, "%s: %s", what, strerror(-r));
}

static int make_usr(struct rootfs *f, int userns, struct err *e)
{
	uint64_t attr =
	    MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | (DEFENCE("nosuid") ? MOUNT_ATTR_NOSUID : 0);

	f->usr = clone_of("/usr", attr, userns);
	f->usr_mapped = f->usr >= 0;
	/* only how owners look depends on it: said in `enforced` */
	if (f->usr == -EINVAL)
		f->usr = clone_of("/usr", attr, -1);
	return f->usr < 0 ? fail(e, "/usr", f->usr) : 0;
}

/* Files of ids that nobody inside is cannot be replaced: such a /usr stays as it is. */
static int make_own(const struct skeleton *s, struct rootfs *f, int userns, struct err *e)
{
	uint64_t ro = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;

	f->own_usr = f->usr_mapped;
	if (!f->own_usr || !s->dpkg[0])
		return 0;
	f->dpkg = clone_of(s->dpkg, ro, userns);
	return f->dpkg < 0 ? fail(e, "/" INSTALL_DPKG, f->dpkg) : 0;
}

static int make(const struct skeleton *s, const struct plan *p, int userns, uint32_t base,
    struct rootfs *f, struct err *e)
{
	uint64_t ro = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
	int r;

	if ((f->low = clone_of(s->path, ro, userns)) < 0)
		return fail(e, "the state directory", f->low);
	if (s->lower[0] && (f->low2 = clone_of(s->lower, ro, userns)) < 0)
		return fail(e, p->root_path, f->low2);
	if (!s->lower[0] && (r = make_usr(f, userns, e)) < 0)
		return r;
	if (install_wanted(p, s) && (r = make_own(s, f, userns, e)) < 0)
		return r;
	if ((f->up = make_upper(p)) < 0)
		return fail(e, "tmpfs", f->up);
	if ((r = furnish_upper(f, f->up, base)) < 0)
		return fail(e, "tmpfs", r);
	if ((f->pts = make_pts()) < 0)
		return fail(e, "devpts", f->pts);
	return 0;
}

int rootfs_make(const struct skeleton *s, const struct plan *p, int userns, uint32_t base,
    struct rootfs *ret, struct err *e)
{
	struct rootfs f = ROOTFS_NONE;
	int r = make(s, p, userns, base, &f, e);

	if (r < 0) {
		rootfs_done(&f);
		return r;
	}
	*ret = f;
	return 0;
}

void rootfs_moved(struct rootfs *f)
{
	util_close(&f->low);
	util_close(&f->low2);
	util_close(&f->up);
	util_close(&f->usr);
	util_close(&f->dpkg);
}

void rootfs_done(struct rootfs *f)
{
	rootfs_moved(f);
	util_close(&f->pts);
}
