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

#include "broker/audit/body.h"
#include "broker/audit/logs.h"
#include "broker/audit/record_store.h"
#include "broker/audit/verify.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/loop.h"

/*
 * The log in LMDB: one commit a turn, callbacks after it, time that never runs back, and nothing
 * done when it cannot be written.
 */

struct fix {
	char dir[64];
	int fd;
	struct loop *loop;
	struct store *store;
	struct record_log *log;
};

static void start(struct fix *f, uint64_t map)
{
	struct store_config c = {.map_size = map};
	struct err e = ERR_INIT;

	if (store_open(f->fd, &c, &f->store, &e) < 0 ||
	    record_store_new(f->store, f->loop, 60, &f->log, &e) < 0)
		fail_msg("%s", err_text(&e));
}

static void stop(struct fix *f)
{
	f->log->ops->free(f->log);
	store_close(f->store);
}

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof *f);

	log_open("test", LOG_EMERG);
	(void)snprintf(f->dir, sizeof f->dir, "/tmp/record-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->loop = loop_new();
	start(f, 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	clock_override(0);
	stop(f);
	loop_free(f->loop);
	(void)unlinkat(f->fd, "data.mdb", 0);
	(void)unlinkat(f->fd, "lock.mdb", 0);
	(void)close(f->fd);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

struct done {
	int r, calls;
	uint64_t seq;
};

static void on_done(int r, uint64_t seq, void *arg)
{
	struct done *d = arg;

	d->r = r;
	d->seq = seq;
	d->calls++;
}

static void on_turn(struct loop *l, void *arg)
{
	(void)arg;
	loop_stop(l);
}

static void turn(struct fix *f)
{
	struct loop_source *s = loop_timer(f->loop, 1000000, on_turn, NULL);

	assert_int_equal(loop_run(f->loop), 0);
	loop_remove(s);
}

static json_t *record_in(const struct fix *f, uint32_t log, uint64_t seq)
{
	cleanup_buf struct buf b;

	buf_init(&b, RECORD_MAX);
	assert_int_equal(logs_get(f->store, log, seq, &b), 0);
	return json_loadb((const char *)b.data, b.len, 0, NULL);
}

static json_t *record_at(const struct fix *f, uint64_t seq)
{
	return record_in(f, LOG_HOST_NUMBER, seq);
}

static void answers_after_the_commit(void **state)
{
	struct fix *f = *state;
	struct done a = {0}, b = {0};
	json_t *o;

	assert_int_equal(record_append(f->log, "one", "demo", json_pack("{s:s}", "conn", "c-1"),
	                     json_pack("{s:i}", "n", 1), true, on_done, &a),
	    0);
	assert_int_equal(record_append(f->log, "two", NULL, NULL, NULL, false, on_done, &b), 0);
	assert_int_equal(a.calls, 0);
	turn(f);
	assert_int_equal(a.calls, 1);
	assert_int_equal(a.r, 0);
	assert_int_equal(a.seq, 1);
	assert_int_equal(b.seq, 1); /* of the host's log */
	assert_int_equal(f->log->ops->size(f->log), 2);
	o = record_in(f, 1, 1);
	assert_string_equal(json_string_value(json_object_get(o, "class")), "one");
	assert_string_equal(json_string_value(json_object_get(o, "tenant")), "demo");
	json_decref(o);
}

static void changes_ride_along(void **state)
{
	struct fix *f = *state;
	cleanup_buf struct buf b;

	buf_init(&b, 64);
	assert_int_equal(store_later(f->store, STORE_SESSIONS, "s-1", "{}", 2), 0);
	turn(f); /* without a record, too */
	assert_int_equal(store_get(f->store, STORE_SESSIONS, "s-1", 3, &b), 0);
}

static void goes_on_where_it_was(void **state)
{
	struct fix *f = *state;
	struct verify v;

	for (int i = 0; i < 5; i++)
		assert_int_equal(record_append(f->log, "x", "", NULL, NULL, false, NULL, NULL), 0);
	turn(f);
	stop(f);
	start(f, 0);
	assert_int_equal(f->log->ops->size(f->log), 5);
	assert_int_equal(record_append(f->log, "x", "", NULL, NULL, false, NULL, NULL), 0);
	turn(f);
	assert_int_equal(verify_store(f->store, &v, NULL), 0);
	assert_int_equal(v.seq, 6);
}

static void refuses_a_tail_that_was_changed(void **state)
{
	struct fix *f = *state;
	struct record_log *log = NULL;
	struct err e = ERR_INIT;
	uint8_t key[LOG_KEY_LEN];

	assert_int_equal(record_append(f->log, "x", "", NULL, NULL, false, NULL, NULL), 0);
	turn(f);
	log_key(LOG_HOST_NUMBER, 1, key);
	assert_int_equal(store_begin(f->store, NULL), 0);
	assert_int_equal(store_put(f->store, STORE_RECORDS, key, sizeof key, "{}", 2, NULL), 0);
	assert_int_equal(store_commit(f->store, NULL), 0);
	assert_int_equal(record_store_new(f->store, f->loop, 60, &log, &e), -EUCLEAN);
	assert_non_null(strstr(err_text(&e), "1"));
}

static void a_full_store_stops_the_action_not_the_log(void **state)
{
	struct fix *f = *state;
	struct done d = {0};
	struct verify v;
	char *text = calloc(1, 30001);
	uint64_t good = 0;

	memset(text, 't', 30000);
	stop(f);
	start(f, STORE_MAP_MIN);
	while (d.r == 0) {
		good = f->log->ops->size(f->log);
		assert_int_equal(record_append(f->log, "x", "", NULL,
		                     json_pack("{s:s}", "text", text), true, on_done, &d),
		    0);
		turn(f);
		assert_in_range(good, 0, 100);
	}
	assert_int_equal(d.r, -ENOSPC);
	assert_int_equal(d.seq, 0);
	assert_int_equal(f->log->ops->size(f->log), good);
	stop(f);
	start(f, 8 * STORE_MAP_MIN);
	assert_int_equal(verify_store(f->store, &v, NULL), 0);
	assert_int_equal(v.seq, good);
	assert_int_equal(record_append(f->log, "x", "", NULL, NULL, true, on_done, &d), 0);
	turn(f);
	assert_int_equal(d.r, 0);
	assert_int_equal(d.seq, good + 1);
	free(text);
}

static void what_was_lost_is_said_afterwards(void **state)
{
	struct fix *f = *state;
	struct done d = {0};
	json_t *o;

	/* somebody else's transaction is under way: the commit fails, once */
	assert_int_equal(store_begin(f->store, NULL), 0);
	assert_int_equal(record_append(f->log, "x", "", NULL, NULL, true, on_done, &d), 0);
	turn(f);
	assert_true(d.r < 0);
	store_abort(f->store);
	assert_int_equal(record_append(f->log, "y", "", NULL, NULL, true, on_done, &d), 0);
	turn(f);
	assert_int_equal(d.r, 0);
	assert_int_equal(d.seq, 1);
	turn(f);
	o = record_at(f, 2);
	assert_string_equal(json_string_value(json_object_get(o, "class")), "log.lost");
	json_decref(o);
}

static void time_does_not_run_back(void **state)
{
	struct fix *f = *state;
	struct err e = ERR_INIT;
	struct verify v;
	json_t *a, *b;

	assert_int_equal(record_append(f->log, "x", "", NULL, NULL, false, NULL, NULL), 0);
	turn(f);
	clock_override(-30 * NSEC_PER_SEC);
	assert_int_equal(f->log->ops->clock_ok(f->log, NULL), 0);
	assert_int_equal(record_append(f->log, "x", "", NULL, NULL, false, NULL, NULL), 0);
	turn(f);
	a = record_at(f, 1);
	b = record_at(f, 2);
	assert_string_equal(json_string_value(json_object_get(a, "time")),
	    json_string_value(json_object_get(b, "time")));
	json_decref(a);
	json_decref(b);
	clock_override(-3600 * NSEC_PER_SEC);
	assert_true(f->log->ops->now_ns(f->log) > clock_wall_ns() + 3000 * NSEC_PER_SEC);
	assert_int_equal(f->log->ops->clock_ok(f->log, &e), -ETIME);
	assert_non_null(strstr(err_text(&e), "behind"));
	/* also for a core that has just started */
	stop(f);
	start(f, 0);
	assert_int_equal(f->log->ops->clock_ok(f->log, NULL), -ETIME);
	/* until an operator says so; the log then shows where time went back, and is good */
	assert_int_equal(f->log->ops->clock_accept(f->log), 0);
	assert_int_equal(f->log->ops->clock_ok(f->log, NULL), 0);
	assert_true(f->log->ops->now_ns(f->log) < clock_wall_ns() + NSEC_PER_SEC);
	assert_int_equal(record_append(f->log, "x", "", NULL, NULL, false, NULL, NULL), 0);
	turn(f);
	assert_int_equal(verify_store(f->store, &v, NULL), 0);
	assert_int_equal(v.seq, 4);
}

static json_t *text_of(char c, size_t n)
{
	char *text = calloc(1, n + 1);
	json_t *v;

	memset(text, c, n);
	v = json_string(text);
	free(text);
	return v;
}

static void append(struct fix *f, json_t *body)
{
	assert_int_equal(record_append(f->log, "x", "demo", NULL, body, false, NULL, NULL), 0);
	turn(f);
}

static uint64_t bytes_of(const struct fix *f)
{
	struct log_head head;

	assert_int_equal(logs_head(f->store, 1, &head, NULL), 0);
	return head.bytes;
}

static void a_long_body_lies_beside_its_record(void **state)
{
	struct fix *f = *state;
	cleanup_buf struct buf record, body, none;
	json_t *o, *small, *whole;
	uint64_t before;

	buf_init(&record, RECORD_MAX);
	buf_init(&body, BODY_MAX);
	buf_init(&none, BODY_MAX);
	append(f, json_pack("{s:s}", "short", "within"));
	before = bytes_of(f);
	append(f, json_pack("{s:s, s:o, s:o}", "kind", "exec", "command", text_of('t', 60000),
	              "forced", text_of('"', 16000)));
	assert_int_equal(logs_get(f->store, 1, 2, &record), 0);
	assert_int_equal(logs_body_get(f->store, 1, 2, &body), 0);
	assert_int_equal(body_check(record.data, record.len, body.data, body.len), 0);
	/* counted, with the record */
	assert_int_equal(bytes_of(f) - before, record.len + body.len);
	o = json_loadb((const char *)record.data, record.len, 0, NULL);
	small = json_object_get(o, "body");
	assert_string_equal(json_string_value(json_object_get(small, "kind")), "exec");
	assert_null(json_object_get(small, "command"));
	assert_null(json_object_get(small, "cut"));
	assert_int_equal(json_integer_value(json_object_get(small, "body_bytes")), body.len);
	whole = json_loadb((const char *)body.data, body.len, 0, NULL);
	assert_int_equal(json_string_length(json_object_get(whole, "command")), 60000);
	assert_int_equal(json_string_length(json_object_get(whole, "forced")), 16000);
	assert_string_equal(json_string_value(json_object_get(whole, "kind")), "exec");
	/* what fits has none */
	assert_int_equal(logs_body_get(f->store, 1, 1, &none), -ENOENT);
	json_decref(whole);
	json_decref(o);
}

static void a_body_beyond_all_measure_is_cut_and_says_so(void **state)
{
	struct fix *f = *state;
	cleanup_buf struct buf body;
	json_t *whole;

	buf_init(&body, BODY_MAX);
	append(f, json_pack("{s:o, s:s}", "command", text_of('t', BODY_MAX), "short", "stays"));
	assert_int_equal(logs_body_get(f->store, 1, 1, &body), 0);
	assert_in_range(body.len, 1000, 2000);
	buf_reset(&body);
	append(f, json_pack("{s:o, s:o}", "command", text_of('t', BODY_MAX), "other",
	              text_of('o', 70000)));
	assert_int_equal(logs_body_get(f->store, 1, 2, &body), 0);
	whole = json_loadb((const char *)body.data, body.len, 0, NULL);
	assert_in_range(json_string_length(json_object_get(whole, "command")), 100, 2000);
	assert_int_equal(
	    json_integer_value(json_object_get(json_object_get(whole, "cut"), "command")),
	    BODY_MAX);
	assert_int_equal(json_string_length(json_object_get(whole, "other")), 70000);
	json_decref(whole);
}

static void a_body_counts_against_the_quota(void **state)
{
	struct fix *f = *state;
	struct record_options o;
	struct done d = {0};
	struct err e = ERR_INIT;

	stop(f);
	record_options_default(&o);
	o.tenant_bytes = 60000;
	assert_int_equal(store_open(f->fd, &(struct store_config){0}, &f->store, &e), 0);
	assert_int_equal(record_store_open(f->store, f->loop, &o, &f->log, &e), 0);
	assert_int_equal(record_append(f->log, "x", "demo", NULL,
	                     json_pack("{s:o}", "command", text_of('t', 70000)), true, on_done, &d),
	    0);
	turn(f);
	assert_int_equal(d.r, -EDQUOT);
}

static void pending_callbacks_are_called_at_the_end(void **state)
{
	struct fix *f = *state;
	struct done d = {0};

	assert_int_equal(record_append(f->log, "x", "", NULL, NULL, true, on_done, &d), 0);
	stop(f);
	assert_int_equal(d.calls, 1);
	assert_int_equal(d.r, 0); /* it is written on the way out */
	start(f, 0);
	assert_int_equal(f->log->ops->size(f->log), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(answers_after_the_commit, setup, teardown),
	    cmocka_unit_test_setup_teardown(changes_ride_along, setup, teardown),
	    cmocka_unit_test_setup_teardown(goes_on_where_it_was, setup, teardown),
	    cmocka_unit_test_setup_teardown(refuses_a_tail_that_was_changed, setup, teardown),
	    cmocka_unit_test_setup_teardown(
	        a_full_store_stops_the_action_not_the_log, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_was_lost_is_said_afterwards, setup, teardown),
	    cmocka_unit_test_setup_teardown(time_does_not_run_back, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_long_body_lies_beside_its_record, setup, teardown),
	    cmocka_unit_test_setup_teardown(
	        a_body_beyond_all_measure_is_cut_and_says_so, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_body_counts_against_the_quota, setup, teardown),
	    cmocka_unit_test_setup_teardown(
	        pending_callbacks_are_called_at_the_end, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
