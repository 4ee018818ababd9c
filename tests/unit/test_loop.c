#include "lib/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/util.h"

#define MS   (NSEC_PER_SEC / 1000)
#define BUSY 400 /* descriptors that are ready at once */

static char trace[4096];
static struct loop_source *sources[BUSY + 8];
static int fds[BUSY + 8];
static struct loop *loop;

static int setup(void **state)
{
	(void)state;
	trace[0] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		sources[i] = NULL;
		if (fds[i] < 0)
			return -1;
	}
	loop = loop_new();
	return loop ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		loop_remove(sources[i]);
		util_close(&fds[i]);
	}
	loop_free(loop);
	return 0;
}

static void note(const char *what)
{
	size_t n = strlen(trace);

	if (n + strlen(what) < sizeof trace)
		memcpy(trace + n, what, strlen(what) + 1);
}

static void raise_fd(int i)
{
	assert_int_equal(write(fds[i], &(uint64_t){1}, 8), 8);
}

static void lower(int fd)
{
	uint64_t v;

	assert_int_equal(read(fd, &v, 8), 8);
}

static void stop(struct loop *l, void *arg)
{
	(void)arg;
	loop_stop(l);
}

static void note_once(struct loop *l, int fd, unsigned what, void *arg)
{
	(void)l;
	assert_int_equal(what, LOOP_READ);
	lower(fd);
	note(arg);
}

static void note_deferred(struct loop *l, void *arg)
{
	(void)l;
	note(arg);
}

static void arm_and_note(struct loop *l, int fd, unsigned what, void *arg)
{
	note_once(l, fd, what, arg);
	loop_defer_arm(sources[4]);
	loop_defer_arm(sources[4]);
}

static void urgent_first_and_deferred_last(void **state)
{
	(void)state;
	sources[0] = loop_fd(loop, fds[0], LOOP_READ, arm_and_note, (void *)(uintptr_t) "a");
	sources[1] = loop_fd(loop, fds[1], LOOP_READ, arm_and_note, (void *)(uintptr_t) "b");
	sources[2] = loop_fd(loop, fds[2], LOOP_READ, note_once, (void *)(uintptr_t) "U");
	loop_fd_urgent(sources[2]);
	sources[4] = loop_defer(loop, note_deferred, (void *)(uintptr_t) "D");
	sources[5] = loop_timer(loop, 20 * MS, stop, NULL);
	for (int i = 0; i < 3; i++)
		raise_fd(i);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(trace[0], 'U');
	assert_int_equal(trace[3], 'D'); /* once, after both */
	assert_int_equal(strlen(trace), 4);
}

static void deferred_runs_before_a_stop_takes_effect(void **state)
{
	(void)state;
	sources[4] = loop_defer(loop, note_deferred, (void *)(uintptr_t) "D");
	sources[5] = loop_timer(loop, 0, stop, NULL);
	sources[0] = loop_fd(loop, fds[0], LOOP_READ, arm_and_note, (void *)(uintptr_t) "a");
	raise_fd(0);
	assert_int_equal(loop_run(loop), 0);
	assert_non_null(strchr(trace, 'a'));
	assert_non_null(strchr(trace, 'D'));
}

static void rearm_three_times(struct loop *l, void *arg)
{
	note(arg);
	if (strlen(trace) < 3)
		loop_defer_arm(sources[4]);
	else
		loop_stop(l);
}

static void a_deferred_call_may_arm_itself_for_the_next_turn(void **state)
{
	(void)state;
	sources[4] = loop_defer(loop, rearm_three_times, (void *)(uintptr_t) "D");
	loop_defer_arm(sources[4]); /* before the loop runs */
	assert_int_equal(loop_run(loop), 0);
	assert_string_equal(trace, "DDD");
}

/* ---- under load ---- */

#define WARM 8000 /* libevent asks for more events a turn as it finds more */

static unsigned served, served_at_commit;
static int64_t armed_ns, commit_ns;

static void busy(struct loop *l, int fd, unsigned what, void *arg)
{
	(void)l, (void)fd, (void)what;
	if (served++ == (arg ? 0 : WARM)) {
		armed_ns = clock_mono_ns();
		loop_defer_arm(sources[BUSY]);
	}
	if (arg)
		for (int64_t end = clock_mono_ns() + *(int64_t *)arg; clock_mono_ns() < end;)
			;
}

static void commit(struct loop *l, void *arg)
{
	(void)arg;
	served_at_commit = served;
	commit_ns = clock_mono_ns();
	loop_stop(l);
}

static void run_busy(int64_t *spin_ns)
{
	served = served_at_commit = 0;
	for (int i = 0; i < BUSY; i++) { /* never lowered: ready for ever */
		sources[i] = loop_fd(loop, fds[i], LOOP_READ, busy, spin_ns);
		raise_fd(i);
	}
	sources[BUSY] = loop_defer(loop, commit, NULL);
	assert_int_equal(loop_run(loop), 0);
}

static void load_holds_a_deferred_call_back_for_128_events_at_most(void **state)
{
	(void)state;
	run_busy(NULL);
	assert_true(served_at_commit > WARM && served_at_commit <= WARM + 128 + 1);
}

static void load_holds_a_deferred_call_back_for_5_ms_at_most(void **state)
{
	int64_t spin = 2 * MS;

	(void)state;
	run_busy(&spin);
	assert_true(served_at_commit <= 4);
	assert_true(commit_ns - armed_ns >= 4 * MS);
}

static void busy_urgent_sources_do_not_starve_the_rest(void **state)
{
	(void)state;
	sources[0] = loop_fd(loop, fds[0], LOOP_READ, busy, NULL);
	loop_fd_urgent(sources[0]);
	raise_fd(0);
	sources[BUSY] = loop_defer(loop, note_deferred, (void *)(uintptr_t) "D");
	sources[1] = loop_fd(loop, fds[1], LOOP_READ, note_once, (void *)(uintptr_t) "a");
	raise_fd(1);
	sources[2] = loop_timer(loop, 10 * MS, stop, NULL);
	assert_int_equal(loop_run(loop), 0);
	assert_non_null(strchr(trace, 'a'));
}

/* ---- removal ---- */

static void remove_all(struct loop *l, int fd, unsigned what, void *arg)
{
	(void)l, (void)fd, (void)what, (void)arg;
	note("x");
	for (int i = 0; i < 10; i++) {
		loop_remove(sources[i]); /* its own included */
		sources[i] = NULL;
	}
	loop_stop(l);
}

static void a_callback_may_remove_every_source(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++) {
		sources[i] = loop_fd(loop, fds[i], LOOP_READ, remove_all, NULL);
		raise_fd(i);
	}
	assert_int_equal(loop_run(loop), 0);
	assert_string_equal(trace, "x"); /* those that were ready too are not called any more */
}

static void pause_others(struct loop *l, int fd, unsigned what, void *arg)
{
	(void)l, (void)fd, (void)what, (void)arg;
	note("p");
	loop_fd_watch(sources[0], 0);
	loop_fd_watch(sources[1], 0);
}

static void a_paused_source_is_silent_until_it_is_watched(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		sources[i] = loop_fd(loop, fds[i], LOOP_READ, pause_others, NULL);
		raise_fd(i);
	}
	sources[2] = loop_timer(loop, 20 * MS, stop, NULL);
	assert_int_equal(loop_run(loop), 0);
	assert_string_equal(trace, "p");
	loop_fd_watch(sources[1], LOOP_READ);
	loop_timer_set(sources[2], 20 * MS);
	assert_int_equal(loop_run(loop), 0);
	assert_string_equal(trace, "pp");
}

static void note_what(struct loop *l, int fd, unsigned what, void *arg)
{
	(void)fd, (void)arg;
	note(what & LOOP_READ ? "r" : "-");
	note(what & LOOP_WRITE ? "w" : "-");
	loop_stop(l);
}

static void watches_what_was_asked_for(void **state)
{
	(void)state;
	sources[0] = loop_fd(loop, fds[0], 0, note_what, NULL);
	loop_fd_watch(sources[0], LOOP_WRITE);
	assert_int_equal(loop_run(loop), 0);
	raise_fd(0);
	loop_fd_watch(sources[0], LOOP_READ);
	assert_int_equal(loop_run(loop), 0);
	loop_fd_watch(sources[0], LOOP_READ | LOOP_WRITE);
	assert_int_equal(loop_run(loop), 0);
	assert_string_equal(trace, "-wr-rw");
}

/* ---- timers and signals ---- */

static void timers_fire_once_in_order_and_never_early(void **state)
{
	int64_t begin = clock_mono_ns();

	(void)state;
	sources[0] = loop_timer(loop, 15 * MS, note_deferred, (void *)(uintptr_t) "b");
	sources[1] = loop_timer(loop, 5 * MS, note_deferred, (void *)(uintptr_t) "a");
	sources[2] = loop_timer(loop, 40 * MS, stop, NULL);
	sources[3] = loop_timer(loop, -1, note_deferred, (void *)(uintptr_t) "never");
	sources[4] = loop_timer(loop, 1 * MS, note_deferred, (void *)(uintptr_t) "never");
	loop_timer_set(sources[4], -1);
	assert_int_equal(loop_run(loop), 0);
	assert_true(clock_mono_ns() - begin >= 40 * MS);
	assert_string_equal(trace, "ab");
	loop_timer_set(sources[1], 0);
	loop_timer_set(sources[2], 10 * MS);
	assert_int_equal(loop_run(loop), 0);
	assert_string_equal(trace, "aba");
}

/* libevent's own clock is a coarse one. */
static void no_timer_is_early_by_a_tick(void **state)
{
	(void)state;
	sources[0] = loop_timer(loop, -1, stop, NULL);
	for (int i = 0; i < 60; i++) {
		int64_t begin = clock_mono_ns(), delay = (1 + i % 5) * MS;

		loop_timer_set(sources[0], delay);
		assert_int_equal(loop_run(loop), 0);
		assert_true(clock_mono_ns() - begin >= delay);
	}
}

static void on_signal(struct loop *l, int signo, void *arg)
{
	(void)arg;
	assert_int_equal(signo, SIGUSR1);
	note("s");
	loop_stop(l);
}

static void signals_are_events(void **state)
{
	(void)state;
	sources[0] = loop_on_signal(loop, SIGUSR1, on_signal, NULL);
	assert_non_null(sources[0]);
	assert_int_equal(raise(SIGUSR1), 0);
	assert_string_equal(trace, ""); /* not in the handler */
	assert_int_equal(loop_run(loop), 0);
	assert_string_equal(trace, "s");
}

static void waiting_for_nothing_is_an_error(void **state)
{
	(void)state;
	assert_int_equal(loop_run(loop), -EDEADLK);
	loop_remove(NULL);
	loop_free(NULL);
}

static void a_bad_descriptor_is_refused(void **state)
{
	cleanup_close int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_null(
	    loop_fd(loop, fd, LOOP_READ, note_what, NULL)); /* epoll takes no regular file */
	assert_int_equal(errno, EPERM);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(urgent_first_and_deferred_last),
	    T(deferred_runs_before_a_stop_takes_effect),
	    T(a_deferred_call_may_arm_itself_for_the_next_turn),
	    T(load_holds_a_deferred_call_back_for_128_events_at_most),
	    T(load_holds_a_deferred_call_back_for_5_ms_at_most),
	    T(busy_urgent_sources_do_not_starve_the_rest),
	    T(a_callback_may_remove_every_source),
	    T(a_paused_source_is_silent_until_it_is_watched),
	    T(watches_what_was_asked_for),
	    T(timers_fire_once_in_order_and_never_early),
	    T(no_timer_is_early_by_a_tick),
	    T(signals_are_events),
	    T(waiting_for_nothing_is_an_error),
	    T(a_bad_descriptor_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
