/* A dead session's files: spawn starts postern-walk, and waits for it so long and no longer. */
#include "broker/spawn/serve_internal.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/chan.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/util.h"

#define WALK_NS (10 * NSEC_PER_SEC) /* by then what is told is told */

static void forget(struct live *v)
{
	loop_remove(v->walk_source);
	loop_remove(v->walk_timer);
	v->walk_source = v->walk_timer = NULL;
}

void walk_kill(int *pidfd)
{
	siginfo_t si = {0};

	(void)syscall(SYS_pidfd_send_signal, *pidfd, SIGKILL, NULL, 0);
	/* it leads a group, and who is beside it may be stopped; its pid is its own until the end
	 */
	if (waitid(P_PIDFD, (id_t)*pidfd, &si, WEXITED | WNOWAIT) == 0 && si.si_pid > 1)
		(void)kill(-si.si_pid, SIGKILL);
	(void)waitid(P_PIDFD, (id_t)*pidfd, NULL, WEXITED);
	util_close(pidfd);
}

void walk_stop(struct live *v)
{
	forget(v);
	if (v->walk < 0)
		return;
	/* it holds nothing that could make its death wait: no socket of a sandbox, no other disk */
	walk_kill(&v->walk);
}

static void on_walked(struct loop *l, int fd, unsigned what, void *arg)
{
	struct live *v = arg;

	(void)l;
	(void)fd;
	(void)what;
	serve_ended(v->serve, v, v->reason);
}

static void on_late(struct loop *l, void *arg)
{
	struct live *v = arg;

	(void)l;
	log_warn("the files of session %s: not read in time", v->id);
	serve_ended(v->serve, v, v->reason);
}

bool walk_begin(struct serve *s, struct live *v, const char *reason)
{
	struct backend_layers layers;
	struct err e = ERR_INIT;
	int pair[2];

	if (!s->c->walk_start || !s->core.chan || !s->ops->layers ||
	    !s->ops->layers(v->sandbox, &layers) || fd_seqpacket_pair(pair) < 0)
		return false;
	v->reason = reason;
	v->walk = s->c->walk_start(s->c->arg, pair[1], &layers, &e);
	(void)close(pair[1]);
	/* the core hears of it also when it could not be started: then that is what is recorded */
	serve_tell(s, "walk.up", 0, json_pack("{s:s}", "session", v->id), &pair[0], 1);
	(void)close(pair[0]);
	if (v->walk < 0) {
		log_error("postern-walk: %s", err_text(&e));
		return false;
	}
	v->walk_source = loop_fd(s->loop, v->walk, LOOP_READ, on_walked, v);
	v->walk_timer = loop_timer(s->loop, WALK_NS, on_late, v);
	return v->walk_source && v->walk_timer;
}
