/*
 * Who is at the other end of a local socket: names for records, groups for permission, the cgroup
 * for postern-run. Reads /proc and /etc/passwd by directory descriptors, so that it works confined.
 */
#ifndef POSTERN_CORE_WHO_H
#define POSTERN_CORE_WHO_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define WHO_CGROUP_MAX 256

/* The name that /etc/passwd has for uid; false, and dst is its number, if it has none. */
bool who_name(int etc_fd, uid_t uid, char *dst, size_t size);
/* The uid that once logged in, through sudo and su (proc(5), loginuid); -1 if there is none. */
long who_login(int proc_fd, pid_t pid);
/* The version 2 cgroup of a process that runs as uid. -ESRCH: it runs as somebody else, so the id
 * that SO_PEERCRED told was given anew; or another -errno. */
int who_cgroup(int proc_fd, pid_t pid, uid_t uid, char dst[WHO_CGROUP_MAX]);
/* True if path is dir or below it. */
bool who_cgroup_within(const char *path, const char *dir);
/* Whether the peer of a socket belongs to this group (SO_PEERCRED, SO_PEERGROUPS). */
bool who_in_group(int fd, gid_t gid);
/* {"uid", "user", "login_uid", "login_user", "pid"}, new. */
json_t *who_json(int proc_fd, int etc_fd, uid_t uid, pid_t pid);

#endif
