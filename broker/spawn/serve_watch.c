/* A session's watch process: its link for the core, and its end, which is the session's. */
#include "broker/spawn/serve_internal.h"

#include <sys/socket.h>

#include "lib/loop.h"

#define LAST_NS NSEC_PER_SEC /* by then what is told is told */

void watch_forget(struct live *v)
{
	loop_remove(v->watch_source);
	loop_remove(v->watch_timer);
	v->watch_source = v->watch_timer = NULL;
}

/* With it the listener has gone, so nothing of the sandbox can run a program any more (ENOSYS): its
 * end is only hastened. */
static void on_watch_exit(struct loop *l, int fd, unsigned what, void *arg)
{
	struct live *v = arg;

	(void)l;
	(void)fd;
	(void)what;
	watch_forget(v);
	if (!v->exit) { /* init had gone before */
		serve_over(v);
		return;
	}
	v->watch_died = true;
	v->serve->ops->kill(v->sandbox);
}

static void on_late(struct loop *l, void *arg)
{
	struct live *v = arg;

	(void)l;
	watch_forget(v);
	serve_over(v);
}

bool watch_begin(struct serve *s, struct live *v)
{
	struct backend_watch w;

	if (!s->ops->watch || !s->ops->watch(v->sandbox, &w))
		return true;
	v->watch_source = loop_fd(s->loop, w.pidfd, LOOP_READ, on_watch_exit, v);
	v->watch_timer = loop_timer(s->loop, -1, on_late, v);
	return v->watch_source && v->watch_timer;
}

void watch_tell(struct serve *s, const struct live *v)
{
	struct backend_watch w;

	if (v->sandbox && s->ops->watch && s->ops->watch(v->sandbox, &w))
		serve_tell(s, "watch.up", 0, json_pack("{s:s}", "session", v->id), &w.link, 1);
}

bool watch_finish(struct live *v)
{
	struct backend_watch w;

	if (!v->watch_source || !v->serve->ops->watch(v->sandbox, &w))
		return false;
	(void)shutdown(w.control, SHUT_RDWR);
	loop_timer_set(v->watch_timer, LAST_NS);
	return true;
}
