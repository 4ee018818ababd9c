#include "broker/core/handlers.h"

#include <errno.h>
#include <sys/ioctl.h>

#include "broker/core/conn.h"
#include "broker/core/exec.h"
#include "lib/chan.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/msg.h"

/*
 * postern-run, which sshd's ForceCommand starts as the logged-in Unix user. Its login is the one
 * whose cgroup it was in when it connected (accept.c); without one it may ask once, and hears no.
 *
 * Everybody on the host may connect, and a message can be as long as a command: of strangers little
 * is read in a time, or the core would do nothing else.
 */
#define STRANGERS_NS  (20 * NSEC_PER_SEC / 1000)
#define STRANGERS_MAX 64u   /* in that time: pieces of */
#define STRANGERS_LEN 4096u /* bytes */

static bool before(struct peer *p)
{
	struct core *c = p->core;
	int64_t now = clock_mono_ns();
	int waiting = 0;

	if (p->owner)
		return true;
	if (now - c->strange_ns >= STRANGERS_NS) {
		c->strange_ns = now;
		c->strange = 0;
	}
	if (c->strange >= STRANGERS_MAX)
		return false;
	(void)ioctl(chan_fd(p->chan), FIONREAD, &waiting);
	c->strange += 1 + (unsigned)waiting / STRANGERS_LEN;
	return true;
}

static int nobodys(const char *type, struct err *e)
{
	return err_set(e, -EPERM, "%s: of a process that does not belong to a login", type);
}

static int on_exec(struct peer *p, struct msg *m, struct err *e)
{
	if (p->owner)
		return exec_ask(p->owner, p, m, e);
	(void)peer_send(p, "channel.denied", m->id,
	    json_pack("{s:I, s:s}", "channel", (json_int_t)msg_int(m, "channel", 0), "reason",
	        "this process does not belong to a login that Postern has let in"));
	peer_close(p);
	return 0;
}

static int on_signal(struct peer *p, struct msg *m, struct err *e)
{
	return p->owner ? exec_signal(p->owner, p, m) : nobodys("channel.signal", e);
}

static int on_ended(struct peer *p, struct msg *m, struct err *e)
{
	return p->owner ? exec_ended(p->owner, p, m) : nobodys("channel.ended", e);
}

static void gone(struct peer *p)
{
	if (p->owner)
		exec_peer_gone(p->owner, p);
}

static const struct peer_handler handlers[] = {
    {"channel.exec", on_exec},
    {"channel.signal", on_signal},
    {"channel.ended", on_ended},
    {NULL, NULL},
};

const struct peer_class class_run = {
    .who = "postern-run", .role = MSG_RUN, .handlers = handlers, .before = before, .gone = gone};
