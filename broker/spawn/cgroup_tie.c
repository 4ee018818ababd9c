#include "broker/spawn/cgroup_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/spawn/cgroup_sweep.h"
#include "lib/err.h"

int cgroup_tie(struct cgroups *c, const char *session, char *path, size_t size, struct err *e)
{
	char name[sizeof CGROUP_TIES + 1 + CGROUP_ID_MAX], procs[sizeof name + 16];
	int fd;

	if ((size_t)snprintf(name, sizeof name, "%s/%s", CGROUP_TIES, session) >= sizeof name ||
	    (size_t)snprintf(path, size, "%s/%s", c->path, name) >= size)
		return err_set(e, -ENAMETOOLONG, "session name");
	if ((mkdirat(c->top[CGROUP_UNIFIED], CGROUP_TIES, 0755) < 0 && errno != EEXIST) ||
	    mkdirat(c->top[CGROUP_UNIFIED], name, 0755) < 0)
		return err_set(e, -errno, "%s: %m", name);
	(void)snprintf(procs, sizeof procs, "%s/cgroup.procs", name);
	fd = openat(c->top[CGROUP_UNIFIED], procs, O_WRONLY | O_CLOEXEC);
	return fd < 0 ? err_set(e, -errno, "%s: %m", procs) : fd;
}

int cgroup_untie(struct cgroups *c, const char *session)
{
	char name[sizeof CGROUP_TIES + 1 + CGROUP_ID_MAX];

	if ((size_t)snprintf(name, sizeof name, "%s/%s", CGROUP_TIES, session) >= sizeof name)
		return 0;
	/* what sshd still has there: its privileged process leaves before it closes a session in
	 * order */
	(void)cgroup_write(c->top[CGROUP_UNIFIED], name, "cgroup.kill", "1");
	return unlinkat(c->top[CGROUP_UNIFIED], name, AT_REMOVEDIR) < 0 && errno == EBUSY ? -EAGAIN
	                                                                                  : 0;
}
