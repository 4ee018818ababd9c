/* Knocks at a credential listener: spawn starts the session's lease process. */
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

bool lease_gone(struct live *v)
{
	siginfo_t info = {0};

	if (v->lease < 0)
		return true;
	if (waitid(P_PIDFD, (id_t)v->lease, &info, WEXITED | WNOHANG) == 0 && info.si_pid == 0)
		return false;
	util_close(&v->lease);
	return true;
}

void lease_end(struct live *v)
{
	loop_remove(v->lease_source);
	v->lease_source = NULL;
	if (v->lease >= 0)
		(void)syscall(SYS_pidfd_send_signal, v->lease, SIGKILL, NULL, 0);
}

static void on_lease_exit(struct loop *l, int fd, unsigned what, void *arg)
{
	struct live *v = arg;

	(void)l;
	(void)fd;
	(void)what;
	loop_remove(v->lease_source);
	v->lease_source = NULL;
	(void)lease_gone(v);
	if (v->knock)
		loop_fd_watch(v->knock, LOOP_READ);
}

/* Somebody in the sandbox connects to its credential listener and nobody serves it. */
void lease_knock(struct loop *l, int fd, unsigned what, void *arg)
{
	struct live *v = arg;
	struct serve *s = v->serve;
	struct err e = ERR_INIT;
	pid_t pid = 0;
	int pair[2];

	(void)what;
	loop_fd_watch(v->knock, 0);
	if (!s->core.chan || fd_seqpacket_pair(pair) < 0)
		return;
	v->lease = s->c->lease_start(s->c->arg, pair[1], fd, &pid, &e);
	(void)close(pair[1]);
	if (v->lease < 0 ||
	    !(v->lease_source = loop_fd(l, v->lease, LOOP_READ, on_lease_exit, v))) {
		log_error("postern-lease: %s", err_text(&e));
		util_close(&v->lease);
	} else {
		charge(s, v, pid);
		serve_tell(s, "lease.up", 0, json_pack("{s:s}", "session", v->id), &pair[0], 1);
	}
	(void)close(pair[0]);
}
