/*
 * Entering the cgroup that ties sshd's processes to a session, and leaving it.
 *
 * Whoever forks from here on is in it as well, and no unprivileged process can leave it or come in:
 * that, not a uid or a variable, is how the core knows whose postern-run is speaking. Only version
 * 2's tree is used. A descriptor of a cgroup.procs file carries the rights of who opened it
 * (cgroups(7)), so none is kept: what is remembered is a path.
 *
 * Depends on libc and lib/err alone.
 */
#ifndef POSTERN_PAM_CGROUP_H
#define POSTERN_PAM_CGROUP_H

struct err;

#define CGROUP_PATH_MAX 1024

/* This process's place in the version 2 tree, as /proc/self/cgroup has it
 * ("/system.slice/ssh.service"). dst needs CGROUP_PATH_MAX bytes. 0 or -errno. */
int cgroup_here(char *dst, struct err *e);

/* Moves this process by a descriptor of a cgroup.procs file, and looks whether that happened. 0;
 * -EINVAL if the file is not in a version 2 tree; -EXDEV if the process is where it was; or what
 * the kernel says. */
int cgroup_enter(int procs, struct err *e);

/* Moves this process back to where cgroup_here() found it. 0 or -errno. */
int cgroup_return(const char *path);

#endif
