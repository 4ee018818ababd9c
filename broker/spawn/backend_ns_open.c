#include "broker/spawn/backend_ns.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "broker/spawn/backend_ns_internal.h"
#include "broker/spawn/filter.h"
#include "broker/spawn/idmap.h"
#include "broker/spawn/pool.h"
#include "broker/spawn/skeleton.h"
#include "broker/spawn/workspace.h"
#include "lib/confine.h"
#include "lib/digest.h"
#include "lib/err.h"
#include "lib/landlock_abi.h"
#include "lib/util.h"

static struct ns_backend *ns_of(struct backend *b)
{
	return (struct ns_backend *)(void *)b;
}

/* With anything but 0, the memory that a child shares with us between clone3 and execve could be
 * read and written by a process that has the same ids (broker/spawn/enter.h). */
static int check_dumpable(struct err *e)
{
	char c = '?';
	cleanup_close int fd = open("/proc/sys/fs/suid_dumpable", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, &c, 1) != 1)
		return err_set(e, -errno, "fs.suid_dumpable: %m");
	return c == '0' ? 0
	                : err_set(e, -EPERM, "fs.suid_dumpable is %c: it must be 0 (sysctl)", c);
}

static void describe(struct ns_backend *b)
{
	struct utsname u;
	int abi = confine_landlock_abi();

	b->landlock = abi < 0 ? 0 : abi > LL_ABI_MAX ? LL_ABI_MAX : abi;
	filter_digest(PLAN_SECCOMP_DEFAULT, b->seccomp);
	if (uname(&u) == 0)
		(void)snprintf(
		    b->kernel, sizeof b->kernel, "%.*s", (int)sizeof b->kernel - 1, u.release);
}

/* Known by its path, to be found again among spawn's own mounts. */
static int path_of(int fd, char *dst, size_t size)
{
	char link[64];
	ssize_t n;

	(void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, dst, size - 1);
	dst[n < 0 ? 0 : n] = '\0';
	return n < 0 ? -errno : 0;
}

struct backend *backend_ns_new(const struct backend_ns_config *c, struct err *e)
{
	cleanup_close int workspaces = c->workspaces_fd > 0 ? c->workspaces_fd : -1;
	struct ns_backend *b = calloc(1, sizeof *b);
	char path[PATH_MAX];

	if (!b) {
		(void)err_set(e, -ENOMEM, "no memory");
		return NULL;
	}
	b->base.ops = &ns_ops;
	b->host = (struct host){.root_fd = -1,
	    .mnt_ns = -1,
	    .own = {-1, -1, -1},
	    .state_fd = c->state_fd,
	    .libexec_fd = c->libexec_fd};
	describe(b);
	b->ids = idmap_new(c->idbase, c->idcount);
	if (!b->ids) {
		(void)err_set(e, -errno, "id range %u+%u: %m", c->idbase, c->idcount);
		goto fail;
	}
	/* cgroups first, while the host's mounts can be seen */
	if (workspaces >= 0 && path_of(workspaces, path, sizeof path) < 0) {
		(void)err_set(e, -errno, "workspaces: %m");
		goto fail;
	}
	if (check_dumpable(e) < 0 || cgroups_open(&b->cgroups, c->instance, c->state_fd, e) < 0 ||
	    host_enter(&b->host, c->state_fd, c->libexec_fd, e) < 0)
		goto fail;
	if (workspaces >= 0 && workspace_store(&b->host, path, workspaces, b->ids, &b->work, e) < 0)
		goto fail;
	b->skeletons = skeletons_new(&b->host, e);
	if (!b->skeletons)
		goto fail;
	b->pool = ns_pool_new(b);
	if (!b->pool) {
		(void)err_set(e, -ENOMEM, "no memory");
		goto fail;
	}
	return &b->base;
fail:
	ns_ops.free(&b->base);
	return NULL;
}

int backend_ns_tie(
    struct backend *b, const char *session, char *path, unsigned long size, struct err *e)
{
	return cgroup_tie(ns_of(b)->cgroups, session, path, size, e);
}

int backend_ns_untie(struct backend *b, const char *session)
{
	return cgroup_untie(ns_of(b)->cgroups, session);
}

struct work_store *backend_ns_work(struct backend *b)
{
	return ns_of(b)->work;
}

struct host *backend_ns_host(struct backend *b)
{
	return &ns_of(b)->host;
}
