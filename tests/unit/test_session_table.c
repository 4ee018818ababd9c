#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/core/lifecycle.h"

/*
 * The table of states and events: every pair is either here or refused.
 */

static void a_connection_goes_one_way(void **state)
{
	(void)state;
	assert_int_equal(conn_next(CONN_SPARE, CONN_ACCEPTED), CONN_AUTH);
	assert_int_equal(conn_next(CONN_AUTH, CONN_GRANTED), CONN_OPEN);
	assert_int_equal(conn_next(CONN_SPARE, CONN_GRANTED), -1);
	assert_int_equal(conn_next(CONN_OPEN, CONN_GRANTED), -1);
	assert_int_equal(conn_next(CONN_AUTH, CONN_ACCEPTED), -1);
	for (int s = 0; s < CONN_ENDED; s++)
		assert_int_equal(conn_next((enum conn_state)s, CONN_CLOSED), CONN_ENDED);
	for (int e = 0; e < CONN_EVENTS; e++)
		assert_int_equal(conn_next(CONN_ENDED, (enum conn_event)e), -1);
}

static void a_session_goes_one_way(void **state)
{
	(void)state;
	assert_int_equal(session_next(SESSION_NEW, SESSION_ORDERED), SESSION_STARTING);
	assert_int_equal(session_next(SESSION_STARTING, SESSION_STARTED), SESSION_LIVE);
	assert_int_equal(session_next(SESSION_LIVE, SESSION_END), SESSION_ENDING);
	assert_int_equal(session_next(SESSION_ENDING, SESSION_GONE), SESSION_ENDED);
	for (int s = 0; s < SESSION_STATES; s++)
		for (int e = 0; e < SESSION_EVENTS; e++) {
			int next = session_next((enum session_state)s, (enum session_event)e);

			assert_true(next == -1 || next >= s);
		}
}

static void an_end_is_told_to_spawn_once(void **state)
{
	(void)state;
	assert_int_equal(session_next(SESSION_STARTING, SESSION_END), SESSION_ENDING);
	assert_int_equal(session_next(SESSION_ENDING, SESSION_END), -1);
	/* it was starting when the end was ordered: both answers may still come */
	assert_int_equal(session_next(SESSION_ENDING, SESSION_STARTED), SESSION_ENDING);
	assert_int_equal(session_next(SESSION_ENDING, SESSION_FAILED), SESSION_ENDED);
}

static void an_ended_session_stays_so(void **state)
{
	(void)state;
	for (int e = 0; e < SESSION_EVENTS; e++)
		assert_int_equal(session_next(SESSION_ENDED, (enum session_event)e), -1);
}

static void names_are_found_again(void **state)
{
	(void)state;
	for (int s = 0; s < SESSION_STATES; s++)
		assert_int_equal(session_state_find(session_state_name((enum session_state)s)), s);
	for (int s = 0; s < CONN_STATES; s++)
		assert_int_equal(conn_state_find(conn_state_name((enum conn_state)s)), s);
	assert_int_equal(session_state_find("x"), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_connection_goes_one_way),
	    cmocka_unit_test(a_session_goes_one_way),
	    cmocka_unit_test(an_end_is_told_to_spawn_once),
	    cmocka_unit_test(an_ended_session_stays_so),
	    cmocka_unit_test(names_are_found_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
