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
#include <fcntl.h>
#include "broker/audit/logs.h"
#include "broker/audit/verify.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/loop.h"

/*
 * What one tenant may do to the log.
 */

struct fix {
	char dir[64];
	int fd;
	struct loop *loop;
	struct store *store;
	struct record_log *log;
	struct record_options o;
};

static void start(struct fix *f, uint64_t map)
{
	struct store_config c = {.map_size = map};
	struct err e = ERR_INIT;

	if (store_open(f->fd, &c, &f->store, &e) < 0 ||
	    record_store_open(f->store, f->loop, &f->o, &f->log, &e) < 0)
		fail_msg("%s", err_text(&e));
}

static void stop(struct fix *f)
{
	f->log->ops->free(f->log);
	store_close(f->store);
}

static void restart(struct fix *f)
{
	stop(f);
	start(f, 0);
}

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof *f);

	log_open("test", LOG_EMERG);
	(void)snprintf(f->dir, sizeof f->dir, "/tmp/limit-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->loop = loop_new();
	record_options_default(&f->o);
	start(f, 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	stop(f);
	loop_free(f->loop);
	(void)unlinkat(f->fd, "data.mdb", 0);
	(void)unlinkat(f->fd, "lock.mdb", 0);
	(void)unlinkat(f->fd, STORE_RESERVE_FILE, 0);
	(void)close(f->fd);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

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

static void on_turn(struct loop *l, void *arg)
{
	(void)arg;
	loop_stop(l);
}

static void wait_ms(struct fix *f, int ms)
{
	struct loop_source *s = loop_timer(f->loop, ms * INT64_C(1000000), on_turn, NULL);

	assert_int_equal(loop_run(f->loop), 0);
	loop_remove(s);
}

static uint32_t number_of(struct fix *f, const char *name)
{
	struct log_info l = {0};

	assert_int_equal(logs_find(f->store, name, &l), 0);
	return l.number;
}

struct count {
	const char *class_name;
	uint64_t n;
	json_t *last;
};

static int on_count(uint64_t seq, const void *data, size_t len, void *arg)
{
	struct count *c = arg;
	json_t *o = json_loadb(data, len, 0, NULL);

	(void)seq;
	if (strcmp(json_string_value(json_object_get(o, "class")), c->class_name) == 0) {
		c->n++;
		json_decref(c->last);
		c->last = json_incref(json_object_get(o, "body"));
	}
	json_decref(o);
	return 0;
}

static uint64_t count(struct fix *f, const char *log, const char *class_name, json_t **ret_last)
{
	struct count c = {.class_name = class_name};

	assert_int_equal(
	    logs_walk(f->store, number_of(f, log), 1, STORE_WALK_MAX, on_count, &c), 0);
	if (ret_last)
		*ret_last = c.last;
	else
		json_decref(c.last);
	return c.n;
}

static void good(struct fix *f)
{
	struct err e = ERR_INIT;
	struct verify v;

	if (verify_store(f->store, &v, &e) < 0)
		fail_msg("%s", err_text(&e));
}

static int add(struct fix *f, const char *tenant, const char *class_name, struct done *d)
{
	return record_append(f->log, class_name, tenant, NULL, json_pack("{s:s}", "k", "v"),
	    d != NULL, d ? on_done : NULL, d);
}

static void each_tenant_has_a_log_that_counts_from_one(void **state)
{
	struct fix *f = *state;
	struct done a = {0}, b = {0}, host = {0};

	for (int i = 0; i < 3; i++)
		assert_int_equal(add(f, "a", "x", &a), 0);
	assert_int_equal(add(f, "b", "x", &b), 0);
	assert_int_equal(add(f, NULL, "x", &host), 0);
	assert_int_equal(add(f, "Not a name", "x", &b), -EINVAL);
	wait_ms(f, 1);
	assert_int_equal(a.seq, 3);
	assert_int_equal(b.seq, 1);
	assert_int_equal(host.seq, 1);
	good(f);
	restart(f);
	assert_int_equal(add(f, "b", "x", &b), 0);
	wait_ms(f, 1);
	assert_int_equal(b.seq, 2);
	assert_int_equal(number_of(f, "host"), 0);
	assert_int_equal(number_of(f, "a"), 1);
	good(f);
}

static void a_flood_is_counted_and_disturbs_nobody(void **state)
{
	struct fix *f = *state;
	struct done d = {0};
	json_t *body;

	f->o.rate = 10;
	f->o.burst = 20;
	restart(f);
	for (int i = 0; i < 500; i++)
		assert_int_equal(add(f, "a", i % 2 ? "one" : "two", NULL), i < 20 ? 0 : 1);
	for (int i = 0; i < 30; i++)
		assert_int_equal(add(f, "a", "session.end", NULL), 0);
	assert_int_equal(add(f, "b", "x", &d), 0);
	wait_ms(f, 1100);
	assert_int_equal(d.r, 0);
	assert_int_equal(count(f, "a", "one", NULL) + count(f, "a", "two", NULL), 20);
	assert_int_equal(count(f, "a", "session.end", NULL), 30);
	assert_int_equal(count(f, "a", "log.coalesced", &body), 1);
	assert_int_equal(json_integer_value(json_object_get(body, "records")), 480);
	assert_int_equal(
	    json_integer_value(json_object_get(json_object_get(body, "classes"), "one")), 240);
	assert_string_equal(json_string_value(json_object_get(body, "reason")), "rate");
	json_decref(body);
	/* tokens come back */
	assert_int_equal(add(f, "a", "three", NULL), 0);
	wait_ms(f, 1);
	assert_int_equal(count(f, "a", "three", NULL), 1);
	good(f);
}

static void what_was_left_out_is_said_at_the_end_too(void **state)
{
	struct fix *f = *state;

	f->o.rate = 1;
	f->o.burst = 1;
	restart(f);
	for (int i = 0; i < 10; i++)
		assert_int_equal(add(f, "a", "x", NULL), i < 1 ? 0 : 1);
	restart(f);
	assert_int_equal(count(f, "a", "log.coalesced", NULL), 1);
}

static void actions_beyond_a_rate_are_refused(void **state)
{
	struct fix *f = *state;
	struct done d = {0}, other = {0};

	f->o.critical_rate = 5;
	f->o.critical_burst = 10;
	restart(f);
	for (int i = 0; i < 10; i++)
		assert_int_equal(add(f, "a", "x", &d), 0);
	assert_int_equal(add(f, "a", "x", &d), -EBUSY);
	assert_int_equal(add(f, "b", "x", &other), 0);
	for (int i = 0; i < 100; i++) /* the host's own are not held back */
		assert_int_equal(add(f, NULL, "x", &other), 0);
	wait_ms(f, 250);
	assert_int_equal(d.calls, 10);
	assert_int_equal(other.calls, 101);
	assert_int_equal(add(f, "a", "x", &d), 0);
	assert_int_equal(f->log->ops->flush(f->log), 0);
}

static int add_long(struct fix *f, const char *tenant, const char *class_name, struct done *d)
{
	char text[1001];

	memset(text, 't', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	return record_append(f->log, class_name, tenant, NULL, json_pack("{s:s}", "k", text),
	    d != NULL, d ? on_done : NULL, d);
}

static void bytes_beyond_a_rate_are_refused_until_they_are_paid(void **state)
{
	struct fix *f = *state;
	struct done d = {0}, other = {0};
	int n = 0;

	f->o.byte_rate = 20000;
	f->o.byte_burst = 8000;
	restart(f);
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
	wait_ms(f, 1000);
	assert_int_equal(add(f, "a", "x", &d), 0);
	assert_int_equal(f->log->ops->flush(f->log), 0);
	/* the host's own are not held back */
	for (int i = 0; i < 100; i++)
		assert_int_equal(add_long(f, NULL, "x", &other), 0);
	wait_ms(f, 100);
	good(f);
}

static void strangers_have_one_share_together(void **state)
{
	struct fix *f = *state;
	struct done d = {0};

	f->o.rate = 1;
	f->o.burst = 10;
	restart(f);
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
	struct fix *f = *state;
	struct done d = {0};
	json_t *body;

	f->o.critical_rate = 1;
	f->o.critical_burst = 1;
	restart(f);
	assert_int_equal(add(f, "a", "channel.exec", &d), 0);
	assert_int_equal(add(f, "a", "channel.exec", &d), -EBUSY);
	assert_int_equal(add(f, "a", "channel.denied", &d), -EBUSY);
	restart(f);
	assert_int_equal(count(f, "a", "log.coalesced", &body), 1);
	/* not the command: it has not happened */
	assert_int_equal(json_integer_value(json_object_get(body, "records")), 1);
	assert_int_equal(
	    json_integer_value(json_object_get(json_object_get(body, "classes"), "channel.denied")),
	    1);
	json_decref(body);
}

static void the_writer_takes_from_tenants_in_turn(void **state)
{
	struct fix *f = *state;
	struct done last = {0}, b = {0};

	for (int i = 0; i < 1000; i++)
		assert_int_equal(add(f, "a", "x", &last), 0);
	assert_int_equal(add(f, "b", "x", &b), 0);
	for (int i = 0; i < 100 && last.calls < 1000; i++)
		wait_ms(f, 20);
	assert_int_equal(last.calls, 1000);
	assert_in_range(b.order, 1, order - 800);
	/* its share of the queue */
	f->o.critical_rate = 0;
	restart(f);
	for (int i = 0; i < RECORD_QUEUE_LOG; i++)
		assert_int_equal(add(f, "a", "x", &last), 0);
	assert_int_equal(add(f, "a", "x", &last), -EBUSY);
	assert_int_equal(add(f, "b", "x", &b), 0);
	assert_int_equal(f->log->ops->flush(f->log), 0);
}

static void a_late_acknowledgement_refuses_the_action(void **state)
{
	struct fix *f = *state;
	struct done d = {0};
	json_t *body;

	f->o.ack_ns = 1;
	restart(f);
	assert_int_equal(add(f, "a", "grant", &d), 0);
	(void)f->log->ops->flush(f->log);
	assert_int_equal(d.r, -ETIMEDOUT);
	wait_ms(f, 1);
	/* it is there, so the log says that nothing came of it */
	assert_int_equal(count(f, "a", "grant", NULL), 1);
	assert_int_equal(count(f, "a", "log.late", &body), 1);
	assert_int_equal(json_integer_value(json_object_get(body, "record")), 1);
	json_decref(body);
}

static void beyond_its_quota_a_tenant_has_ends_and_denials(void **state)
{
	struct fix *f = *state;
	struct done d = {0}, other = {0};
	int n = 0;

	f->o.tenant_bytes = 8192;
	restart(f);
	do {
		assert_int_equal(add(f, "a", "channel.exec", &d), 0);
		wait_ms(f, 1);
		n++;
	} while (d.r == 0);
	assert_in_range(n, 10, 40);
	assert_int_equal(d.r, -EDQUOT);
	assert_int_equal(add(f, "a", "session.end", NULL), 0);
	assert_int_equal(add(f, "a", "lease.denied", NULL), 0);
	assert_int_equal(add(f, "b", "x", &other), 0);
	wait_ms(f, 1);
	assert_int_equal(other.r, 0);
	assert_int_equal(count(f, "a", "session.end", NULL), 1);
	assert_int_equal(count(f, "a", "lease.denied", NULL), 1);
	/* a denial has its own end, an end has none */
	for (int i = 0; i < 100; i++) {
		assert_in_range(add(f, "a", "lease.denied", NULL), 0, 1);
		assert_int_equal(add(f, "a", "session.end", NULL), 0);
		wait_ms(f, 1);
	}
	assert_in_range(count(f, "a", "lease.denied", NULL), 1, 30);
	assert_int_equal(count(f, "a", "session.end", NULL), 101);
	assert_int_equal(add(f, "a", "channel.exec", &d), -EDQUOT);
	good(f);
}

static void a_full_map_keeps_room_for_ends_and_denials(void **state)
{
	struct fix *f = *state;
	struct done d = {0};
	char *text = calloc(1, 30001);
	struct store_usage u;
	uint64_t ends = 0;

	memset(text, 't', 30000);
	f->o.critical_rate = 0;
	stop(f);
	start(f, 4 * STORE_MAP_MIN);
	for (int i = 0; i < 300 && d.r == 0; i++) {
		assert_int_equal(record_append(f->log, "x", "a", NULL,
		                     json_pack("{s:s}", "text", text), true, on_done, &d),
		    0);
		wait_ms(f, 1);
	}
	assert_int_equal(d.r, -ENOSPC);
	assert_int_equal(store_usage(f->store, &u), 0);
	assert_true(u.reserve_taken);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(add(f, "a", "session.end", &d), 0);
		wait_ms(f, 1);
		ends += d.r == 0;
	}
	assert_int_equal(ends, 100);
	assert_int_equal(add(f, "a", "x", &d), 0);
	wait_ms(f, 1);
	assert_int_equal(d.r, -ENOSPC);
	good(f);
	/* with a larger map all is as before */
	stop(f);
	start(f, 64 * STORE_MAP_MIN);
	assert_int_equal(add(f, "a", "x", &d), 0);
	wait_ms(f, 1);
	assert_int_equal(d.r, 0);
	free(text);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
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
