#include "gateway/ssh/worker.h"

#include <errno.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "gateway/ssh/args.h"
#include "gateway/ssh/conn.h"
#include "gateway/ssh/server.h"
#include "lib/chan.h"
#include "lib/confine.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"

#include "filters.h"

/* 256 channels with four descriptors each, and a few of our own. */
#define WORKER_FILES  1088
#define WORKER_MEMORY (UINT64_C(1) << 30)

/* Everything irreversible. After this there is no path, no socket(2), no other process. */
static int confine(const struct gateway_args *a, struct err *e)
{
	static const int keep[] = {GATEWAY_LINK_FD};
	static const struct confine_limits limits = {
	    .open_files = WORKER_FILES,
#ifndef POSTERN_SAN
	    .memory = WORKER_MEMORY,
#endif
	    .file_bytes = UINT64_MAX, /* stderr may be a file */
	};
	const char *step = "";
	int abi = 0, r;

	if ((r = confine_basics()) < 0)
		step = "basics";
	else if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return err_set(e, -errno, "confinement: SIGPIPE");
	else if ((r = confine_fds(keep, ARRAY_LEN(keep))) < 0)
		step = "descriptors";
	else if ((r = confine_limits(&limits)) < 0)
		step = "limits";
	else if ((r = confine_caps(UINT64_C(1) << CAP_SETUID | UINT64_C(1) << CAP_SETGID)) < 0)
		step = "capabilities";
	else if ((r = confine_ids((uid_t)a->uid, (gid_t)a->gid)) < 0)
		step = "ids";
	else if ((r = confine_caps(0)) < 0)
		step = "capabilities";
	else if ((r = confine_landlock(NULL, 0, &abi)) < 0 && r != -ENOSYS && r != -EOPNOTSUPP)
		step = "landlock";
	/* nobody outlives the supervisor; a change of uid would reset it (prctl(2)) */
	else if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return err_set(e, -errno, "confinement: PR_SET_PDEATHSIG");
	else if ((r = confine_seccomp(filter_worker, FILTER_WORKER_LEN)) < 0)
		step = "seccomp";
	else
		return 0;
	return err_set(e, r, "confinement (%s): %s", step, strerrordesc_np(-r));
}

/* Waits as a spare: worker.core, then worker.go. Returns the client's socket; -1: not needed any
 * more. */
static int wait_for_client(struct conn *c, struct chan *listener)
{
	struct err e = ERR_INIT;

	for (;;) {
		struct msg m = MSG_INIT;
		struct pollfd p = {chan_fd(listener), POLLIN, 0};
		int r = chan_recv(listener, &m, &e), fd = -1;

		if (r == -EAGAIN) {
			if (poll(&p, 1, -1) < 0 && errno != EINTR)
				return -1;
			continue;
		}
		if (r <= 0)
			return -1;
		if (msg_is(&m, "worker.core") && !c->core) {
			(void)str_copy(c->id, sizeof c->id, msg_str(&m, "conn"));
			c->core = chan_new(msg_take_fd(&m, 0), MSG_WORKER, MSG_CORE);
		} else if (msg_is(&m, "worker.go") && c->core) {
			(void)str_copy(c->peer, sizeof c->peer, msg_str(&m, "peer"));
			(void)str_copy(c->local, sizeof c->local, msg_str(&m, "local"));
			fd = msg_take_fd(&m, 0);
		}
		msg_done(&m);
		if (fd >= 0)
			return fd;
	}
}

int worker_main(const struct gateway_args *a)
{
	struct gateway_config config;
	struct err e = ERR_INIT;
	struct chan *listener;
	struct conn *c = calloc(1, sizeof *c);
	int fd;

	if (!c || a->uid < 0 || a->gid < 0 || a->config < 0 || a->hostkeys < 0) {
		log_error("worker: needs uid, gid, config and hostkeys");
		return WORKER_CRASH;
	}
	c->config = &config;
	if (gateway_config_load(a->config, &config, &e) < 0 ||
	    server_new(a->hostkeys, config.algorithms, &c->bind, &e) < 0 ||
	    server_warm_up(c->bind, &e) < 0 || confine(a, &e) < 0) {
		log_error("worker: %s", err_text(&e));
		return WORKER_CRASH;
	}
	listener = chan_new(GATEWAY_LINK_FD, MSG_WORKER, MSG_LISTENER);
	fd = listener ? wait_for_client(c, listener) : -1;
	chan_free(listener); /* from here on the core's link is what keeps us */
	if (fd < 0)
		return WORKER_UNUSED;
	return conn_run(c, fd);
}
