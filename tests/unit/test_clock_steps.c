#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <time.h>
#include "broker/audit/logs.h"
#include "broker/audit/record_store.h"
#include "broker/audit/verify.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "tests/support/core_rig.h"
#include "tests/support/writer.h"

/*
 * Clocks that jump: the wall clock forward and back, to 2100 and to before 1970; and a machine that
 * sleeps, whose boot clock goes on while the monotonic one stands still (clock_gettime(2)). This
 * program has a clock_gettime() of its own, which libevent calls as well.
 */

#define DAY   (24 * 3600 * NSEC_PER_SEC)
#define YEAR  (365 * DAY)
#define LOG_1 "alpha"

static int64_t boot_ahead, mono_ahead;

int clock_gettime(clockid_t id, struct timespec *t)
{
	int r = (int)syscall(SYS_clock_gettime, id, t);
	int64_t ahead = id == CLOCK_BOOTTIME                                    ? boot_ahead
	                : id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_COARSE ? mono_ahead
	                                                                        : 0;

	t->tv_sec += ahead / NSEC_PER_SEC;
	return r;
}

/* ---- the log ---- */

static char dir[64];
static int dir_fd;
static struct writer w;
static uint64_t seed = 88172645463325252u;

static void start(void)
{
	struct err e = ERR_INIT;

	if (writer_open(&w, dir_fd, &e) < 0)
		fail_msg("%s", err_text(&e));
}

static int setup(void **state)
{
	(void)state;
	log_open("test", LOG_EMERG);
	(void)snprintf(dir, sizeof dir, "/tmp/clock-steps-XXXXXX");
	assert_non_null(mkdtemp(dir));
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	start();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	clock_override(0);
	writer_close(&w);
	(void)unlinkat(dir_fd, "data.mdb", 0);
	(void)unlinkat(dir_fd, "lock.mdb", 0);
	(void)unlinkat(dir_fd, "reserve", 0);
	(void)close(dir_fd);
	return rmdir(dir);
}

static void append(void)
{
	assert_int_equal(writer_append(&w, 20, &seed), 0);
	assert_int_equal(writer_flush(&w), 0);
	assert_int_equal(w.refused, 0);
}

static int clock_ok(void)
{
	return w.log->ops->clock_ok(w.log, NULL);
}

static void verifies(void)
{
	struct err e = ERR_INIT;
	struct verify v;

	if (verify_store(w.store, &v, &e) < 0)
		fail_msg("%s", err_text(&e));
}

/* The newest record of a tenant's log, its time's first characters. */
static void newest_is_of(const char *time)
{
	cleanup_buf struct buf b;
	struct log_info info;
	struct log_head head;
	char want[48];

	buf_init(&b, RECORD_MAX);
	assert_int_equal(logs_find(w.store, LOG_1, &info), 0);
	assert_int_equal(logs_head(w.store, info.number, &head, NULL), 0);
	assert_int_equal(logs_get(w.store, info.number, head.seq, &b), 0);
	buf_put_u8(&b, 0);
	(void)snprintf(want, sizeof want, "\"time\":\"%s", time);
	if (!strstr((const char *)b.data, want))
		fail_msg("%s is not of %s", (const char *)b.data, time);
}

static void a_step_forward_is_taken_and_one_back_is_not(void **state)
{
	int64_t before;

	(void)state;
	append();
	clock_override(2 * 3600 * NSEC_PER_SEC);
	assert_int_equal(clock_ok(), 0);
	append();
	before = w.log->ops->now_ns(w.log);
	clock_override(0);
	assert_int_equal(clock_ok(), -ETIME);
	/* what is recorded all the same is of the time that was */
	append();
	assert_true(w.log->ops->now_ns(w.log) >= before - NSEC_PER_SEC);
	verifies();
	/* forward again: nobody has to accept that */
	clock_override(3 * 3600 * NSEC_PER_SEC);
	assert_int_equal(clock_ok(), 0);
	append();
	verifies();
}

static void the_tolerance_is_sixty_seconds(void **state)
{
	(void)state;
	append();
	clock_override(-(RECORD_TOLERANCE_S - 2) * NSEC_PER_SEC);
	assert_int_equal(clock_ok(), 0);
	clock_override(-(RECORD_TOLERANCE_S + 2) * NSEC_PER_SEC);
	assert_int_equal(clock_ok(), -ETIME);
}

static void the_year_2100_is_recorded_and_can_be_left_again(void **state)
{
	int64_t ahead = (INT64_C(4102444800) + 3600) * NSEC_PER_SEC - clock_wall_ns();

	(void)state;
	append();
	clock_override(ahead);
	append();
	newest_is_of("2100-01-01T01:");
	clock_override(0);
	assert_int_equal(clock_ok(), -ETIME);
	writer_close(&w);
	start();
	assert_int_equal(clock_ok(), -ETIME);
	assert_int_equal(w.log->ops->clock_accept(w.log), 0);
	assert_int_equal(clock_ok(), 0);
	append();
	verifies();
	assert_true(w.log->ops->now_ns(w.log) < clock_wall_ns() + NSEC_PER_SEC);
}

#define IN_1960 (-INT64_C(315619200) * NSEC_PER_SEC - clock_wall_ns())

static void a_clock_before_1970_is_not_accepted(void **state)
{
	(void)state;
	append();
	clock_override(IN_1960);
	assert_int_equal(clock_ok(), -ETIME);
	assert_int_equal(w.log->ops->clock_accept(w.log), -ERANGE);
	assert_int_equal(clock_ok(), -ETIME);
	append();
	verifies();
	writer_close(&w);
	start();
	assert_int_equal(clock_ok(), -ETIME);
	clock_override(0);
	assert_int_equal(clock_ok(), 0);
	append();
	verifies();
}

static void a_log_that_begins_before_1970_begins_in_1970(void **state)
{
	(void)state;
	clock_override(IN_1960);
	assert_int_equal(clock_ok(), -ETIME);
	append();
	newest_is_of("1970-01-01T00:00:00");
	verifies();
	writer_close(&w);
	start();
	clock_override(0);
	assert_int_equal(clock_ok(), 0);
	append();
	verifies();
}

/* ---- the core ---- */

static int core_setup(void **state)
{
	*state = core_rig_new(false, NULL);
	return 0;
}

static int core_teardown(void **state)
{
	core_rig_free(*state);
	boot_ahead = mono_ahead = 0;
	return 0;
}

static void a_grant_runs_out_while_the_machine_sleeps(void **state)
{
	struct rig *r = *state;
	struct rig_end *agent = rig_agent(r); /* for 300 seconds */
	struct msg m = MSG_INIT;

	boot_ahead = 200 * NSEC_PER_SEC;
	mono_ahead = 40 * NSEC_PER_SEC;
	rig_turns(r);
	rig_expect_nothing(agent);
	/* asleep for an hour, awake for forty seconds more */
	boot_ahead = 3600 * NSEC_PER_SEC;
	mono_ahead = 80 * NSEC_PER_SEC;
	rig_expect(agent, "conn.end", &m);
	assert_non_null(strstr(msg_str(&m, "reason"), "expired"));
	msg_done(&m);
	rig_expect_closed(agent);
	rig_end_free(agent);
}

static void the_wall_clock_ends_and_lengthens_no_grant(void **state)
{
	struct rig *r = *state;
	struct rig_end *agent = rig_agent(r);
	struct msg m = MSG_INIT;

	clock_override(10 * YEAR);
	mono_ahead = 40 * NSEC_PER_SEC;
	rig_turns(r);
	rig_expect_nothing(agent);
	clock_override(-10 * YEAR);
	boot_ahead = 301 * NSEC_PER_SEC;
	mono_ahead = 341 * NSEC_PER_SEC;
	rig_expect(agent, "conn.end", &m);
	msg_done(&m);
	clock_override(0);
	rig_expect_closed(agent);
	rig_end_free(agent);
}

int main(void)
{
#define L(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define C(f) cmocka_unit_test_setup_teardown(f, core_setup, core_teardown)
	const struct CMUnitTest tests[] = {
	    L(a_step_forward_is_taken_and_one_back_is_not),
	    L(the_tolerance_is_sixty_seconds),
	    L(the_year_2100_is_recorded_and_can_be_left_again),
	    L(a_clock_before_1970_is_not_accepted),
	    L(a_log_that_begins_before_1970_begins_in_1970),
	    C(a_grant_runs_out_while_the_machine_sleeps),
	    C(the_wall_clock_ends_and_lengthens_no_grant),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
