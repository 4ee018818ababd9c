/*
 * Where a cgroup hierarchy is mounted and where in it we are: /proc/self/cgroup and mountinfo
 * (cgroups(7)), read while the host's mounts are still visible.
 */
#ifndef POSTERN_SPAWN_CGROUP_FIND_H
#define POSTERN_SPAWN_CGROUP_FIND_H

#include <stddef.h>

/* Where the daemons themselves are moved to on a pure version 2 host. Who is in there has its
 * parent for "our own cgroup". */
#define CGROUP_LEAF "postern.daemons"

/* controller: "memory", ... on version 1; NULL for the version 2 tree. dst[size]: the directory of
 * our own cgroup; path[psize], if not NULL, that cgroup's name as /proc/PID/cgroup says it. 0,
 * -ENOENT. */
int cgroup_find(const char *controller, char *dst, size_t size, char *path, size_t psize);

#endif
