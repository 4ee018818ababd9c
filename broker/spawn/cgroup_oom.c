/*
 * Version 1 ends one process of a cgroup that is out of memory, and whatever is left of the session
 * goes on in a state that nobody has foreseen. So we ask for news (memory.oom_control), and when
 * one of its processes was killed, the rest goes, too.
 *
 * The news comes before the kill, and to every cgroup below the one that is full: so there is a
 * while in which we look who it was.
 */
#include "broker/spawn/cgroup_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "broker/spawn/cgroup_sweep.h"
#include "lib/clock.h"
#include "lib/util.h"

#define LOOK_NS   (NSEC_PER_SEC / 500)
#define SUSPECT_S 2
#define EVENTS    64

int cgroup_oom_arm(struct cgroups *c, const char *name)
{
	char path[sizeof(((struct cgroup *)0)->name) + 32], text[32];
	cleanup_close int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), control = -1;
	int r;

	if (fd < 0)
		return -errno;
	(void)snprintf(path, sizeof(path), "%s/memory.oom_control", name);
	if ((control = openat(c->top[CGROUP_MEMORY], path, O_RDONLY | O_CLOEXEC)) < 0)
		return -errno;
	(void)snprintf(text, sizeof(text), "%d %d", fd, control);
	if ((r = cgroup_write(c->top[CGROUP_MEMORY], name, "cgroup.event_control", text)) < 0)
		return r;
	return steal_fd(&fd);
}

int cgroup_oom_watch(struct cgroups *c, struct cgroup *g)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = g};

	if (g->oom < 0)
		return 0;
	return epoll_ctl(c->events, EPOLL_CTL_ADD, g->oom, &ev) < 0 ? -errno : 0;
}

static void acquit(struct cgroups *c, struct cgroup *g)
{
	for (struct cgroup **at = &c->suspects; *at; at = &(*at)->next_suspect)
		if (*at == g) {
			*at = g->next_suspect;
			break;
		}
	g->next_suspect = NULL;
	g->oom_until = 0;
}

/* Closing it ends the subscription. */
void cgroup_oom_forget(struct cgroups *c, struct cgroup *g)
{
	acquit(c, g);
	util_close(&g->oom);
}

static bool was_killed(struct cgroups *c, const struct cgroup *g)
{
	char text[256];

	return cgroup_read(
	           c->top[CGROUP_MEMORY], g->name, "memory.oom_control", text, sizeof(text)) == 0 &&
	       cgroup_value(text, "oom_kill") > 0;
}

static void look(struct cgroups *c)
{
	int64_t now = clock_mono_ns();

	for (struct cgroup *g = c->suspects, *next; g; g = next) {
		bool killed = was_killed(c, g);

		next = g->next_suspect;
		if (killed)
			(void)cgroup_kill(g);
		if (killed || now > g->oom_until)
			acquit(c, g);
	}
}

static void suspect(struct cgroups *c, struct cgroup *g)
{
	uint64_t n;

	(void)!read(g->oom, &n, sizeof(n));
	if (g->oom_until == 0) {
		g->next_suspect = c->suspects;
		c->suspects = g;
	}
	g->oom_until = clock_mono_ns() + SUSPECT_S * NSEC_PER_SEC;
}

int cgroups_event_fd(const struct cgroups *c)
{
	return c->events;
}

void cgroups_event(struct cgroups *c)
{
	struct epoll_event ev[EVENTS];
	struct itimerspec again = {0};
	uint64_t ticks;
	int n = epoll_wait(c->events, ev, EVENTS, 0);

	for (int i = 0; i < n; i++) {
		if (ev[i].data.ptr)
			suspect(c, ev[i].data.ptr);
		else
			(void)!read(c->timer, &ticks, sizeof(ticks));
	}
	look(c);
	if (c->suspects)
		again.it_value.tv_nsec = LOOK_NS;
	(void)timerfd_settime(c->timer, 0, &again, NULL);
}
