/*
 * What an agent that is root installs into, where the template's root is the host's: /usr and
 * dpkg's database, each the host's own below a part of the session's writable layer. So what it
 * installs lies in that layer with all else it writes: under the same limits, in the same record of
 * changed paths, and gone with the session. An unpacked image or a directory has both in its root
 * already.
 *
 * dpkg has to know what there is: its database is the host's, without the overrides of owners,
 * which name users that a sandbox does not have (the skeleton's empty list lies on top), and
 * with /opt and /srv as base-files' own: dpkg would remove them with the last package that has
 * something there, and Landlock lets nobody change the root directory.
 */
#ifndef POSTERN_SPAWN_INSTALL_H
#define POSTERN_SPAWN_INSTALL_H

#include <stdbool.h>
#include <stdint.h>

struct plan;
struct rootfs;
struct skeleton;

#define INSTALL_DPKG "var/lib/dpkg" /* from the root */

/* Into a skeleton that has etc and var: what apt and dpkg expect around what they install. */
int install_skeleton(int host_root, int at);
/* Not with a list of programs, where nothing that is written may be run. */
bool install_wanted(const struct plan *p, const struct skeleton *s);
/* The layer's own directories, before it is mounted. 0 or -errno. */
int install_furnish(const struct rootfs *f, int up, uint32_t base);
/* In the child: the host's /usr as it is, but as files of this sandbox alone. The host's are the
 * same to everybody: who may read one would be told by inotify(7) whenever somebody else opens it,
 * and could lock it (flock(2)). low: a directory to
 * put the host's on; layers: it and an empty one, as lowerdir has them. 0 or -errno. */
int install_usr(const struct rootfs *f, const char *low, const char *layers, const char *at);
/* In the child, once the root is mounted on /mnt: system calls only. 0 or -errno. */
int install_enter(const struct rootfs *f);

#endif
