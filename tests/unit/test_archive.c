#include "broker/core/archive.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "broker/audit/segment_file.h"
#include "broker/audit/tree.h"
#include "broker/core/archive_internal.h"
#include "broker/store/store.h"
#include "lib/clock.h"
#include "lib/msg.h"
#include "tests/support/archive_rig.h"

/*
 * When segments are asked for, and what becomes of them.
 */

/* ---- cuts ---- */

static void asks_when_there_is_enough_and_a_checkpoint(void **state)
{
	struct ar *f = *state;

	ar_append(f, 20);
	ar_sealed(f, 20);
	ar_look(f);
	assert_int_equal(f->questions, 0); /* too little */
	ar_append(f, 600);
	ar_look(f);
	assert_int_equal(f->questions, 1); /* what is behind the checkpoint stays */
	assert_int_equal(ar_asked(f, "to"), 20);
	archive_lost(f->archive);
	ar_sealed(f, 300);
	ar_look(f);
	assert_int_equal(ar_asked(f, "from"), 1);
	assert_int_equal(ar_asked(f, "to"), 300);
	assert_null(json_object_get(f->asked, "edge"));
	assert_string_equal(json_string_value(json_object_get(f->asked, "log")), "demo");
}

static void asks_for_what_is_old(void **state)
{
	struct ar *f = *state;

	ar_append(f, 20);
	ar_sealed(f, 20);
	ar_look(f);
	assert_int_equal(f->questions, 0);
	clock_override(INT64_C(86401) * NSEC_PER_SEC);
	ar_look(f);
	assert_int_equal(f->questions, 1);
	assert_int_equal(ar_asked(f, "to"), 20);
}

static void what_is_much_is_cut_in_pieces(void **state)
{
	struct ar *f = *state;

	ar_append(f, 3000);
	for (uint64_t size = 100; size <= 3000; size += 100)
		ar_sealed(f, size);
	ar_look(f);
	assert_true(ar_asked(f, "to") >= 100 && ar_asked(f, "to") <= 600);
	ar_written(f, true);
	assert_int_equal(f->questions, 2);
	assert_int_equal(ar_asked(f, "from"), ar_edge(f).to + 1);
	assert_non_null(json_object_get(f->asked, "edge"));
}

/* A long segment takes its time; one that does not get on is asked for again. */
static void waits_as_long_as_the_exporter_gets_on(void **state)
{
	struct ar *f = *state;

	f->archive->patience_ns = 2 * NSEC_PER_SEC;
	ar_append(f, 600);
	ar_sealed(f, 600);
	ar_look(f);
	assert_int_equal(f->questions, 1);
	for (uint64_t i = 1; i <= 3; i++) {
		archive_read(f->archive, "demo", i * 100);
		ar_run(f, 800);
	}
	ar_assert_status(f, "failed", false, "");
	archive_read(f->archive, "demo", 300); /* the same again, another log, nonsense */
	archive_read(f->archive, "host", 400);
	archive_read(f->archive, "demo", 601);
	ar_run(f, 1300);
	ar_assert_status(f, "failed", false, "does not answer");
}

static void a_lie_about_the_tree_drops_nothing(void **state)
{
	struct ar *f = *state;

	ar_append(f, 600);
	ar_sealed(f, 600);
	ar_look(f);
	ar_written(f, false);
	assert_int_equal(ar_edge(f).to, 0);
	assert_int_equal(ar_recorded(f, "log.archived"), 0);
	assert_int_equal(ar_recorded(f, "log.unarchived"), 1);
	assert_int_equal(f->questions, 1); /* not at once again */
}

static void a_failure_is_told_once_and_tried_again(void **state)
{
	struct msg m = {.type = msg_type_find("archive.failed")};
	struct ar *f = *state;

	ar_append(f, 600);
	ar_sealed(f, 600);
	m.body = json_pack("{s:s, s:s}", "log", "demo", "reason", "No space left on device");
	for (int i = 0; i < 3; i++) {
		ar_look(f); /* a new link does not wait */
		m.id = f->id;
		assert_true(archive_answer(f->archive, &m));
		assert_false(archive_answer(f->archive, &m)); /* it is not asked any more */
		ar_run(f, 20);
	}
	json_decref(m.body);
	assert_int_equal(f->questions, 3);
	assert_int_equal(ar_recorded(f, "log.unarchived"), 1);
	ar_assert_status(f, "failed", false, "No space left");
	ar_look(f);
	ar_written(f, true);
	ar_assert_status(f, "failed", false, "");
	assert_int_equal(ar_edge(f).to, 600);
}

static void it_is_on_record_before_it_leaves(void **state)
{
	struct ar *f = *state;

	ar_append(f, 600);
	ar_sealed(f, 600);
	ar_look(f);
	ar_written(f, true);
	assert_int_equal(ar_recorded(f, "log.archived"), 1);
	assert_int_equal(ar_edge(f).to, 600);
	assert_int_equal(ar_edge(f).seq, 512);
	assert_int_equal(f->questions, 1);
}

static void the_next_segment_begins_where_the_store_does(void **state)
{
	struct ar *f = *state;

	ar_append(f, 512); /* whole tiles: of record 512 there is the edge alone */
	ar_sealed(f, 512);
	ar_look(f);
	ar_written(f, true);
	assert_int_equal(ar_edge(f).seq, 512);
	ar_append(f, 512);
	ar_sealed(f, ar_size_of(f));
	ar_look(f);
	assert_int_equal(f->questions, 2);
	assert_int_equal(ar_asked(f, "from"), 513);
	ar_written(f, true);
	assert_int_equal(ar_edge(f).seq, 1024);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, ar_setup, ar_teardown)
	const struct CMUnitTest tests[] = {T(asks_when_there_is_enough_and_a_checkpoint),
	    T(asks_for_what_is_old), T(what_is_much_is_cut_in_pieces),
	    T(waits_as_long_as_the_exporter_gets_on), T(a_lie_about_the_tree_drops_nothing),
	    T(a_failure_is_told_once_and_tried_again), T(it_is_on_record_before_it_leaves),
	    T(the_next_segment_begins_where_the_store_does)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
