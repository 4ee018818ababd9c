/* Counts our own processes that serve one session against its tenant. */
#include "broker/spawn/serve_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "broker/spawn/cgroup_sweep.h"
#include "lib/log.h"
#include "lib/msg.h"

#define STATUS_MAX 4096

void charge(struct serve *s, struct live *v, pid_t pid)
{
	int r = s->ops->charge && v->sandbox ? s->ops->charge(v->sandbox, pid) : 0;

	if (r < 0 && r != -ESRCH) /* one that is gone costs nobody anything */
		log_warn("session %s: process %d does not count against its tenant: %s", v->id,
		    (int)pid, strerror(-r));
}

/* Is this a worker of the gateway? The core says so, and may be wrong: nobody else is moved. */
static bool is_worker(const struct serve_config *c, pid_t pid)
{
	char text[STATUS_MAX], name[32];
	unsigned uid[4];
	const char *at;

	(void)snprintf(name, sizeof name, "%d/status", (int)pid);
	/* proc(5): the real, effective, saved and file system's uid */
	if (pid <= 0 || cgroup_read(AT_FDCWD, "/proc", name, text, sizeof text) < 0 ||
	    !(at = strstr(text, "\nUid:\t")) ||
	    sscanf(at + 6, "%u %u %u %u", &uid[0], &uid[1], &uid[2], &uid[3]) != 4)
		return false;
	for (size_t i = 0; i < 4; i++)
		if (uid[i] - c->workers >= c->nworkers)
			return false;
	return true;
}

void serve_charge(struct serve *s, struct msg *m)
{
	struct live *v = live_find(s->live, msg_str(m, "session"));
	pid_t pid = (pid_t)msg_int(m, "pid", 0);

	if (!v || !v->sandbox)
		return;
	if (is_worker(s->c, pid))
		charge(s, v, pid);
	else
		log_warn("session %s: process %d is no worker of the gateway", v->id, (int)pid);
}
