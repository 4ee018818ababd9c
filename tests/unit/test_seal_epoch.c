#include "broker/core/seal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/core/seal_internal.h"
#include "creds/signer.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/merkle.h"
#include "lib/msg.h"
#include "lib/util.h"
#include "tests/support/keygen.h"
#include "tests/support/seal_rig.h"

/*
 * The schedule of seals with a real signer and logs of leaves in memory. A commit takes a turn of
 * the loop.
 */

/* ---- epochs ---- */

static void on_turned(int r, uint64_t epoch, const char *why, void *arg)
{
	(void)why;
	(void)arg;
	seal_world->turned = r == 0 ? 1 : r;
	seal_world->turned_epoch = epoch;
}

static void check_chain(const struct fake_log *l, uint64_t epochs)
{
	json_auto_t *keys = seal_keys(seal_world->seal);
	const char *first = json_string_value(json_object_get(keys, "first"));
	struct note_key k;

	assert_int_equal(l->nepochs, epochs);
	assert_int_equal(note_key_parse(first, strlen(first), &k, NULL), 0);
	for (uint64_t i = 0; i < epochs; i++) {
		struct epoch_note en;
		uint8_t root[DIGEST_LEN];
		struct note n;
		bool found = false;

		assert_int_equal(
		    note_parse(l->epoch[i].text, strlen(l->epoch[i].text), &n, NULL), 0);
		assert_int_equal(note_verify(&n, &k, NULL, NULL), 1);
		assert_int_equal(epoch_note_parse(n.text, n.text_len, &en, NULL), 0);
		assert_int_equal(en.epoch, i + 1);
		seal_rig_root(l, 0, en.last.size, root);
		assert_memory_equal(root, en.last.root, DIGEST_LEN);
		for (size_t c = 0; c < l->npoints; c++)
			found |= l->point[c].n == en.last.size;
		assert_true(found); /* it ended with a checkpoint */
		k = en.key;
		note_done(&n);
	}
}

static void an_epoch_is_turned_with_every_logs_note(void **state)
{
	(void)state;
	seal_rig_start();
	for (int i = 1; i <= 3; i++) {
		seal_rig_grow("demo");
		seal_world->turned = 0;
		assert_int_equal(seal_turn(seal_world->seal, on_turned, NULL), 0);
		assert_int_equal(seal_turn(seal_world->seal, NULL, NULL), -EBUSY);
		seal_rig_run_ms(80);
		assert_int_equal(seal_world->turned, 1);
		assert_int_equal(seal_world->turned_epoch, i);
		assert_int_equal(seal_rig_recorded("log.epoch:demo"), i);
		assert_int_equal(seal_rig_recorded("log.epoch:host"), i);
		assert_int_equal(
		    seal_rig_sealed(1), seal_world->log[1].size); /* the notes' records as well */
		assert_int_equal(seal_rig_sealed(0), seal_world->log[0].size);
	}
	check_chain(&seal_world->log[0], 3);
	check_chain(&seal_world->log[1], 3);
	assert_string_not_equal(seal_world->meta[0].text, "");
}

static void an_epoch_is_due_after_its_time(void **state)
{
	(void)state;
	seal_rig_start();
	seal_world->seal->turned_s -= 3600;
	seal_rig_run_ms(1300);
	assert_int_equal(seal_world->seal->epoch, 1);
	assert_int_equal(seal_world->log[0].nepochs, 1);
	seal_free(seal_world->seal);
	seal_rig_new_seal();
	assert_false(seal_epoch_due(seal_world->seal)); /* remembered */
}

static void without_durable_notes_there_is_no_ratchet(void **state)
{
	(void)state;
	seal_rig_start();
	seal_world->fails = true;
	assert_int_equal(seal_turn(seal_world->seal, on_turned, NULL), 0);
	seal_rig_run_ms(80);
	assert_int_equal(seal_world->turned, -EIO);
	assert_int_equal(seal_world->seal->epoch, 0);
	seal_world->fails = false;
	seal_world->turned = 0;
	assert_int_equal(seal_turn(seal_world->seal, on_turned, NULL), 0);
	seal_rig_run_ms(80);
	assert_int_equal(seal_world->turned, 1);
}

static void a_turn_that_loses_the_signer_fails_and_may_be_repeated(void **state)
{
	(void)state;
	seal_rig_start();
	assert_int_equal(seal_turn(seal_world->seal, on_turned, NULL), 0);
	seal_lost(seal_world->seal);
	assert_int_equal(seal_world->turned, -EPIPE);
	assert_int_equal(seal_turn(seal_world->seal, NULL, NULL), -EPIPE);
	json_array_clear(seal_world->questions);
	seal_rig_new_signer();
	seal_linked(seal_world->seal);
	seal_rig_run_ms(60);
	seal_world->turned = 0;
	assert_int_equal(seal_turn(seal_world->seal, on_turned, NULL), 0);
	seal_rig_run_ms(80);
	assert_int_equal(seal_world->turned, 1);
}

/* ---- a store that was set back ---- */

static void a_store_set_back_stops_what_is_new(void **state)
{
	char why[400];

	(void)state;
	seal_rig_grow("demo");
	seal_rig_grow("demo");
	seal_rig_start();
	assert_true(seal_ok(seal_world->seal, why, sizeof why));
	seal_world->log[1].size--; /* of an older snapshot */
	seal_world->log[1].npoints = 0;
	seal_rig_restart();
	assert_int_equal(seal_world->log[1].nbreaks, 0); /* nobody has asked for one */
	assert_false(seal_ok(seal_world->seal, why, sizeof why));
	assert_non_null(strstr(why, "log demo"));
	assert_int_equal(seal_rig_recorded("log.rollback:host"), 1);
	seal_rig_restart(); /* that changes nothing */
	assert_false(seal_ok(seal_world->seal, why, sizeof why));
	assert_int_equal(seal_accept(seal_world->seal), 0);
	assert_true(seal_ok(seal_world->seal, why, sizeof why));
	seal_rig_run_ms(200);
	assert_int_equal(seal_rig_recorded("log.rollback.accepted:host"), 1);
	assert_int_equal(seal_world->log[1].nbreaks, 1); /* from its beginning: no seal is left */
	assert_non_null(strstr(
	    seal_world->log[1].broken[0].text, SEALER_BREAK_TEXT "\n" ORIGIN "/t/demo\n1\n3\n"));
	assert_int_equal(seal_world->log[0].nbreaks, 0); /* that is whole */
	assert_int_equal(seal_rig_recorded("log.break:host"), 1);
	assert_int_equal(seal_rig_recorded("log.break:demo"), 1);
	assert_int_equal(seal_rig_sealed(1), seal_world->log[1].size);
	assert_int_equal(seal_rig_sealed(0), seal_world->log[0].size);
	seal_rig_restart();
	assert_true(seal_ok(seal_world->seal, why, sizeof why));
	assert_string_equal(seal_world->seal->alarm, "");
	assert_int_equal(seal_world->log[1].nbreaks, 1);
}

static void a_break_goes_back_to_the_last_seal_that_is_left(void **state)
{
	char why[400];

	(void)state;
	seal_rig_start();
	for (int i = 0; i < 3; i++) {
		seal_rig_grow("demo");
		seal_rig_restart();
	}
	assert_int_equal(seal_rig_sealed(1), 4);
	seal_world->log[1].size = seal_world->log[1].npoints = 2;
	seal_rig_grow("demo"); /* what it has become since */
	seal_world->log[1].leaf[2][3] ^= 1;
	seal_rig_grow("demo");
	seal_rig_grow("demo");
	seal_rig_restart();
	assert_int_equal(seal_rig_sealed(1), 2);
	assert_int_equal(seal_accept(seal_world->seal), 0);
	seal_rig_run_ms(200);
	assert_true(seal_ok(seal_world->seal, why, sizeof why));
	assert_int_equal(seal_world->log[1].nbreaks, 1);
	assert_non_null(strstr(seal_world->log[1].broken[0].text, "/t/demo\n1\n4\n"));
	assert_int_equal(seal_rig_sealed(1), seal_world->log[1].size);
}

static void a_break_that_was_not_kept_is_asked_for_again(void **state)
{
	(void)state;
	seal_rig_grow("demo");
	seal_rig_start();
	seal_world->log[1].size = 1;
	seal_world->log[1].npoints = 0;
	seal_rig_restart();
	seal_world->deaf = true; /* the core dies before it hears of it */
	assert_int_equal(seal_accept(seal_world->seal), 0);
	seal_rig_run_ms(60);
	assert_int_equal(seal_world->log[1].nbreaks, 0);
	seal_world->deaf = false;
	seal_rig_new_signer();
	seal_rig_restart();
	seal_rig_run_ms(100);
	assert_int_equal(seal_world->log[1].nbreaks, 1);
	assert_non_null(strstr(seal_world->log[1].broken[0].text, "/t/demo\n1\n2\n"));
	assert_string_equal(seal_world->seal->alarm, "");
	assert_int_equal(seal_rig_sealed(1), seal_world->log[1].size);
}

static void a_signer_that_was_restored_follows_its_own_epochs(void **state)
{
	uint8_t old[SEALER_FILE_BYTES];
	int fd;

	(void)state;
	seal_rig_start();
	fd = openat(seal_world->keys_fd, SEALER_FILE, O_RDWR | O_CLOEXEC);
	assert_int_equal(pread(fd, old, sizeof old, 0), sizeof old);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(seal_turn(seal_world->seal, on_turned, NULL), 0);
		seal_rig_run_ms(80);
	}
	assert_int_equal(seal_world->seal->epoch, 2);
	assert_int_equal(pwrite(fd, old, sizeof old, 0), sizeof old);
	(void)close(fd);
	seal_rig_new_signer();
	seal_rig_grow("demo");
	seal_rig_restart();
	seal_rig_run_ms(100);
	assert_int_equal(seal_world->seal->epoch, 2);
	assert_int_equal(seal_rig_sealed(1), seal_world->log[1].size);
	assert_non_null(strstr(
	    seal_world->log[1].point[seal_world->log[1].npoints - 1].text, ORIGIN "/epoch/2 "));
	assert_non_null(strstr(seal_world->seal->alarm, "does not know")); /* and it is said */
	check_chain(&seal_world->log[0], 2);
}

static void tenants_are_carried_over_before_the_host(void **state)
{
	(void)state;
	seal_rig_start();
	seal_world->fails = true; /* the tenants' notes are not on the disk */
	assert_int_equal(seal_turn(seal_world->seal, on_turned, NULL), 0);
	seal_rig_run_ms(80);
	assert_int_equal(seal_world->log[0].nepochs, 0);
	assert_int_equal(seal_world->log[1].nepochs, 1);
}

static void a_log_that_was_replaced_is_noticed(void **state)
{
	char why[400];

	(void)state;
	seal_rig_start();
	seal_world->log[1].leaf[0][5] ^= 1;
	seal_rig_grow("demo");
	seal_rig_restart();
	assert_false(seal_ok(seal_world->seal, why, sizeof why));
	assert_int_equal(seal_rig_sealed(1), 1);
}

static void a_log_that_is_gone_is_noticed(void **state)
{
	char why[400];

	(void)state;
	seal_rig_start();
	seal_world->log[1].size = 0;
	seal_rig_restart();
	assert_false(seal_ok(seal_world->seal, why, sizeof why));
}

static void a_signer_with_other_keys_is_noticed(void **state)
{
	char why[400];

	(void)state;
	seal_rig_start();
	assert_int_equal(unlink("keys/" SEALER_FILE), 0);
	seal_rig_new_signer();
	seal_rig_restart();
	assert_false(seal_ok(seal_world->seal, why, sizeof why));
	assert_non_null(strstr(why, "the signer does not know"));
	assert_int_equal(seal_rig_recorded("log.rollback:host"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, seal_rig_fresh, seal_rig_done)
	    T(an_epoch_is_turned_with_every_logs_note),
	    T(an_epoch_is_due_after_its_time),
	    T(without_durable_notes_there_is_no_ratchet),
	    T(a_turn_that_loses_the_signer_fails_and_may_be_repeated),
	    T(a_store_set_back_stops_what_is_new),
	    T(a_break_goes_back_to_the_last_seal_that_is_left),
	    T(a_break_that_was_not_kept_is_asked_for_again),
	    T(a_signer_that_was_restored_follows_its_own_epochs),
	    T(tenants_are_carried_over_before_the_host),
	    T(a_log_that_was_replaced_is_noticed),
	    T(a_log_that_is_gone_is_noticed),
	    T(a_signer_with_other_keys_is_noticed),
	};

	return cmocka_run_group_tests(tests, seal_rig_enter, keygen_leave);
}
