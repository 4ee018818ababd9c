/*
 * Where spawn lives: a mount namespace of its own with very few mounts, because clone3(CLONE_NEWNS)
 * copies every one of them, and descriptors to what it needs of the host.
 *
 * Inside (all read-only for the sandboxes that bind or clone from it):
 *
 *   /proc        the host's processes
 *   /usr         the host's, ro nosuid nodev
 *   /dev         a tmpfs with the nodes a sandbox gets
 *   /blank/file, /blank/dir   nothing: bound over what a sandbox shall not see
 *   /skel        STATE/spawn, where template skeletons are (broker/spawn/skeleton.h)
 *   /roots/N     directories named as roots by templates
 *   /blank       what masks files and directories; and HOST_SHELL, which is above a sandbox's root
 *   /mnt /low /low2 /low3 /low4 /up    empty: where a new sandbox assembles its root, in its own
 * copy
 *
 * A path of the host is looked up below root_fd; only binding it needs host_bind().
 */
#ifndef POSTERN_SPAWN_HOST_H
#define POSTERN_SPAWN_HOST_H

#include <stddef.h>

#include "broker/spawn/netns.h"

struct err;

#define HOST_MASKS_MAX 24

#define HOST_SHELL      "/blank/shell"
#define HOST_SHELL_ROOT "/root"

struct host {
	int root_fd;          /* the host's /, O_PATH */
	int mnt_ns;           /* the host's mount namespace */
	struct netns_own own; /* our own namespaces, to come back to */
	int state_fd;         /* STATE/spawn, O_DIRECTORY */
	int libexec_fd;       /* our programs, O_DIRECTORY */
	unsigned roots;       /* directories bound below /roots so far */
	/* what exists below /proc here and is masked in a sandbox */
	const char *mask_files[HOST_MASKS_MAX];
	const char *mask_dirs[HOST_MASKS_MAX];
};

/* Enters the namespace described above; irreversible. Takes over the descriptors. */
int host_enter(struct host *h, int state_fd, int libexec_fd, struct err *e);
/* STATE/images/HEX, O_PATH; -errno. hex is 64 hexadecimal digits. No link is followed. */
int host_image(struct host *h, const char *hex);
/* Binds a directory that host_image() has opened at /roots/N. */
int host_bind_image(struct host *h, int image, char *dst, size_t size, struct err *e);
/* Binds a directory of the host at /roots/N; dst[size] gets that path. */
int host_bind(struct host *h, const char *path, char *dst, size_t size, struct err *e);
/* Undoes either, for a path that it gave; nothing for an empty one. 0 or -errno. */
int host_unbind(struct host *h, const char *dst);
/* Runs fn(arg) in the host's mount namespace and comes back; fn's answer, or -errno. */
int host_visit(struct host *h, int (*fn)(void *arg), void *arg);
void host_leave(struct host *h); /* closes the descriptors */

#endif
