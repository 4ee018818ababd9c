#include "broker/core/handlers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/core.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/msg.h"
#include "lib/str.h"
#include "lib/util.h"

/*
 * The supervisor: links, listening sockets, kept descriptors, and the end.
 */

static int on_link(struct peer *p, struct msg *m, struct err *e)
{
	(void)e;
	core_link(p->core, msg_str(m, "role"), msg_take_fd(m, 0));
	return 0;
}

static int on_listen(struct peer *p, struct msg *m, struct err *e)
{
	return core_listen(p->core, msg_str(m, "kind"), msg_take_fd(m, 0), e);
}

static int on_restore(struct peer *p, struct msg *m, struct err *e)
{
	struct core_restored *r;

	if (p->core->ready)
		return err_set(e, -EPROTO, "store.restore: after store.done");
	r = calloc(1, sizeof *r);
	if (!r)
		return err_set(e, -ENOMEM, "no memory");
	(void)str_copy(r->name, sizeof r->name, msg_str(m, "name"));
	r->fd = msg_take_fd(m, 0);
	r->next = p->core->restored;
	p->core->restored = r;
	return 0;
}

static int on_restored(struct peer *p, struct msg *m, struct err *e)
{
	(void)m;
	if (p->core->ready)
		return err_set(e, -EPROTO, "store.done: twice");
	core_restore(p->core);
	return 0;
}

static int on_reload(struct peer *p, struct msg *m, struct err *e)
{
	struct err why = ERR_INIT;

	(void)m;
	(void)e;
	if (core_reload(p->core, "SIGHUP", &why) < 0)
		log_error("the configuration stays as it was: %s", err_text(&why));
	return 0;
}

static int on_shutdown(struct peer *p, struct msg *m, struct err *e)
{
	(void)m;
	(void)e;
	core_stop(p->core, 0);
	return 0;
}

static int on_status(struct peer *p, struct msg *m, struct err *e)
{
	(void)e;
	status_told(p->core, m->id, msg_obj(m, "processes"));
	return 0;
}

/* Nobody outlives the supervisor. */
static void gone(struct peer *p)
{
	p->core->supervisor = NULL;
	p->core->status = 1;
	core_quit(p->core);
}

static const struct peer_handler handlers[] = {
    {"link", on_link},
    {"listen", on_listen},
    {"store.restore", on_restore},
    {"store.done", on_restored},
    {"reload", on_reload},
    {"shutdown", on_shutdown},
    {"status.tell", on_status},
    {NULL, NULL},
};

const struct peer_class class_supervisor = {
    .who = "supervisor", .role = MSG_SUPERVISOR, .handlers = handlers, .gone = gone};
