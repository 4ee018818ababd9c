#include "broker/ctl/audit_told.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/ranges.h"
#include "creds/sealer.h"
#include "lib/buf.h"
#include "lib/merkle.h"
#include "lib/msg.h"
#include "tests/support/sealer_rig.h"

/*
 * A tenant's log against what the host's log tells of it: a thief of today's keys writes the one
 * anew, and cannot take a checkpoint out of the other.
 */

#define DEMO    ORIGIN "/t/demo"
#define RECORDS 9

struct log {
	char record[RECORDS + 1][512];
};

static void fill(struct log *l, size_t changed)
{
	uint8_t prev[DIGEST_LEN] = {0};
	char hex[DIGEST_HEX_LEN + 1] = {0};

	for (size_t n = 1; n <= RECORDS; n++) {
		hex_encode(hex, prev, DIGEST_LEN);
		(void)snprintf(l->record[n], sizeof l->record[n],
		    "{\"v\":2,\"log\":\"demo\",\"seq\":%zu,\"time\":\"2026-11-23T12:00:%02zu."
		    "000000Z\",\"boot\":\"b\",\"mono_ns\":1,\"class\":\"x\",\"class_uid\":0,"
		    "\"activity_id\":99,\"type_uid\":99,\"tenant\":\"\",\"subject\":{},\"body\":{"
		    "\"a\":%d},\"prev\":\"%s\"}",
		    n, n, n == changed, hex);
		merkle_leaf(l->record[n], strlen(l->record[n]), prev);
	}
}

static void root_at(const struct log *l, size_t size, uint8_t ret[DIGEST_LEN])
{
	uint8_t leaf[DIGEST_LEN];
	struct merkle m;

	merkle_init(&m);
	for (size_t n = 1; n <= size; n++) {
		merkle_leaf(l->record[n], strlen(l->record[n]), leaf);
		assert_int_equal(merkle_append(&m, leaf), 0);
	}
	merkle_root(&m, ret);
}

static void seal(struct sealer *s, const struct log *l, size_t size, struct buf *out)
{
	struct checkpoint c = {.origin = DEMO, .size = size};

	root_at(l, size, c.root);
	assert_int_equal(sealer_seal(s, "demo", &c, NULL, 0, out, NULL), 0);
}

static void tell(struct audit_told *t, const struct buf *note)
{
	json_t *o = json_pack("{s:s, s:{s:s, s:s%}}", "class", "log.checkpoint", "body", "log",
	    "demo", "note", (const char *)note->data, note->len);
	char *text = json_dumps(o, JSON_COMPACT);

	assert_non_null(text);
	assert_int_equal(audit_told_record(t, text, strlen(text)), 0);
	free(text);
	json_decref(o);
}

static enum verdict judge(const struct sealer *s, const struct audit_told *told,
    const struct log *l, const struct buf *note, const struct buf *breaks)
{
	uint8_t log[NOTE_KEY_LEN], epoch[NOTE_KEY_LEN], first[NOTE_KEY_LEN];
	struct ranges_result result;
	struct note_key k[2];
	struct ranges_keys keys;
	struct ranges *r = NULL;
	enum verdict v;

	sealer_keys(s, log, epoch, first);
	assert_int_equal(note_key_init(&k[0], DEMO, NOTE_ED25519, log, NULL), 0);
	assert_int_equal(sealer_epoch_key(ORIGIN, 0, first, &k[1], NULL), 0);
	assert_int_equal(ranges_keys(k, 2, "demo", &keys, NULL), 0);
	assert_int_equal(ranges_new("demo", &keys, NULL, 0, &r, NULL), 0);
	assert_int_equal(audit_told_give(&told->list[0], r), 0);
	if (breaks)
		assert_int_equal(ranges_break(r, breaks->data, breaks->len), 0);
	for (size_t n = 1; n <= RECORDS; n++)
		assert_int_equal(ranges_record(r, n, l->record[n], strlen(l->record[n])), 0);
	assert_int_equal(ranges_checkpoint(r, RECORDS, note->data, note->len), 0);
	ranges_end(r, RECORDS, true);
	ranges_result(r, &result);
	v = result.verdict;
	ranges_free(r);
	return v;
}

/* What a thief does with keys of today: nothing was ever sealed. */
static struct sealer *as_new(struct sealer *s, const uint8_t *image)
{
	sealer_free(s);
	sealer_rig_put(image);
	return sealer_rig_open();
}

static void a_log_has_every_root_that_the_hosts_log_tells(void **state)
{
	struct sealer *s = sealer_rig_open();
	struct audit_told told = {0};
	cleanup_buf struct buf five, nine;
	uint8_t image[SEALER_FILE_BYTES];
	struct log l, anew;

	(void)state;
	buf_init(&five, NOTE_MAX);
	buf_init(&nine, NOTE_MAX);
	fill(&l, 0);
	fill(&anew, 3);
	sealer_rig_save(image);
	seal(s, &l, 5, &five);
	tell(&told, &five);
	s = as_new(s, image);
	seal(s, &l, RECORDS, &nine);
	assert_int_equal(judge(s, &told, &l, &nine, NULL), VERDICT_GOOD);
	s = as_new(s, image);
	buf_reset(&nine);
	seal(s, &anew, RECORDS, &nine);
	tell(&told, &nine);
	assert_int_equal(judge(s, &told, &anew, &nine, NULL), VERDICT_FORK);
	sealer_free(s);
	audit_told_done(&told);
}

static void a_break_accounts_for_its_own_loss_alone(void **state)
{
	struct sealer *s = sealer_rig_open();
	struct audit_told told = {0};
	cleanup_buf struct buf one, five, nine, early, late;
	uint8_t image[SEALER_FILE_BYTES];
	struct log l;

	(void)state;
	buf_init(&one, NOTE_MAX);
	buf_init(&five, NOTE_MAX);
	buf_init(&nine, NOTE_MAX);
	buf_init(&early, NOTE_MAX);
	buf_init(&late, NOTE_MAX);
	fill(&l, 0);
	sealer_rig_save(image);
	seal(s, &l, 1, &one);
	s = as_new(s, image);
	seal(s, &l, 5, &five);
	assert_int_equal(sealer_break(s, "demo", one.data, one.len, &early, NULL), 0);
	s = as_new(s, image);
	seal(s, &l, RECORDS, &nine);
	assert_int_equal(sealer_break(s, "demo", five.data, five.len, &late, NULL), 0);
	tell(&told, &nine);
	tell(&told, &five);
	assert_int_equal(judge(s, &told, &l, &nine, NULL), VERDICT_ROLLED_BACK);
	assert_int_equal(judge(s, &told, &l, &nine, &early), VERDICT_ROLLED_BACK);
	assert_int_equal(judge(s, &told, &l, &nine, &late), VERDICT_RESTORED);
	sealer_free(s);
	audit_told_done(&told);
}

static void very_many_checkpoints_are_thinned_out(void **state)
{
	struct sealer *s = sealer_rig_open();
	struct audit_told told = {0};
	cleanup_buf struct buf note;
	struct log l;

	(void)state;
	buf_init(&note, NOTE_MAX);
	fill(&l, 0);
	seal(s, &l, 5, &note);
	for (size_t i = 0; i < 3 * TOLD_MAX; i++)
		tell(&told, &note);
	assert_in_range(told.list[0].n, TOLD_MAX / 2, TOLD_MAX);
	sealer_free(s);
	audit_told_done(&told);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(a_log_has_every_root_that_the_hosts_log_tells, sealer_rig_fresh),
	    cmocka_unit_test_setup(a_break_accounts_for_its_own_loss_alone, sealer_rig_fresh),
	    cmocka_unit_test_setup(very_many_checkpoints_are_thinned_out, sealer_rig_fresh),
	};

	return cmocka_run_group_tests(tests, sealer_rig_enter, sealer_rig_leave);
}
