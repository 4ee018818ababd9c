#include "broker/audit/private.h"

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
#include "broker/audit/record_store.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "tests/support/record_rig.h"

/*
 * What is kept of persons in the log, and how it goes.
 */

/* ---- persons ---- */

static json_t *subject_of(struct record_rig *f, const char *log, uint64_t seq)
{
	cleanup_buf struct buf b;
	json_t *o, *subject;

	buf_init(&b, RECORD_MAX);
	assert_int_equal(logs_get(f->store, record_rig_number(f, log), seq, &b), 0);
	o = json_loadb((const char *)b.data, b.len, 0, NULL);
	subject = json_incref(json_object_get(o, "subject"));
	json_decref(o);
	return subject;
}

static int reveal(struct record_rig *f, const json_t *subject, const char *key, const char *want)
{
	const char *text = json_string_value(json_object_get(subject, key));
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, 256);
	assert_int_equal(strlen(text), PRIVATE_TEXT_LEN);
	r = private_reveal(f->store, text, strlen(text), &b);
	if (r == 0)
		assert_string_equal(buf_cstr(&b), want);
	return r;
}

static void record_of(struct record_rig *f, const char *conn, const char *person)
{
	assert_int_equal(record_append(f->log, "x", "a",
	                     json_pack("{s:s, s:s, s:s, s:s}", "conn", conn, "peer", "192.0.2.7",
	                         "person", person, "role", "agent"),
	                     NULL, false, NULL, NULL),
	    0);
}

static void persons_are_committed_to_and_can_be_erased(void **state)
{
	struct record_rig *f = *state;
	json_t *one, *same, *other, *bob;
	size_t n = 0;

	record_of(f, "c-1", "alice");
	record_of(f, "c-1", "alice");
	record_of(f, "c-2", "alice");
	record_of(f, "c-3", "bob");
	record_rig_wait(f, 1);
	one = subject_of(f, "a", 1);
	same = subject_of(f, "a", 2);
	other = subject_of(f, "a", 3);
	bob = subject_of(f, "a", 4);
	assert_true(json_equal(one, same));
	assert_false(json_equal(json_object_get(one, "person"), json_object_get(other, "person")));
	assert_string_equal(json_string_value(json_object_get(one, "role")), "agent");
	assert_int_equal(reveal(f, one, "person", "alice"), 0);
	assert_int_equal(reveal(f, other, "peer", "192.0.2.7"), 0);
	assert_int_equal(record_erase(f->log, "alice", &n, NULL), 0);
	assert_int_equal(n, 4); /* two connections, name and address */
	record_rig_wait(f, 1);
	assert_int_equal(reveal(f, one, "person", NULL), -ENOENT);
	assert_int_equal(reveal(f, other, "peer", NULL), -ENOENT);
	assert_int_equal(reveal(f, bob, "person", "bob"), 0);
	assert_int_equal(reveal(f, bob, "peer", "192.0.2.7"), 0);
	assert_int_equal(record_rig_count(f, "host", "log.erased", NULL), 1);
	assert_int_equal(record_erase(f->log, "alice", &n, NULL), 0);
	assert_int_equal(n, 0);
	record_rig_verify(f);
	json_decref(one);
	json_decref(same);
	json_decref(other);
	json_decref(bob);
}

static void an_address_is_erased_with_the_person_who_is_known_later(void **state)
{
	struct record_rig *f = *state;
	json_t *before;
	size_t n = 0;

	assert_int_equal(record_append(f->log, "conn.accepted", "a",
	                     json_pack("{s:s, s:s}", "conn", "c-1", "peer", "192.0.2.9"), NULL,
	                     false, NULL, NULL),
	    0);
	assert_int_equal(
	    record_append(f->log, "grant", "a",
	        json_pack("{s:s, s:s}", "conn", "c-1", "peer", "192.0.2.9"),
	        json_pack("{s:s, s:{s:s}}", "key_id", "al", "grant", "person", "alice"), false,
	        NULL, NULL),
	    0);
	record_rig_wait(f, 1);
	before = subject_of(f, "a", 1);
	assert_int_equal(reveal(f, before, "peer", "192.0.2.9"), 0);
	assert_int_equal(record_erase(f->log, "alice", &n, NULL), 0);
	assert_int_equal(n, 3);
	assert_int_equal(reveal(f, before, "peer", NULL), -ENOENT);
	json_decref(before);
}

static void a_changed_value_does_not_open_a_commitment(void **state)
{
	static const char text[] =
	    "c:0000000000000000000000000000000000000000000000000000000000000000";
	cleanup_buf struct buf b;
	struct record_rig *f = *state;

	buf_init(&b, 256);
	assert_int_equal(
	    private_check(text, sizeof text - 1, "0123456789abcdefvalue", 21), -EUCLEAN);
	assert_int_equal(private_check(text, sizeof text - 1, "short", 5), -EUCLEAN);
	assert_int_equal(private_reveal(f->store, text, sizeof text - 2, &b), -EBADMSG);
	assert_int_equal(private_reveal(f->store, "d:", 2, &b), -EBADMSG);
	assert_int_equal(private_reveal(f->store, text, sizeof text - 1, &b), -ENOENT);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, record_rig_setup, record_rig_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(persons_are_committed_to_and_can_be_erased),
	    TEST(an_address_is_erased_with_the_person_who_is_known_later),
	    TEST(a_changed_value_does_not_open_a_commitment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
