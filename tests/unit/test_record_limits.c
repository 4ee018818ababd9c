#include "broker/audit/record_store.h"

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
#include "broker/audit/logs.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "tests/support/record_rig.h"

/*
 * What one tenant may do to the log.
 */

struct done {
	int r, calls;
	uint64_t seq, order;
};

static uint64_t order;

static void on_done(int r, uint64_t seq, void *arg)
{
	struct done *d = arg;

	*d = (struct done){r, d->calls + 1, seq, ++order};
}

static int add(struct record_rig *f, const char *tenant, const char *class_name, struct done *d)
{
	return record_append(f->log, class_name, tenant, NULL, json_pack("{s:s}", "k", "v"),
	    d != NULL, d ? on_done : NULL, d);
}

static void each_tenant_has_a_log_that_counts_from_one(void **state)
{
	struct record_rig *f = *state;
	struct done a = {0}, b = {0}, host = {0};

	for (int i = 0; i < 3; i++)
		assert_int_equal(add(f, "a", "x", &a), 0);
	assert_int_equal(add(f, "b", "x", &b), 0);
	assert_int_equal(add(f, NULL, "x", &host), 0);
	assert_int_equal(add(f, "Not a name", "x", &b), -EINVAL);
	record_rig_wait(f, 1);
	assert_int_equal(a.seq, 3);
	assert_int_equal(b.seq, 1);
	assert_int_equal(host.seq, 1);
	record_rig_verify(f);
	record_rig_restart(f);
	assert_int_equal(add(f, "b", "x", &b), 0);
	record_rig_wait(f, 1);
	assert_int_equal(b.seq, 2);
	assert_int_equal(record_rig_number(f, "host"), 0);
	assert_int_equal(record_rig_number(f, "a"), 1);
	record_rig_verify(f);
}

static void a_flood_is_counted_and_disturbs_nobody(void **state)
{
	struct record_rig *f = *state;
	struct done d = {0};
	json_t *body;

	f->o.rate = 10;
	f->o.burst = 20;
	record_rig_restart(f);
	for (int i = 0; i < 500; i++)
		assert_int_equal(add(f, "a", i % 2 ? "one" : "two", NULL), i < 20 ? 0 : 1);
	for (int i = 0; i < 30; i++)
		assert_int_equal(add(f, "a", "session.end", NULL), 0);
	assert_int_equal(add(f, "b", "x", &d), 0);
	record_rig_wait(f, 1100);
	assert_int_equal(d.r, 0);
	assert_int_equal(
	    record_rig_count(f, "a", "one", NULL) + record_rig_count(f, "a", "two", NULL), 20);
	assert_int_equal(record_rig_count(f, "a", "session.end", NULL), 30);
	assert_int_equal(record_rig_count(f, "a", "log.coalesced", &body), 1);
	assert_int_equal(json_integer_value(json_object_get(body, "records")), 480);
	assert_int_equal(
	    json_integer_value(json_object_get(json_object_get(body, "classes"), "one")), 240);
	assert_string_equal(json_string_value(json_object_get(body, "reason")), "rate");
	json_decref(body);
	/* tokens come back */
	assert_int_equal(add(f, "a", "three", NULL), 0);
	record_rig_wait(f, 1);
	assert_int_equal(record_rig_count(f, "a", "three", NULL), 1);
	record_rig_verify(f);
}

static void what_was_left_out_is_said_at_the_end_too(void **state)
{
	struct record_rig *f = *state;

	f->o.rate = 1;
	f->o.burst = 1;
	record_rig_restart(f);
	for (int i = 0; i < 10; i++)
		assert_int_equal(add(f, "a", "x", NULL), i < 1 ? 0 : 1);
	record_rig_restart(f);
	assert_int_equal(record_rig_count(f, "a", "log.coalesced", NULL), 1);
}

static void actions_beyond_a_rate_are_refused(void **state)
{
	struct record_rig *f = *state;
	struct done d = {0}, other = {0};

	f->o.critical_rate = 5;
	f->o.critical_burst = 10;
	record_rig_restart(f);
	for (int i = 0; i < 10; i++)
		assert_int_equal(add(f, "a", "x", &d), 0);
	assert_int_equal(add(f, "a", "x", &d), -EBUSY);
	assert_int_equal(add(f, "b", "x", &other), 0);
	for (int i = 0; i < 100; i++) /* the host's own are not held back */
		assert_int_equal(add(f, NULL, "x", &other), 0);
	record_rig_wait(f, 250);
	assert_int_equal(d.calls, 10);
	assert_int_equal(other.calls, 101);
	assert_int_equal(add(f, "a", "x", &d), 0);
	assert_int_equal(f->log->ops->flush(f->log), 0);
}

static int add_long(
    struct record_rig *f, const char *tenant, const char *class_name, struct done *d)
{
	char text[1001];

	memset(text, 't', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	return record_append(f->log, class_name, tenant, NULL, json_pack("{s:s}", "k", text),
	    d != NULL, d ? on_done : NULL, d);
}

static void bytes_beyond_a_rate_are_refused_until_they_are_paid(void **state)
{
	struct record_rig *f = *state;
	struct done d = {0}, other = {0};
	int n = 0;

	f->o.byte_rate = 20000;
	f->o.byte_burst = 8000;
	record_rig_restart(f);
	while (add_long(f, "a", "x", &d) == 0 && n < 100) {
		assert_int_equal(f->log->ops->flush(f->log), 0);
		n++;
	}
	assert_in_range(n, 5, 12);
	assert_int_equal(add(f, "a", "x", &d), -EBUSY);
	assert_int_equal(add(f, "a", "x", NULL), 1);
	/* ends are written, and owed for; others have a share of their own */
	assert_int_equal(add_long(f, "a", "session.end", NULL), 0);
	assert_int_equal(add_long(f, "b", "x", &other), 0);
	assert_int_equal(f->log->ops->flush(f->log), 0);
	assert_int_equal(other.r, 0);
	record_rig_wait(f, 1000);
	assert_int_equal(add(f, "a", "x", &d), 0);
	assert_int_equal(f->log->ops->flush(f->log), 0);
	/* the host's own are not held back */
	for (int i = 0; i < 100; i++)
		assert_int_equal(add_long(f, NULL, "x", &other), 0);
	record_rig_wait(f, 100);
	record_rig_verify(f);
}

static void strangers_have_one_share_together(void **state)
{
	struct record_rig *f = *state;
	struct done d = {0};

	f->o.rate = 1;
	f->o.burst = 10;
	record_rig_restart(f);
	for (int i = 0; i < 20; i++)
		assert_int_equal(
		    add(f, i % 2 ? "a" : NULL, i % 2 ? "auth.refused" : "conn.accepted", NULL),
		    i < 10 ? 0 : 1);
	/* what they use up is neither the tenant's nor the host's */
	assert_int_equal(add(f, "a", "conn.event", NULL), 0);
	assert_int_equal(add(f, "a", "x", &d), 0);
	assert_int_equal(add(f, NULL, "ctl", NULL), 0);
	assert_int_equal(f->log->ops->flush(f->log), 0);
	assert_int_equal(d.r, 0);
}

static void a_refusal_that_finds_no_room_is_counted(void **state)
{
	struct record_rig *f = *state;
	struct done d = {0};
	json_t *body;

	f->o.critical_rate = 1;
	f->o.critical_burst = 1;
	record_rig_restart(f);
	assert_int_equal(add(f, "a", "channel.exec", &d), 0);
	assert_int_equal(add(f, "a", "channel.exec", &d), -EBUSY);
	assert_int_equal(add(f, "a", "channel.denied", &d), -EBUSY);
	record_rig_restart(f);
	assert_int_equal(record_rig_count(f, "a", "log.coalesced", &body), 1);
	/* not the command: it has not happened */
	assert_int_equal(json_integer_value(json_object_get(body, "records")), 1);
	assert_int_equal(
	    json_integer_value(json_object_get(json_object_get(body, "classes"), "channel.denied")),
	    1);
	json_decref(body);
}

static void the_writer_takes_from_tenants_in_turn(void **state)
{
	struct record_rig *f = *state;
	struct done last = {0}, b = {0};

	for (int i = 0; i < 1000; i++)
		assert_int_equal(add(f, "a", "x", &last), 0);
	assert_int_equal(add(f, "b", "x", &b), 0);
	for (int i = 0; i < 100 && last.calls < 1000; i++)
		record_rig_wait(f, 20);
	assert_int_equal(last.calls, 1000);
	assert_in_range(b.order, 1, order - 800);
	/* its share of the queue */
	f->o.critical_rate = 0;
	record_rig_restart(f);
	for (int i = 0; i < RECORD_QUEUE_LOG; i++)
		assert_int_equal(add(f, "a", "x", &last), 0);
	assert_int_equal(add(f, "a", "x", &last), -EBUSY);
	assert_int_equal(add(f, "b", "x", &b), 0);
	assert_int_equal(f->log->ops->flush(f->log), 0);
}

static void a_late_acknowledgement_refuses_the_action(void **state)
{
	struct record_rig *f = *state;
	struct done d = {0};
	json_t *body;

	f->o.ack_ns = 1;
	record_rig_restart(f);
	assert_int_equal(add(f, "a", "grant", &d), 0);
	(void)f->log->ops->flush(f->log);
	assert_int_equal(d.r, -ETIMEDOUT);
	record_rig_wait(f, 1);
	/* it is there, so the log says that nothing came of it */
	assert_int_equal(record_rig_count(f, "a", "grant", NULL), 1);
	assert_int_equal(record_rig_count(f, "a", "log.late", &body), 1);
	assert_int_equal(json_integer_value(json_object_get(body, "record")), 1);
	json_decref(body);
}

static void beyond_its_quota_a_tenant_has_ends_and_denials(void **state)
{
	struct record_rig *f = *state;
	struct done d = {0}, other = {0};
	int n = 0;

	f->o.tenant_bytes = 8192;
	record_rig_restart(f);
	do {
		assert_int_equal(add(f, "a", "channel.exec", &d), 0);
		record_rig_wait(f, 1);
		n++;
	} while (d.r == 0);
	assert_in_range(n, 10, 40);
	assert_int_equal(d.r, -EDQUOT);
	assert_int_equal(add(f, "a", "session.end", NULL), 0);
	assert_int_equal(add(f, "a", "lease.denied", NULL), 0);
	assert_int_equal(add(f, "b", "x", &other), 0);
	record_rig_wait(f, 1);
	assert_int_equal(other.r, 0);
	assert_int_equal(record_rig_count(f, "a", "session.end", NULL), 1);
	assert_int_equal(record_rig_count(f, "a", "lease.denied", NULL), 1);
	/* a denial has its own end, an end has none */
	for (int i = 0; i < 100; i++) {
		assert_in_range(add(f, "a", "lease.denied", NULL), 0, 1);
		assert_int_equal(add(f, "a", "session.end", NULL), 0);
		record_rig_wait(f, 1);
	}
	assert_in_range(record_rig_count(f, "a", "lease.denied", NULL), 1, 30);
	assert_int_equal(record_rig_count(f, "a", "session.end", NULL), 101);
	assert_int_equal(add(f, "a", "channel.exec", &d), -EDQUOT);
	record_rig_verify(f);
}

static void a_full_map_keeps_room_for_ends_and_denials(void **state)
{
	struct record_rig *f = *state;
	struct done d = {0};
	char *text = calloc(1, 30001);
	struct store_usage u;
	uint64_t ends = 0;

	memset(text, 't', 30000);
	f->o.critical_rate = 0;
	record_rig_stop(f);
	record_rig_start(f, 4 * STORE_MAP_MIN);
	for (int i = 0; i < 300 && d.r == 0; i++) {
		assert_int_equal(record_append(f->log, "x", "a", NULL,
		                     json_pack("{s:s}", "text", text), true, on_done, &d),
		    0);
		record_rig_wait(f, 1);
	}
	assert_int_equal(d.r, -ENOSPC);
	assert_int_equal(store_usage(f->store, &u), 0);
	assert_true(u.reserve_taken);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(add(f, "a", "session.end", &d), 0);
		record_rig_wait(f, 1);
		ends += d.r == 0;
	}
	assert_int_equal(ends, 100);
	assert_int_equal(add(f, "a", "x", &d), 0);
	record_rig_wait(f, 1);
	assert_int_equal(d.r, -ENOSPC);
	record_rig_verify(f);
	/* with a larger map all is as before */
	record_rig_stop(f);
	record_rig_start(f, 64 * STORE_MAP_MIN);
	assert_int_equal(add(f, "a", "x", &d), 0);
	record_rig_wait(f, 1);
	assert_int_equal(d.r, 0);
	free(text);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, record_rig_setup, record_rig_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(each_tenant_has_a_log_that_counts_from_one),
	    TEST(a_flood_is_counted_and_disturbs_nobody),
	    TEST(what_was_left_out_is_said_at_the_end_too),
	    TEST(actions_beyond_a_rate_are_refused),
	    TEST(bytes_beyond_a_rate_are_refused_until_they_are_paid),
	    TEST(strangers_have_one_share_together),
	    TEST(a_refusal_that_finds_no_room_is_counted),
	    TEST(the_writer_takes_from_tenants_in_turn),
	    TEST(a_late_acknowledgement_refuses_the_action),
	    TEST(beyond_its_quota_a_tenant_has_ends_and_denials),
	    TEST(a_full_map_keeps_room_for_ends_and_denials),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
