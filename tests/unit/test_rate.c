#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/core/rate.h"
#include "lib/clock.h"

static void allows_a_burst_and_then_the_rate(void **state)
{
	struct rate r = {0};
	int64_t now = 1000 * NSEC_PER_SEC;

	(void)state;
	for (int i = 0; i < 5; i++)
		assert_true(rate_take(&r, now, 10, 5));
	assert_false(rate_take(&r, now, 10, 5));
	assert_false(rate_take(&r, now + NSEC_PER_SEC / 10 - 1, 10, 5));
	assert_true(rate_take(&r, now + NSEC_PER_SEC / 10, 10, 5));
	assert_false(rate_take(&r, now + NSEC_PER_SEC / 10, 10, 5));
	assert_int_equal(r.refused, 3);
}

static void a_pause_fills_no_more_than_the_burst(void **state)
{
	struct rate r = {0};
	int64_t now = 1000 * NSEC_PER_SEC;

	(void)state;
	assert_true(rate_take(&r, now, 10, 5));
	now += 3600 * NSEC_PER_SEC;
	for (int i = 0; i < 5; i++)
		assert_true(rate_take(&r, now, 10, 5));
	assert_false(rate_take(&r, now, 10, 5));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(allows_a_burst_and_then_the_rate),
	    cmocka_unit_test(a_pause_fills_no_more_than_the_burst),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
