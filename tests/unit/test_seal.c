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

/* ---- rounds ---- */

static void what_has_grown_is_sealed_the_host_last(void **state)
{
	(void)state;
	seal_rig_start();
	assert_int_equal(seal_rig_recorded("log.checkpoint:host"), 1); /* demo's */
	assert_int_equal(seal_world->log[0].npoints, 1);
	assert_int_equal(seal_world->log[0].size, 2);
	seal_rig_grow("demo");
	seal_rig_run_ms(1300); /* a tick */
	assert_int_equal(seal_rig_sealed(1), 2);
	assert_int_equal(seal_rig_sealed(0), seal_world->log[0].size);
	assert_int_equal(seal_rig_recorded("log.checkpoint:host"), 2);
	seal_rig_run_ms(1300); /* nothing has grown */
	assert_int_equal(seal_world->log[0].npoints, 2);
	assert_int_equal(seal_world->log[1].npoints, 2);
}

static void soon_is_within_a_second_and_not_each_time(void **state)
{
	(void)state;
	seal_rig_start();
	loop_timer_set(seal_world->seal->tick, -1);
	for (int i = 0; i < 20; i++) {
		seal_rig_grow("demo");
		seal_soon(seal_world->seal);
		seal_rig_run_ms(10);
	}
	seal_rig_run_ms(1200);
	assert_int_equal(seal_rig_sealed(1), 21);
	assert_true(seal_world->log[1].npoints <= 4);
}

static void what_the_signer_signed_and_we_did_not_keep_is_sealed_again(void **state)
{
	(void)state;
	seal_rig_start();
	seal_world->log[1].npoints = seal_world->log[0].npoints =
	    0; /* the core died between the two */
	seal_free(seal_world->seal);
	seal_rig_new_seal();
	seal_linked(seal_world->seal);
	seal_rig_run_ms(60);
	assert_string_equal(seal_world->seal->alarm, "");
	assert_int_equal(seal_rig_sealed(1), seal_world->log[1].size);
	assert_int_equal(seal_rig_sealed(0), seal_world->log[0].size);
}

static void a_silent_signer_is_asked_again(void **state)
{
	(void)state;
	seal_rig_start();
	seal_world->deaf = true;
	seal_rig_grow("demo");
	seal_round(seal_world->seal);
	seal_rig_run_ms(30);
	assert_int_equal(seal_rig_sealed(1), 1);
	loop_timer_set(seal_world->seal->late, 0); /* its time is over */
	seal_rig_run_ms(30);
	assert_false(seal_world->seal->learned);
	seal_world->deaf = false;
	seal_rig_run_ms(2300);
	assert_int_equal(seal_rig_sealed(1),
	    seal_world->log[1].size); /* though the signer had signed it already */
}

static void silence_is_recorded_of_those_that_are_configured(void **state)
{
	(void)state;
	seal_rig_grow("gone");
	seal_rig_start();
	seal_world->seal->idle_boot_ns -= 2 * SEAL_IDLE_S * NSEC_PER_SEC;
	for (size_t i = 0; i < seal_world->seal->nlogs; i++)
		seal_world->seal->logs[i].sealed_boot_ns -= 2 * SEAL_IDLE_S * NSEC_PER_SEC;
	seal_rig_run_ms(1300);
	assert_int_equal(seal_rig_recorded("log.alive:demo"), 1);
	assert_int_equal(seal_rig_recorded("log.alive:host"), 1);
	assert_int_equal(seal_rig_recorded("log.alive:gone"), 0);
	assert_int_equal(seal_rig_sealed(1), 2); /* and it is sealed */
	assert_int_equal(seal_rig_sealed(0), seal_world->log[0].size);
}

/* ---- the rest ---- */

static void on_finished(void *arg)
{
	(void)arg;
	seal_world->finished = true;
}

static void the_end_is_sealed_and_never_waits_long(void **state)
{
	(void)state;
	seal_rig_start();
	seal_rig_grow("demo");
	seal_rig_grow("host");
	seal_finish(seal_world->seal, on_finished, NULL);
	seal_rig_run_ms(60);
	assert_true(seal_world->finished);
	assert_int_equal(seal_rig_sealed(1), 2);
	assert_int_equal(seal_rig_sealed(0), seal_world->log[0].size);
	seal_world->finished = false;
	seal_world->deaf = true;
	seal_rig_grow("host");
	seal_finish(seal_world->seal, on_finished, NULL);
	seal_rig_run_ms(SEAL_FINISH_MS + 200);
	assert_true(seal_world->finished);
}

static void without_a_signer_the_end_comes_at_once(void **state)
{
	(void)state;
	seal_finish(seal_world->seal, on_finished, NULL);
	assert_true(seal_world->finished);
}

static void a_refusal_is_recorded_once_and_shown(void **state)
{
	json_t *o;

	(void)state;
	seal_rig_start();
	(void)close(open("keys/" SEALER_FILE, O_WRONLY | O_TRUNC));
	seal_rig_new_signer();
	seal_linked(seal_world->seal);
	seal_rig_run_ms(2500);
	assert_int_equal(seal_rig_recorded("log.unsealed:host"), 1);
	o = seal_status(seal_world->seal);
	assert_non_null(strstr(json_string_value(json_object_get(o, "state")), SEALER_FILE));
	json_decref(o);
	assert_null(seal_keys(seal_world->seal));
}

static void status_and_keys_name_every_log(void **state)
{
	json_t *o, *logs;

	(void)state;
	seal_rig_start();
	seal_rig_grow("demo");
	o = seal_status(seal_world->seal);
	logs = json_object_get(o, "logs");
	assert_int_equal(json_array_size(logs), 2);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(logs, 1), "size")), 2);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(logs, 1), "sealed")), 1);
	assert_string_equal(json_string_value(json_object_get(o, "state")), "good");
	json_decref(o);
	o = seal_keys(seal_world->seal);
	assert_int_equal(json_array_size(json_object_get(o, "logs")), 2);
	assert_non_null(strstr(json_string_value(json_object_get(o, "first")), ORIGIN "/epoch/0+"));
	json_decref(o);
}

static void logs_have_keys_before_they_are_sealed(void **state)
{
	json_t *o = NULL;

	(void)state;
	seal_linked(seal_world->seal);
	for (int i = 0; i < 60 && !o; i++) {
		seal_rig_run_ms(1);
		o = seal_keys(seal_world->seal);
	}
	assert_int_equal(json_array_size(json_object_get(o, "logs")), 2);
	json_decref(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, seal_rig_fresh, seal_rig_done)
	    T(what_has_grown_is_sealed_the_host_last),
	    T(soon_is_within_a_second_and_not_each_time),
	    T(what_the_signer_signed_and_we_did_not_keep_is_sealed_again),
	    T(a_silent_signer_is_asked_again),
	    T(silence_is_recorded_of_those_that_are_configured),
	    T(the_end_is_sealed_and_never_waits_long),
	    T(without_a_signer_the_end_comes_at_once),
	    T(a_refusal_is_recorded_once_and_shown),
	    T(status_and_keys_name_every_log),
	    T(logs_have_keys_before_they_are_sealed),
	};

	return cmocka_run_group_tests(tests, seal_rig_enter, keygen_leave);
}
