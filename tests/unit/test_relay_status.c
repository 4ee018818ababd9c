#include "gateway/ssh/status.h"

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/ssh/request.h"

static int take(struct status *s, uint8_t kind, uint32_t value)
{
	const uint8_t r[STATUS_LEN] = {kind, 0, 0, 0, (uint8_t)(value >> 24),
	    (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};

	return status_take(s, r, sizeof r);
}

static void an_exit_code_is_final(void **state)
{
	struct status s = {0};

	(void)state;
	assert_int_equal(take(&s, STATUS_EXITED, 255), 0);
	assert_true(status_final(&s));
	assert_true(s.exited);
	assert_int_equal(s.value, 255);
	assert_int_equal(take(&s, STATUS_EXITED, 0), -EBADMSG); /* nothing follows */
}

static void a_signal_is_final(void **state)
{
	struct status s = {0};

	(void)state;
	assert_int_equal(take(&s, STATUS_SIGNALED, 9), 0);
	assert_true(status_final(&s) && s.signaled);
}

static void a_failure_is_followed_by_an_exit_code(void **state)
{
	struct status s = {0};

	(void)state;
	assert_int_equal(take(&s, STATUS_FAILED, ENOENT), 0);
	assert_false(status_final(&s));
	assert_int_equal(take(&s, STATUS_EXITED, 127), 0);
	assert_int_equal(s.failed_errno, ENOENT);
	assert_int_equal(s.value, 127);
}

static void pieces_make_a_record(void **state)
{
	const uint8_t r[STATUS_LEN] = {STATUS_EXITED, 0, 0, 0, 0, 0, 0, 3};
	struct status s = {0};

	(void)state;
	for (size_t i = 0; i < sizeof r; i++) {
		assert_false(status_final(&s));
		assert_int_equal(status_take(&s, r + i, 1), 0);
	}
	assert_int_equal(s.value, 3);
}

static void rejects_what_init_may_not_say(void **state)
{
	static const struct {
		uint8_t kind;
		uint32_t value;
	} bad[] = {{0, 0}, {4, 0}, {255, 1}, {STATUS_EXITED, 256}, {STATUS_SIGNALED, 0},
	    {STATUS_SIGNALED, 65}, {STATUS_FAILED, 0}, {STATUS_FAILED, 4096}};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct status s = {0};

		assert_int_equal(take(&s, bad[i].kind, bad[i].value), -EBADMSG);
		assert_false(status_final(&s));
	}
}

static void rejects_padding_at_every_place(void **state)
{
	(void)state;
	for (size_t i = 1; i < 4; i++) {
		uint8_t r[STATUS_LEN] = {STATUS_EXITED};
		struct status s = {0};

		r[i] = 1;
		assert_int_equal(status_take(&s, r, sizeof r), -EBADMSG);
	}
}

static void rejects_a_second_failure(void **state)
{
	struct status s = {0};

	(void)state;
	assert_int_equal(take(&s, STATUS_FAILED, 2), 0);
	assert_int_equal(take(&s, STATUS_FAILED, 2), -EBADMSG);
}

/* 10,000 random strings in random pieces: never a value out of range, never two ends. */
static void random_bytes_never_get_through(void **state)
{
	uint32_t x = 1;

	(void)state;
	for (int i = 0; i < 10000; i++) {
		struct status s = {0};
		uint8_t data[40];
		size_t n;

		for (size_t k = 0; k < sizeof data; k++) {
			x = x * 1664525u + 1013904223u;
			data[k] = (x >> 24) % 3 ? (uint8_t)((x >> 16) % 4) : (uint8_t)(x >> 8);
		}
		n = 1 + (x >> 20) % sizeof data;
		(void)status_take(&s, data, n);
		if (s.exited)
			assert_true(s.value <= 255 && !s.signaled);
		if (s.signaled)
			assert_true(s.value >= 1 && s.value <= 64);
	}
}

static void signals_have_the_names_of_rfc_4254(void **state)
{
	(void)state;
	assert_string_equal(request_signal_name(SIGTERM), "TERM");
	assert_string_equal(request_signal_name(SIGUSR2), "USR2");
	assert_string_equal(request_signal_name(SIGSYS), "SIG@openssh.com");
}

static void environment_goes_by_the_list(void **state)
{
	json_t *list = json_pack("[sss]", "LANG", "LC_*", "A1_b");
	char longest[200];

	(void)state;
	memset(longest, 'A', sizeof longest - 1);
	longest[sizeof longest - 1] = '\0';
	memcpy(longest, "LC_", 3);
	assert_true(request_env_allowed(list, "LANG"));
	assert_true(request_env_allowed(list, "LC_ALL"));
	assert_true(request_env_allowed(list, "LC_"));
	assert_true(request_env_allowed(list, "A1_b"));
	assert_false(request_env_allowed(list, "LANGUAGE"));
	assert_false(request_env_allowed(list, "LC"));
	assert_false(request_env_allowed(list, "LC_A=B"));
	assert_false(request_env_allowed(list, "LC_ A"));
	assert_false(request_env_allowed(list, ""));
	assert_false(request_env_allowed(list, "LD_PRELOAD"));
	assert_false(request_env_allowed(list, longest));
	assert_false(request_env_allowed(NULL, "LANG"));
	json_decref(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_exit_code_is_final),
	    cmocka_unit_test(a_signal_is_final),
	    cmocka_unit_test(a_failure_is_followed_by_an_exit_code),
	    cmocka_unit_test(pieces_make_a_record),
	    cmocka_unit_test(rejects_what_init_may_not_say),
	    cmocka_unit_test(rejects_padding_at_every_place),
	    cmocka_unit_test(rejects_a_second_failure),
	    cmocka_unit_test(random_bytes_never_get_through),
	    cmocka_unit_test(signals_have_the_names_of_rfc_4254),
	    cmocka_unit_test(environment_goes_by_the_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
