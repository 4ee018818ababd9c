#include "lib/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/time.h>

#include "lib/clock.h"
#include "lib/util.h"

/*
 * libevent only tells what is ready; its callbacks put sources on our own two lists. A turn is: ask
 * libevent once, serve the urgent list, serve the other, run the deferred calls. So "after
 * everything else of this turn" is exact, and neither urgent nor busy descriptors can starve the
 * rest, as they do with libevent's priorities.
 *
 * A long turn does not hold a deferred call back for ever: once armed it runs after at most
 * DEFER_EVENTS_MAX callbacks or DEFER_NS_MAX.
 */
#define DEFER_EVENTS_MAX 128
#define DEFER_NS_MAX     (5 * NSEC_PER_SEC / 1000)

enum kind { KIND_FD, KIND_TIMER, KIND_SIGNAL, KIND_DEFER };

struct loop_source {
	struct loop *loop;
	enum kind kind;
	struct event *ev; /* NULL for KIND_DEFER */
	union {
		loop_fd_fn fd;
		loop_fn plain;
		loop_signal_fn signal;
	} fn;
	void *arg;
	int fd;         /* or the signal */
	int64_t due_ns; /* of a timer */
	unsigned watch, ready;
	bool urgent;
	struct list *list; /* the one it waits on, or NULL */
	struct loop_source *prev, *next;
};

struct list {
	struct loop_source *first, *last;
};

struct loop {
	struct event_base *base;
	bool stop;
	struct list urgent, normal, deferred;
	unsigned served; /* callbacks since the first deferred call was armed */
	int64_t armed_ns;
};

static void list_put(struct list *l, struct loop_source *s)
{
	s->list = l;
	s->prev = l->last;
	s->next = NULL;
	if (l->last)
		l->last->next = s;
	else
		l->first = s;
	l->last = s;
}

static void list_cut(struct loop_source *s)
{
	struct list *l = s->list;

	if (!l)
		return;
	if (s->prev)
		s->prev->next = s->next;
	else
		l->first = s->next;
	if (s->next)
		s->next->prev = s->prev;
	else
		l->last = s->prev;
	s->list = NULL;
	s->prev = s->next = NULL;
}

/* libevent would write to stderr by itself; what fails is returned as an error. */
static void quiet(int severity, const char *text)
{
	(void)severity, (void)text;
}

struct loop *loop_new(void)
{
	struct loop *l = calloc(1, sizeof *l);

	if (!l)
		return NULL;
	event_set_log_callback(quiet);
	l->base = event_base_new();
	if (!l->base) {
		free(l);
		errno = ENOMEM;
		return NULL;
	}
	return l;
}

void loop_free(struct loop *l)
{
	int saved = errno;

	if (!l)
		return;
	event_base_free(l->base);
	free(l);
	errno = saved;
}

void loop_stop(struct loop *l)
{
	l->stop = true;
}

/* Removes s from its list and calls it; s may be gone afterwards. */
static void serve(struct loop *l, struct loop_source *s)
{
	unsigned ready = s->ready;

	list_cut(s);
	s->ready = 0;
	switch (s->kind) {
	case KIND_FD:
		s->fn.fd(l, s->fd, ready, s->arg);
		break;
	case KIND_SIGNAL:
		s->fn.signal(l, s->fd, s->arg);
		break;
	case KIND_TIMER:
	case KIND_DEFER:
		s->fn.plain(l, s->arg);
		break;
	}
}

/* What is armed now, once each: a call that arms itself again waits for the next turn. */
static void run_deferred(struct loop *l)
{
	struct list now = l->deferred;

	l->deferred = (struct list){NULL, NULL};
	for (struct loop_source *s = now.first; s; s = s->next)
		s->list = &now;
	while (now.first)
		serve(l, now.first);
}

static bool deferred_overdue(const struct loop *l)
{
	return l->deferred.first &&
	       (l->served >= DEFER_EVENTS_MAX || clock_mono_ns() - l->armed_ns >= DEFER_NS_MAX);
}

static void run_list(struct loop *l, struct list *list)
{
	while (list->first && !l->stop) {
		serve(l, list->first);
		l->served++;
		if (deferred_overdue(l))
			run_deferred(l);
	}
}

int loop_run(struct loop *l)
{
	l->stop = false;
	while (!l->stop) {
		bool busy = l->urgent.first || l->normal.first || l->deferred.first;
		int r = event_base_loop(l->base, EVLOOP_ONCE | (busy ? EVLOOP_NONBLOCK : 0));

		if (r < 0)
			return -EIO;
		if (r == 1 && !busy && !l->urgent.first && !l->normal.first)
			return -EDEADLK; /* nothing to wait for: it would be for ever */
		run_list(l, &l->urgent);
		run_list(l, &l->normal);
		run_deferred(l);
	}
	return 0;
}

/* Arms the timer so that it fires delay_ns from now, rounded up to libevent's microseconds. */
static void timer_add(struct loop_source *s, int64_t delay_ns)
{
	struct timeval tv;

	delay_ns = delay_ns > INT64_MAX - 999 ? INT64_MAX : delay_ns + 999;
	tv.tv_sec = delay_ns / NSEC_PER_SEC;
	tv.tv_usec = delay_ns % NSEC_PER_SEC / 1000;
	(void)event_add(s->ev, &tv);
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
	struct loop_source *s = arg;

	(void)fd;
	if (s->kind == KIND_TIMER) {
		/* libevent reads a coarse clock, which may be some milliseconds behind or ahead */
		int64_t left = s->due_ns - clock_mono_ns();

		if (left > 0) {
			timer_add(s, left);
			return;
		}
	}
	s->ready |= (what & EV_READ ? LOOP_READ : 0) | (what & EV_WRITE ? LOOP_WRITE : 0);
	if (!s->list)
		list_put(s->urgent ? &s->loop->urgent : &s->loop->normal, s);
}

static struct loop_source *source_new(struct loop *l, enum kind kind, int fd, void *arg)
{
	struct loop_source *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->loop = l;
	s->kind = kind;
	s->fd = fd;
	s->arg = arg;
	return s;
}

static short events_of(unsigned what)
{
	return (short)(EV_PERSIST | (what & LOOP_READ ? EV_READ : 0) |
	               (what & LOOP_WRITE ? EV_WRITE : 0));
}

/* Adds s->ev, or gives up s. */
static struct loop_source *source_start(struct loop_source *s, bool add)
{
	if (!s->ev) {
		free(s);
		errno = ENOMEM;
		return NULL;
	}
	errno = 0;
	if (add && event_add(s->ev, NULL) < 0) {
		int saved = errno ? errno : EINVAL;

		event_free(s->ev);
		free(s);
		errno = saved;
		return NULL;
	}
	return s;
}

struct loop_source *loop_fd(struct loop *l, int fd, unsigned what, loop_fd_fn fn, void *arg)
{
	struct loop_source *s = source_new(l, KIND_FD, fd, arg);

	if (!s)
		return NULL;
	s->fn.fd = fn;
	s->watch = what;
	s->ev = event_new(l->base, fd, events_of(what), on_event, s);
	return source_start(s, what != 0);
}

void loop_fd_watch(struct loop_source *s, unsigned what)
{
	if (what == s->watch)
		return;
	(void)event_del(s->ev);
	s->watch = what;
	s->ready &= what; /* readiness that is no longer wanted is not told */
	if (s->ready == 0)
		list_cut(s);
	if (what == 0)
		return;
	(void)event_assign(s->ev, s->loop->base, s->fd, events_of(what), on_event, s);
	(void)event_add(s->ev, NULL);
}

void loop_fd_urgent(struct loop_source *s)
{
	s->urgent = true;
}

struct loop_source *loop_timer(struct loop *l, int64_t delay_ns, loop_fn fn, void *arg)
{
	struct loop_source *s = source_new(l, KIND_TIMER, -1, arg);

	if (!s)
		return NULL;
	s->fn.plain = fn;
	s->ev = event_new(l->base, -1, 0, on_event, s);
	if (!source_start(s, false))
		return NULL;
	loop_timer_set(s, delay_ns);
	return s;
}

void loop_timer_set(struct loop_source *s, int64_t delay_ns)
{
	(void)event_del(s->ev);
	list_cut(s); /* a firing that was not yet served is void */
	if (delay_ns < 0)
		return;
	if (__builtin_add_overflow(clock_mono_ns(), delay_ns, &s->due_ns))
		s->due_ns = INT64_MAX;
	timer_add(s, delay_ns);
}

struct loop_source *loop_on_signal(struct loop *l, int signo, loop_signal_fn fn, void *arg)
{
	struct loop_source *s = source_new(l, KIND_SIGNAL, signo, arg);

	if (!s)
		return NULL;
	s->fn.signal = fn;
	s->ev = event_new(l->base, signo, EV_SIGNAL | EV_PERSIST, on_event, s);
	return source_start(s, true);
}

struct loop_source *loop_defer(struct loop *l, loop_fn fn, void *arg)
{
	struct loop_source *s = source_new(l, KIND_DEFER, -1, arg);

	if (s)
		s->fn.plain = fn;
	return s;
}

void loop_defer_arm(struct loop_source *s)
{
	struct loop *l = s->loop;

	if (s->list)
		return;
	if (!l->deferred.first) {
		l->served = 0;
		l->armed_ns = clock_mono_ns();
	}
	list_put(&l->deferred, s);
}

void loop_defer_soon(struct loop_source *s)
{
	loop_defer_arm(s);
	s->loop->served = DEFER_EVENTS_MAX;
}

void loop_remove(struct loop_source *s)
{
	int saved = errno;

	if (!s)
		return;
	list_cut(s);
	if (s->ev)
		event_free(s->ev); /* deletes it first */
	free(s);
	errno = saved;
}
