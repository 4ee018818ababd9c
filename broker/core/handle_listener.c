#include "broker/core/handlers.h"

#include <errno.h>
#include <string.h>

#include "broker/core/conn.h"
#include "lib/chan.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/log.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"

/*
 * The listener: who has connected. It makes a worker's one socketpair with us, and its word on the
 * peer's address comes before anything that the worker says.
 */

static int on_pair(struct peer *p, struct msg *m, struct err *e)
{
	struct core *c = p->core;
	int pair[2], r;
	struct conn *k;

	if (conn_count(c, NULL) >= CORE_CONNS_MAX)
		return err_set(
		    e, -ENOBUFS, "worker.pair: more than %d connections", CORE_CONNS_MAX);
	if ((r = fd_seqpacket_pair(pair)) < 0) {
		log_error("no socket for a worker: %s", strerror(-r));
		return 0;
	}
	k = conn_new(c, ROUTE_SSH, NULL);
	cleanup_close int theirs = pair[1];
	if (!k) {
		util_close(&pair[0]);
		return 0;
	}
	k->peer = peer_new(c, pair[0], &class_worker, k);
	if (!k->peer) {
		conn_free(k);
		return 0;
	}
	k->worker = (pid_t)msg_int(m, "pid", 0);
	conn_set_phase(k);
	core_keep(c, "conn", k->id, chan_fd(k->peer->chan));
	(void)peer_send_fds(p, "worker.paired", m->id,
	    json_pack("{s:I, s:s}", "slot", (json_int_t)msg_int(m, "slot", 0), "conn", k->id),
	    &theirs, 1);
	return 0;
}

static int on_accepted(struct peer *p, struct msg *m, struct err *e)
{
	struct conn *k = conn_find(p->core, msg_str(m, "conn"));

	if (!k) /* its worker has died meanwhile */
		return 0;
	if (k->route != ROUTE_SSH || conn_event_apply(k, CONN_ACCEPTED) < 0)
		return err_set(e, -EPROTO, "conn.accepted: %s is in use", k->id);
	(void)str_copy(k->remote, sizeof k->remote, msg_str(m, "peer"));
	(void)str_copy(k->local, sizeof k->local, msg_str(m, "local"));
	/* one of too many: its end is not recorded either */
	k->unsaid = note(p->core, "conn.accepted", NULL, conn_subject(k),
	                json_pack("{s:s}", "local", k->local)) > 0;
	conn_save(k);
	return 0;
}

static int on_refused(struct peer *p, struct msg *m, struct err *e)
{
	(void)e;
	(void)note(p->core, "conn.refused", NULL, json_pack("{s:s}", "peer", msg_str(m, "peer")),
	    json_pack("{s:s, s:I}", "reason", msg_str(m, "reason"), "count",
	        (json_int_t)msg_int(m, "count", 1)));
	return 0;
}

static void gone(struct peer *p)
{
	if (p->core->listener == p)
		p->core->listener = NULL;
}

static const struct peer_handler handlers[] = {
    {"worker.pair", on_pair},
    {"conn.accepted", on_accepted},
    {"conn.refused", on_refused},
    {NULL, NULL},
};

const struct peer_class class_listener = {
    .who = "listener", .role = MSG_LISTENER, .urgent = true, .handlers = handlers, .gone = gone};
