#include "broker/spawn/host.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/defence.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/util.h"

#define BASE "/tmp" /* an existing directory to mount the new root on, seen by nobody else */

/* Readable by all, and about the host: its keys, memory, timers, hardware,
 * other people's mounts. */
static const char *const masked_files[] = {"kcore", "keys", "key-users", "sysrq-trigger",
    "timer_list", "sched_debug", "interrupts", "latency_stats", "kmsg", "slabinfo", NULL};
static const char *const masked_dirs[] = {"acpi", "bus", "fs", "irq", "scsi", "driver", NULL};

static const struct node {
	const char *name;
	unsigned major, minor;
} nodes[] = {
    {"null", 1, 3},
    {"zero", 1, 5},
    {"full", 1, 7},
    {"random", 1, 8},
    {"urandom", 1, 9},
    {"tty", 5, 0},
#ifdef POSTERN_DEFENCES
    {"kvm", 10, 232},
#endif
};

#define NODES 6 /* a build for tests knows one more */

static const struct link {
	const char *name, *target;
} links[] = {
    {"fd", "/proc/self/fd"},
    {"stdin", "/proc/self/fd/0"},
    {"stdout", "/proc/self/fd/1"},
    {"stderr", "/proc/self/fd/2"},
    {"ptmx", "pts/ptmx"},
};

static int make_dir(const char *path)
{
	return mkdir(path, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

static int set_attr(const char *path, uint64_t set)
{
	struct mount_attr a = {.attr_set = set};

	return mount_setattr(AT_FDCWD, path, 0, &a, sizeof a) < 0 ? -errno : 0;
}

static int make_dev(void)
{
	mode_t old;
	int r = 0;

	if (mount("dev", BASE "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755,size=64k") < 0)
		return -errno;
	old = umask(0);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(nodes); i++) {
		char path[64];

		if (i >= NODES && DEFENCE("dev-nodes"))
			break;
		(void)snprintf(path, sizeof path, BASE "/dev/%s", nodes[i].name);
		if (mknod(path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)) < 0)
			r = -errno;
	}
	(void)umask(old);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(links); i++) {
		char path[64];

		(void)snprintf(path, sizeof path, BASE "/dev/%s", links[i].name);
		if (symlink(links[i].target, path) < 0)
			r = -errno;
	}
	if (r == 0 && ((r = make_dir(BASE "/dev/pts")) < 0 || (r = make_dir(BASE "/dev/shm")) < 0))
		return r;
	return r ? r : set_attr(BASE "/dev", MOUNT_ATTR_RDONLY);
}

static int make_blank(void)
{
	int fd;

	if (mount("blank", BASE "/blank", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
	        "mode=0755,size=16k") < 0)
		return -errno;
	fd = open(BASE "/blank/file", O_CREAT | O_WRONLY | O_CLOEXEC, 0444);
	if (fd < 0 || mkdir(BASE "/blank/dir", 0555) < 0 || mkdir(BASE HOST_SHELL, 0555) < 0 ||
	    mkdir(BASE HOST_SHELL HOST_SHELL_ROOT, 0555) < 0)
		return -errno;
	(void)close(fd);
	return set_attr(BASE "/blank", MOUNT_ATTR_RDONLY);
}

/* The same file by a path of our own copy of the mounts: one that is open since before belongs to
 * the host's namespace and cannot be cloned from (open_tree(2)). */
static int own_path(int fd, char *dst, size_t size)
{
	char link[64];
	struct stat a, b;
	ssize_t n;

	(void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, dst, size - 1);
	if (n < 0)
		return -errno;
	dst[n] = '\0';
	if (fstat(fd, &a) < 0 || stat(dst, &b) < 0)
		return -errno;
	return a.st_dev == b.st_dev && a.st_ino == b.st_ino ? 0 : -ESTALE;
}

static int bind_at(const char *from, const char *to, uint64_t attr)
{
	if (mount(from, to, NULL, MS_BIND, NULL) < 0)
		return -errno;
	return set_attr(to, attr);
}

static void find_masks(struct host *h)
{
	size_t nf = 0, nd = 0;

	for (size_t i = 0; masked_files[i] && nf < HOST_MASKS_MAX - 1; i++) {
		char path[64];

		(void)snprintf(path, sizeof path, "/proc/%s", masked_files[i]);
		if (access(path, F_OK) == 0)
			h->mask_files[nf++] = masked_files[i];
	}
	for (size_t i = 0; masked_dirs[i] && nd < HOST_MASKS_MAX - 1; i++) {
		char path[64];

		(void)snprintf(path, sizeof path, "/proc/%s", masked_dirs[i]);
		if (access(path, F_OK) == 0)
			h->mask_dirs[nd++] = masked_dirs[i];
	}
}

static int build(const char *state, struct err *e)
{
	static const char *const dirs[] = {BASE "/proc", BASE "/usr", BASE "/dev", BASE "/blank",
	    BASE "/skel", BASE "/roots", BASE "/mnt", BASE "/low", BASE "/low2", BASE "/low3",
	    BASE "/low4", BASE "/up"};
	int r;

	/* what lies below /tmp itself must be reached before it is covered */
	cleanup_close int tree = open_tree(AT_FDCWD, state, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (tree < 0)
		return err_set(e, -errno, "open_tree %s: %m", state);
	if (mount("postern", BASE, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m") < 0)
		return err_set(e, -errno, "mount tmpfs: %m");
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		if ((r = make_dir(dirs[i])) < 0)
			return err_set(e, r, "mkdir %s: %s", dirs[i], strerror(-r));
	if (move_mount(tree, "", AT_FDCWD, BASE "/skel", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_set(e, -errno, "move_mount state: %m");
	if ((r = set_attr(BASE "/skel", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)) < 0)
		return err_set(e, r, "mount_setattr state: %s", strerror(-r));
	if (mount("proc", BASE "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return err_set(e, -errno, "mount proc: %m");
	if ((r = bind_at("/usr", BASE "/usr",
	         MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV |
	             (DEFENCE("nosuid") ? MOUNT_ATTR_NOSUID : 0))) < 0)
		return err_set(e, r, "bind /usr: %s", strerror(-r));
	if ((r = make_dev()) < 0)
		return err_set(e, r, "dev: %s", strerror(-r));
	if ((r = make_blank()) < 0)
		return err_set(e, r, "blank: %s", strerror(-r));
	if (chdir(BASE) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
	    umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return err_set(e, -errno, "pivot_root: %m");
	return 0;
}

int host_enter(struct host *h, int state_fd, int libexec_fd, struct err *e)
{
	char state[PATH_MAX];
	int r;

	*h = (struct host){
	    .root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC),
	    .mnt_ns = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC),
	    .own = {.net = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC),
	        .ipc = open("/proc/self/ns/ipc", O_RDONLY | O_CLOEXEC),
	        .uts = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC)},
	    .state_fd = state_fd,
	    .libexec_fd = libexec_fd,
	};
	if (h->root_fd < 0 || h->mnt_ns < 0 || h->own.net < 0 || h->own.ipc < 0 || h->own.uts < 0)
		return err_set(e, -errno, "cannot open the host's namespaces: %m");
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_set(e, -errno, "mount namespace: %m");
	if ((r = own_path(state_fd, state, sizeof state)) < 0)
		return err_set(e, r, "state directory: %s", strerror(-r));
	if ((r = build(state, e)) < 0)
		return r;
	find_masks(h);
	return 0;
}

int host_visit(struct host *h, int (*fn)(void *arg), void *arg)
{
	cleanup_close int own = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	int r;

	if (own < 0 || setns(h->mnt_ns, CLONE_NEWNS) < 0)
		return -errno;
	r = fn(arg);
	if (setns(own, CLONE_NEWNS) < 0)
		abort(); /* in a namespace that is not ours nothing may be done */
	return r;
}

static int clone_path(void *arg)
{
	const char *path = arg;
	int tree = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	return tree < 0 ? -errno : tree;
}

static int clone_fd(void *arg)
{
	int tree = open_tree(*(int *)arg, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	return tree < 0 ? -errno : tree;
}

/* Takes over tree. */
static int attach(struct host *h, int from, const char *path, char *dst, size_t size, struct err *e)
{
	cleanup_close int tree = from;
	int r = from;

	if (tree < 0)
		return err_set(e, r, "%s: %s", path, strerror(-r));
	(void)snprintf(dst, size, "/roots/%u", h->roots);
	if ((r = make_dir(dst)) < 0) {
		dst[0] = '\0';
		return err_set(e, r, "/roots/%u: %s", h->roots, strerror(-r));
	}
	if (move_mount(tree, "", AT_FDCWD, dst, MOVE_MOUNT_F_EMPTY_PATH) < 0) {
		r = -errno;
		(void)rmdir(dst);
		dst[0] = '\0'; /* nothing for host_unbind() */
		return err_set(e, r, "bind %s: %s", path, strerror(-r));
	}
	h->roots++;
	return 0;
}

int host_unbind(struct host *h, const char *dst)
{
	char last[64];

	if (!dst[0])
		return 0;
	if (umount2(dst, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 || rmdir(dst) < 0)
		return -errno;
	(void)snprintf(last, sizeof last, "/roots/%u", h->roots - 1);
	if (strcmp(dst, last) == 0)
		h->roots--;
	return 0;
}

int host_bind(struct host *h, const char *path, char *dst, size_t size, struct err *e)
{
	char copy[PATH_MAX];

	(void)snprintf(copy, sizeof copy, "%s", path);
	return attach(h, host_visit(h, clone_path, copy), path, dst, size, e);
}

int host_image(struct host *h, const char *hex)
{
	const struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
	    .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
	char path[128];
	long fd;

	/* images lies beside our own directory; both are in the host's mounts */
	(void)snprintf(path, sizeof path, "../images/%s", hex);
	fd = syscall(SYS_openat2, h->state_fd, path, &how, sizeof how);
	return fd < 0 ? -errno : (int)fd;
}

int host_bind_image(struct host *h, int image, char *dst, size_t size, struct err *e)
{
	return attach(h, host_visit(h, clone_fd, &image), "the image", dst, size, e);
}

void host_leave(struct host *h)
{
	util_close(&h->root_fd);
	util_close(&h->mnt_ns);
	util_close(&h->own.net);
	util_close(&h->own.ipc);
	util_close(&h->own.uts);
	util_close(&h->state_fd);
	util_close(&h->libexec_fd);
}
