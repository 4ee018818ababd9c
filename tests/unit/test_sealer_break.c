#include "creds/sealer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "creds/sealer_internal.h"
#include "lib/buf.h"
#include "lib/merkle.h"
#include "tests/support/sealer_rig.h"

#define ORIGIN_DEMO ORIGIN "/t/demo"

static int go_back(struct sealer *s, const struct buf *from, struct break_note *ret)
{
	cleanup_buf struct buf note;
	struct note n;
	int r;

	buf_init(&note, NOTE_MAX);
	r = sealer_break(s, "demo", from ? from->data : NULL, from ? from->len : 0, &note, NULL);
	if (r < 0)
		return r;
	assert_int_equal(note_parse((const char *)note.data, note.len, &n, NULL), 0);
	assert_int_equal(n.nsignatures, 2);
	assert_int_equal(break_note_parse(n.text, n.text_len, ret, NULL), 0);
	assert_int_equal(note_verify(&n, &ret->key, NULL, NULL), 1);
	for (size_t i = 0; i < n.text_len; i++) /* cut off anywhere it says nothing */
		assert_int_equal(break_note_parse(n.text, i, ret, NULL), -EBADMSG);
	assert_int_equal(break_note_parse(n.text, n.text_len, ret, NULL), 0);
	note_done(&n);
	return 0;
}

static void a_log_goes_back_only_to_what_was_sealed(void **state)
{
	struct sealer *s = sealer_rig_open();
	cleanup_buf struct buf four, seven, other;
	struct break_note b;
	struct checkpoint last;

	(void)state;
	buf_init(&four, NOTE_MAX);
	buf_init(&seven, NOTE_MAX);
	buf_init(&other, NOTE_MAX);
	assert_int_equal(go_back(s, NULL, &b), -ENOENT);
	assert_int_equal(sealer_rig_seal_as(s, "demo", ORIGIN_DEMO, 4, &four), 0);
	assert_int_equal(sealer_rig_seal_as(s, "other", ORIGIN "/t/other", 3, &other), 0);
	assert_int_equal(sealer_rig_seal_as(s, "demo", ORIGIN_DEMO, 7, &seven), 0);
	assert_int_equal(go_back(s, &seven, &b), -EPERM); /* it is there already */
	assert_int_equal(go_back(s, &other, &b), -EPERM);
	four.data[four.len - 20] ^= 1; /* in the epoch's signature: the log's is what counts */
	four.data[four.len - 20] ^= 1;
	four.data[strlen(ORIGIN_DEMO) + 1] = '3'; /* the size */
	assert_int_equal(go_back(s, &four, &b), -EPERM);
	four.data[strlen(ORIGIN_DEMO) + 1] = '4';
	assert_int_equal(sealer_breaks(s, "demo"), 0);
	assert_int_equal(go_back(s, &four, &b), 0);
	assert_int_equal(sealer_breaks(s, "demo"), 1);
	assert_int_equal(b.number, 1);
	assert_int_equal(b.old_size, 7);
	assert_int_equal(b.size, 4);
	assert_string_equal(b.origin, ORIGIN_DEMO);
	sealer_last(s, "demo", &last);
	assert_int_equal(last.size, 4);
	assert_memory_equal(last.root, b.root, DIGEST_LEN);
	sealer_last(s, "other", &last);
	assert_int_equal(last.size, 3);
	sealer_free(s);
}

static void it_is_durable_and_the_same_when_asked_again(void **state)
{
	struct sealer *s = sealer_rig_open();
	cleanup_buf struct buf four;
	struct break_note b, again;

	(void)state;
	buf_init(&four, NOTE_MAX);
	assert_int_equal(sealer_rig_seal_as(s, "demo", ORIGIN_DEMO, 4, &four), 0);
	assert_int_equal(sealer_rig_seal(s, "demo", 9), 0);
	assert_int_equal(go_back(s, &four, &b), 0);
	sealer_free(s);
	s = sealer_rig_open();
	assert_int_equal(sealer_breaks(s, "demo"), 1);
	assert_int_equal(go_back(s, &four, &again), 0);
	assert_int_equal(again.number, 1);
	assert_int_equal(again.old_size, 9);
	assert_int_equal(again.time_s, b.time_s);
	assert_int_equal(sealer_rig_seal(s, "demo", 6), 0); /* it goes on */
	assert_int_equal(sealer_rig_seal(s, "demo", 5), -EPERM);
	assert_int_equal(go_back(s, &four, &again), 0); /* and back once more */
	assert_int_equal(again.number, 2);
	assert_int_equal(again.old_size, 6);
	sealer_free(s);
}

static void a_lost_log_begins_anew(void **state)
{
	struct sealer *s = sealer_rig_open();
	cleanup_buf struct buf note;
	struct break_note b;
	const char *log;

	(void)state;
	buf_init(&note, NOTE_MAX);
	assert_int_equal(sealer_rig_seal(s, "host", 2), 0);
	assert_int_equal(sealer_rig_seal(s, "demo", 9), 0);
	assert_int_equal(go_back(s, NULL, &b), 0);
	assert_int_equal(b.size, 0);
	assert_int_equal(b.old_size, 9);
	sealer_free(s);
	s = sealer_rig_open();
	assert_int_equal(sealer_epoch_note(s, "demo", &note, NULL), -ENOENT);
	for (size_t i = 0; (log = sealer_log(s, i)) != NULL; i++)
		if (strcmp(log, "demo") != 0)
			assert_int_equal(sealer_epoch_note(s, log, &note, NULL), 0);
	assert_int_equal(sealer_next_epoch(s, 1, NULL), 0); /* an empty log holds nobody up */
	assert_int_equal(sealer_rig_seal(s, "demo", 3), 0);
	sealer_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(a_log_goes_back_only_to_what_was_sealed, sealer_rig_fresh),
	    cmocka_unit_test_setup(it_is_durable_and_the_same_when_asked_again, sealer_rig_fresh),
	    cmocka_unit_test_setup(a_lost_log_begins_anew, sealer_rig_fresh),
	};

	return cmocka_run_group_tests(tests, sealer_rig_enter, sealer_rig_leave);
}
