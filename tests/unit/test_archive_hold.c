#include "broker/core/archive.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "broker/audit/logs.h"
#include "broker/audit/record.h"
#include "broker/audit/tree.h"
#include "broker/store/live.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "tests/support/archive_rig.h"

/*
 * What holds records in the store though they are in the archive: sinks, witnesses, and for how
 * long.
 */

/* ---- what holds it back ---- */

static void cursor(struct ar *f, uint64_t record, uint64_t checkpoint)
{
	cleanup_buf struct buf b;

	buf_init(&b, 16);
	buf_put_u64(&b, record);
	buf_put_u64(&b, checkpoint);
	assert_int_equal(
	    store_later_key(f->store, STORE_CURSORS, "siem\0demo", 9, b.data, b.len), 0);
	assert_int_equal(f->log->ops->flush(f->log), 0);
}

static void sink(struct ar *f)
{
	f->config.nsinks = 1;
	(void)snprintf(f->config.sinks[0].name, sizeof f->config.sinks[0].name, "siem");
}

static void waits_for_a_sink(void **state)
{
	struct ar *f = *state;

	sink(f);
	ar_append(f, 1000);
	ar_sealed(f, 1000);
	ar_look(f);
	ar_written(f, true);
	assert_int_equal(ar_edge(f).to, 1000);
	assert_int_equal(ar_edge(f).seq, 0);
	cursor(f, 900, 500); /* its checkpoints too */
	ar_look(f);
	ar_run(f, 100);
	assert_int_equal(ar_edge(f).seq, 256);
	cursor(f, 900, 900);
	ar_look(f);
	ar_run(f, 100);
	assert_int_equal(ar_edge(f).seq, 768);
	f->config.nsinks = 0;
	ar_look(f);
	assert_int_equal(ar_recorded(f, "log.pruned"), 0);
}

static void keeps_as_long_as_configured(void **state)
{
	struct ar *f = *state;

	f->config.archive_keep_s = 3600;
	ar_append(f, 1000);
	ar_sealed(f, 1000);
	ar_look(f);
	ar_written(f, true);
	assert_int_equal(ar_edge(f).to, 1000);
	assert_int_equal(ar_edge(f).seq, 0);
	clock_override(INT64_C(3601) * NSEC_PER_SEC);
	ar_look(f);
	ar_run(f, 100);
	assert_int_equal(ar_edge(f).seq, 768);
}

static void waits_for_the_quorum(void **state)
{
	struct ar *f = *state;

	f->config.nwitnesses = f->config.quorum = 1;
	(void)note_key_init(&f->config.witnesses[0].key, "w.example", NOTE_COSIGNATURE,
	    (const uint8_t *)f->dir, NULL);
	ar_append(f, 1000);
	ar_sealed(f, 1000);
	ar_look(f);
	assert_int_equal(f->questions, 0); /* nobody has signed it */
	ar_assert_status(f, "held", true, "the quorum of witnesses");
	f->config.quorum = 0;
	ar_look(f);
	assert_int_equal(f->questions, 1);
	f->config.quorum = 1; /* meanwhile somebody wants one */
	ar_written(f, true);
	assert_int_equal(ar_edge(f).to, 1000);
	assert_int_equal(ar_edge(f).seq, 0);
	ar_assert_status(f, "held", true, "the quorum of witnesses");
}

/* As the core keeps what a witness gave: a line below the log's own signature. */
static void cosigned(struct ar *f, uint64_t size, const uint8_t seed[NOTE_KEY_LEN])
{
	struct note_key log, *witness = &f->config.witnesses[0].key;
	struct checkpoint c = {.origin = "o.example/demo", .size = size};
	uint8_t own[NOTE_KEY_LEN] = {9}, key[NOTE_KEY_LEN];
	cleanup_buf struct buf b, text;

	buf_init(&b, NOTE_MAX);
	buf_init(&text, NOTE_MAX);
	assert_int_equal(tree_root(f->store, AR_LOG, size, c.root, NULL), 0);
	assert_int_equal(note_public(own, key), 0);
	assert_int_equal(note_key_init(&log, c.origin, NOTE_ED25519, key, NULL), 0);
	checkpoint_text(&c, &text);
	buf_put(&b, text.data, text.len);
	buf_put(&b, "\n", 1);
	assert_int_equal(note_sign((const char *)text.data, text.len, &log, own, 0, &b, NULL), 0);
	assert_int_equal(
	    note_sign((const char *)text.data, text.len, witness, seed, 1700000000, &b, NULL), 0);
	assert_int_equal(logs_checkpoint_put(f->store, AR_LOG, size, b.data, b.len), 0);
	assert_int_equal(f->log->ops->flush(f->log), 0);
}

static void goes_on_when_the_quorum_has_signed(void **state)
{
	struct ar *f = *state;

	f->config.nwitnesses = f->config.quorum = 1;
	ar_append(f, 1000);
	ar_sealed(f, 900);
	ar_look(f);
	assert_int_equal(f->questions, 0);
	f->witnessed = 900;
	ar_sealed(f, 1000);
	ar_look(f);
	assert_int_equal(f->questions, 1);
	assert_int_equal(ar_asked(f, "to"), 900); /* not what nobody has signed */
	ar_written(f, true);
	assert_int_equal(ar_edge(f).to, 900);
	assert_int_equal(ar_edge(f).seq, 768);
	ar_assert_status(f, "held", true, "more than 900"); /* the next ones wait again */
}

/* The pieces of a long segment end where the quorum has signed, by its key. */
static void a_piece_ends_where_the_quorum_has_signed(void **state)
{
	uint8_t seed[NOTE_KEY_LEN] = {7}, other[NOTE_KEY_LEN] = {8}, key[NOTE_KEY_LEN];
	struct ar *f = *state;

	f->config.nwitnesses = f->config.quorum = 1;
	assert_int_equal(note_public(seed, key), 0);
	assert_int_equal(
	    note_key_init(&f->config.witnesses[0].key, "w.example", NOTE_COSIGNATURE, key, NULL),
	    0);
	f->witnessed = 3000;
	ar_append(f, 3000);
	for (uint64_t size = 50; size <= 3000; size += 50)
		cosigned(f, size, other); /* in its name, by another key */
	ar_look(f);
	assert_int_equal(f->questions, 1);
	assert_int_equal(ar_asked(f, "to"), 3000);
	archive_lost(f->archive);
	for (uint64_t size = 50; size <= 3000; size += 50)
		cosigned(f, size, seed);
	ar_look(f);
	assert_int_equal(f->questions, 2);
	assert_in_range(ar_asked(f, "to"), 50, 600);
}

static void a_full_store_drops_what_a_sink_has_not_taken_and_says_so(void **state)
{
	struct ar *f = *state;
	uint64_t live = 0, map = UINT64_C(4) << 20;

	sink(f);
	ar_append(f, 2000);
	ar_sealed(f, ar_size_of(f));
	f->config.archive_bytes = UINT64_C(1) << 30;
	f->config.archive_age_s = 0;
	clock_override(NSEC_PER_SEC * 5);
	ar_look(f);
	ar_written(f, true);
	assert_int_equal(ar_edge(f).to, 2000);
	assert_int_equal(ar_edge(f).seq, 0); /* there is room */
	while (store_live(f->store, &live) == 0 && live / 90 * 100 <= map && ar_size_of(f) < 20000)
		ar_append(f, 50);
	ar_look(f);
	ar_run(f, 300);
	assert_int_equal(ar_edge(f).seq, 1792);
	assert_true(ar_recorded(f, "log.pruned") >= 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, ar_setup, ar_teardown)
	const struct CMUnitTest tests[] = {T(waits_for_a_sink), T(keeps_as_long_as_configured),
	    T(waits_for_the_quorum), T(goes_on_when_the_quorum_has_signed),
	    T(a_piece_ends_where_the_quorum_has_signed),
	    cmocka_unit_test_setup_teardown(
	        a_full_store_drops_what_a_sink_has_not_taken_and_says_so, ar_setup_small,
	        ar_teardown)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
