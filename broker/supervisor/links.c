#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "broker/supervisor/fdstore.h"
#include "broker/supervisor/supervisor.h"
#include "lib/chan.h"
#include "lib/fdio.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/msg.h"
#include "lib/util.h"

/* A new pair between the core and another child; both must run. The old ends read as closed as soon
 * as the one that died is gone and the other takes the new one. */
static void pair(struct supervisor *s, struct child *other)
{
	struct child *core = &s->child[CHILD_CORE];
	cleanup_close int a = -1;
	cleanup_close int b = -1;
	int fds[2], r;

	if (!core->link || !other->link)
		return;
	if ((r = fd_seqpacket_pair(fds)) < 0) {
		log_error("no link between core and %s: %s", child_name(other->role), strerror(-r));
		return;
	}
	a = fds[0];
	b = fds[1];
	child_send(core, "link", 0, json_pack("{s:s}", "role", child_name(other->role)), a);
	child_send(other, "core.link", 0, NULL, b);
}

static void give_listener(struct child *c, const char *kind, int fd)
{
	if (fd >= 0)
		child_send(c, "listen", 0, json_pack("{s:s}", "kind", kind), fd);
}

/* As many as the socket takes: descriptors that wait in a chan's queue are bounded. */
static void restore(struct supervisor *s)
{
	struct child *core = &s->child[CHILD_CORE];
	const char *name;
	int fd;

	while (s->restoring && core->link && !chan_wants_write(core->link)) {
		if (fdstore_next(s->store, &name, &fd)) {
			child_send(core, "store.restore", 0, json_pack("{s:s}", "name", name), fd);
		} else {
			s->restoring = false;
			child_send(core, "store.done", 0, NULL, -1);
		}
	}
}

void links_started(struct child *c)
{
	struct supervisor *s = c->sup;

	switch (c->role) {
	case CHILD_CORE:
		for (size_t i = 0; i < CHILD_ROLES; i++)
			if (i != CHILD_CORE)
				pair(s, &s->child[i]);
		give_listener(c, "ctl", s->ctl_fd);
		give_listener(c, "pam", s->pam_fd);
		give_listener(c, "run", s->run_fd);
		fdstore_rewind(s->store);
		s->restoring = true;
		restore(s);
		break;
	case CHILD_LISTENER:
		pair(s, c);
		give_listener(c, "ssh", s->listen_fd);
		workers_fill(s->workers);
		break;
	default:
		pair(s, c);
	}
}

void links_flushed(struct child *c)
{
	if (c->role == CHILD_CORE)
		restore(c->sup);
}

void links_core_gone(struct supervisor *s)
{
	s->restoring = false;
	if (fdstore_count(s->store) > 0)
		log_warn(
		    "the core is away; %zu descriptors are kept for it", fdstore_count(s->store));
	loop_timer_set(s->store_timer, STORE_PATIENCE_NS);
}

void links_core_ready(struct supervisor *s)
{
	loop_timer_set(s->store_timer, -1);
}

void links_store(struct supervisor *s, struct msg *m)
{
	const char *name = msg_str(m, "name");
	int r;

	if (msg_is(m, "store.drop"))
		r = fdstore_drop(s->store, name);
	else
		r = fdstore_put(s->store, name, msg_take_fd(m, 0));
	if (r < 0)
		log_warn("the core's %s: %s", m->type->name, strerror(-r));
}
