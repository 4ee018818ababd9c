#include "gateway/ssh/tap.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "tests/support/tap_test.h"

static const uint8_t *text(const char *s)
{
	return (const uint8_t *)s;
}

static void expect(struct tap_chain *c, const char *in, const char *want)
{
	cleanup_buf struct buf scratch;
	const uint8_t *out = NULL;
	struct err e = ERR_INIT;
	size_t len = 0;

	buf_init(&scratch, 1 << 20);
	assert_int_equal(tap_chain_bytes(c, text(in), strlen(in), &scratch, &out, &len, &e), 0);
	assert_int_equal(len, strlen(want));
	if (len)
		assert_memory_equal(out, want, len);
}

static void empty_chain_passes_without_a_copy(void **state)
{
	struct tap_chain c = {0};
	struct buf scratch;
	const uint8_t *in = text("abc"), *out = NULL;
	size_t len = 0;

	(void)state;
	buf_init(&scratch, 16);
	assert_int_equal(tap_chain_bytes(&c, in, 3, &scratch, &out, &len, NULL), 0);
	assert_ptr_equal(out, in);
	assert_int_equal(len, 3);
	buf_done(&scratch);
}

static void counting_passes_without_a_copy(void **state)
{
	struct tap_chain c = {0};
	struct buf scratch;
	const uint8_t *in = text("abcd"), *out = NULL;
	uint64_t n = 0;
	size_t len = 0;

	(void)state;
	buf_init(&scratch, 16);
	assert_int_equal(tap_chain_add(&c, tap_count_new(&n)), 0);
	assert_int_equal(tap_chain_bytes(&c, in, 4, &scratch, &out, &len, NULL), 0);
	assert_ptr_equal(out, in);
	assert_int_equal(tap_chain_bytes(&c, in, 2, &scratch, &out, &len, NULL), 0);
	assert_int_equal(n, 6);
	tap_chain_done(&c);
	assert_int_equal(n, 6); /* the counter outlives it */
	buf_done(&scratch);
}

static void each_tap_sees_what_the_one_before_passes_on(void **state)
{
	struct tap_chain c = {0};
	uint64_t before = 0, after = 0;

	(void)state;
	assert_int_equal(tap_chain_add(&c, tap_count_new(&before)), 0);
	assert_int_equal(tap_chain_add(&c, tap_test_double()), 0);
	assert_int_equal(tap_chain_add(&c, tap_test_upper()), 0);
	assert_int_equal(tap_chain_add(&c, tap_count_new(&after)), 0);
	expect(&c, "ab", "ABAB");
	expect(&c, "xyz", "XYZXYZ");
	assert_int_equal(before, 5);
	assert_int_equal(after, 10);
	tap_chain_done(&c);
	assert_int_equal(tap_test_alive, 0);
}

static void held_bytes_come_at_the_end_through_the_rest(void **state)
{
	struct tap_chain c = {0};
	cleanup_buf struct buf scratch;
	const uint8_t *out = NULL;
	struct err e = ERR_INIT;
	size_t len = 0;

	(void)state;
	buf_init(&scratch, 1024);
	assert_int_equal(tap_chain_add(&c, tap_test_hold()), 0);
	assert_int_equal(tap_chain_add(&c, tap_test_upper()), 0);
	expect(&c, "hello ", "");
	expect(&c, "world", "");
	assert_int_equal(tap_chain_end(&c, &scratch, &out, &len, &e), 0);
	assert_int_equal(len, 11);
	assert_memory_equal(out, "HELLO WORLD", 11);
	tap_chain_done(&c);
}

static void a_tap_ends_the_channel_with_a_reason(void **state)
{
	struct tap_chain c = {0};
	cleanup_buf struct buf scratch;
	const uint8_t *out = NULL;
	struct err e = ERR_INIT;
	size_t len = 0;

	(void)state;
	buf_init(&scratch, 1024);
	assert_int_equal(tap_chain_add(&c, tap_test_stop_at('!')), 0);
	expect(&c, "fine", "fine");
	assert_int_equal(tap_chain_bytes(&c, text("no!"), 3, &scratch, &out, &len, &e), -EPERM);
	assert_string_equal(err_text(&e), "stopped");
	tap_chain_done(&c);
}

static void holding_is_bounded(void **state)
{
	struct tap_chain c = {0};
	cleanup_buf struct buf scratch;
	cleanup_buf struct buf block;
	const uint8_t *out = NULL;
	struct err e = ERR_INIT;
	size_t len = 0;

	(void)state;
	buf_init(&scratch, 1 << 20);
	buf_init(&block, TAP_HOLD_MAX);
	for (size_t i = 0; i < TAP_HOLD_MAX; i++)
		buf_put_u8(&block, 'x');
	assert_int_equal(tap_chain_add(&c, tap_test_hold()), 0);
	assert_int_equal(tap_chain_bytes(&c, block.data, block.len, &scratch, &out, &len, &e), 0);
	assert_int_equal(tap_chain_bytes(&c, block.data, 1, &scratch, &out, &len, &e), -ENOBUFS);
	tap_chain_done(&c);
}

static void output_beyond_the_scratch_is_refused(void **state)
{
	struct tap_chain c = {0};
	cleanup_buf struct buf scratch;
	const uint8_t *out = NULL;
	struct err e = ERR_INIT;
	size_t len = 0;

	(void)state;
	buf_init(&scratch, 8);
	assert_int_equal(tap_chain_add(&c, tap_test_double()), 0);
	assert_int_equal(tap_chain_bytes(&c, text("abcd"), 4, &scratch, &out, &len, &e), 0);
	assert_int_equal(len, 8);
	assert_int_equal(tap_chain_bytes(&c, text("abcde"), 5, &scratch, &out, &len, &e), -ENOBUFS);
	tap_chain_done(&c);
}

static void a_full_chain_refuses_and_frees(void **state)
{
	struct tap_chain c = {0};

	(void)state;
	for (int i = 0; i < TAP_CHAIN_MAX; i++)
		assert_int_equal(tap_chain_add(&c, tap_test_upper()), 0);
	assert_int_equal(tap_chain_add(&c, tap_test_upper()), -ENOSPC);
	assert_int_equal(tap_test_alive, TAP_CHAIN_MAX);
	assert_int_equal(tap_chain_add(&c, NULL), -ENOMEM);
	tap_chain_done(&c);
	assert_int_equal(tap_test_alive, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(empty_chain_passes_without_a_copy),
	    cmocka_unit_test(counting_passes_without_a_copy),
	    cmocka_unit_test(each_tap_sees_what_the_one_before_passes_on),
	    cmocka_unit_test(held_bytes_come_at_the_end_through_the_rest),
	    cmocka_unit_test(a_tap_ends_the_channel_with_a_reason),
	    cmocka_unit_test(holding_is_bounded),
	    cmocka_unit_test(output_beyond_the_scratch_is_refused),
	    cmocka_unit_test(a_full_chain_refuses_and_frees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
