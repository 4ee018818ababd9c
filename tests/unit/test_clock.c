#include "lib/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <time.h>

static void formats(int64_t ns, const char *want)
{
	char out[32];

	clock_format(out, sizeof out, ns);
	assert_string_equal(out, want);
}

static void formats_as_utc_with_microseconds(void **state)
{
	(void)state;
	formats(0, "1970-01-01T00:00:00.000000Z");
	formats(1795448328 * NSEC_PER_SEC + 123456999, "2026-11-23T15:38:48.123456Z");
	formats(-1, "1969-12-31T23:59:59.999999Z");
	formats(INT64_MAX, "2262-04-11T23:47:16.854775Z");
	formats(INT64_MIN, "1677-09-21T00:12:43.145224Z");
}

static void a_short_buffer_is_terminated(void **state)
{
	char out[5];

	(void)state;
	clock_format(out, sizeof out, 0);
	assert_string_equal(out, "1970");
	clock_format(out, 0, 0);
}

static void the_override_moves_wall_time_alone(void **state)
{
	int64_t wall = clock_wall_ns(), boot = clock_boot_ns(), mono = clock_mono_ns();

	(void)state;
	clock_override(-3600 * NSEC_PER_SEC);
	assert_true(clock_wall_ns() < wall - 3590 * NSEC_PER_SEC);
	assert_true(clock_boot_ns() >= boot && clock_boot_ns() < boot + 60 * NSEC_PER_SEC);
	assert_true(clock_mono_ns() >= mono);
	clock_override(0);
	assert_true(clock_wall_ns() >= wall - NSEC_PER_SEC);
	assert_true(clock_wall_ns() / NSEC_PER_SEC - time(NULL) <= 1);
}

static void the_boot_id_is_a_uuid(void **state)
{
	const char *id = clock_boot_id();

	(void)state;
	assert_int_equal(strlen(id), 36);
	assert_int_equal(strspn(id, "0123456789abcdef-"), 36);
	assert_string_equal(id, clock_boot_id());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(formats_as_utc_with_microseconds),
	    cmocka_unit_test(a_short_buffer_is_terminated),
	    cmocka_unit_test(the_override_moves_wall_time_alone),
	    cmocka_unit_test(the_boot_id_is_a_uuid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
