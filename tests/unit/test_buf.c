#include "lib/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void writes_wire_types(void **state)
{
	cleanup_buf struct buf b;

	(void)state;
	buf_init(&b, 100);
	buf_put_u8(&b, 1);
	buf_put_u32(&b, 0x02030405);
	buf_put_u64(&b, 0x060708090a0b0c0d);
	buf_put_string(&b, "ab", 2);
	buf_put_cstring(&b, "");
	assert_int_equal(buf_status(&b), 0);
	assert_int_equal(b.len, 1 + 4 + 8 + 6 + 4);
	assert_memory_equal(b.data, "\1\2\3\4\5\6\7\10\11\12\13\14\15\0\0\0\2ab\0\0\0\0", b.len);
}

static void mpint(const void *in, size_t len, const void *want, size_t want_len)
{
	cleanup_buf struct buf b;

	buf_init(&b, 100);
	buf_put_mpint(&b, in, len);
	assert_int_equal(b.len, want_len);
	assert_memory_equal(b.data, want, want_len);
}

/* The examples of RFC 4251 section 5 that are not negative. */
static void writes_mpints_in_their_shortest_form(void **state)
{
	(void)state;
	mpint("", 0, "\0\0\0\0", 4);
	mpint("\0\0", 2, "\0\0\0\0", 4);
	mpint("\x80", 1, "\0\0\0\2\0\x80", 6);
	mpint("\0\0\x7f", 3, "\0\0\0\1\x7f", 5);
	mpint(
	    "\x09\xa3\x78\xf9\xb2\xe3\x32\xa7", 8, "\0\0\0\10\x09\xa3\x78\xf9\xb2\xe3\x32\xa7", 12);
}

static void takes_exactly_max(void **state)
{
	cleanup_buf struct buf b;

	(void)state;
	buf_init(&b, 4);
	buf_put(&b, "abcd", 4);
	assert_int_equal(buf_status(&b), 0);
	assert_string_equal(buf_cstr(&b), "abcd");
	buf_put_u8(&b, 0);
	assert_int_equal(buf_status(&b), -ENOBUFS);
	assert_int_equal(b.len, 4);
}

static void an_append_that_fails_changes_nothing_and_sticks(void **state)
{
	cleanup_buf struct buf b;

	(void)state;
	buf_init(&b, 5);
	buf_put_string(&b, "ab", 2);
	assert_int_equal(buf_status(&b), -ENOBUFS);
	assert_int_equal(b.len, 0);
	buf_put_u8(&b, 1);
	assert_int_equal(b.len, 0);
	assert_null(buf_cstr(&b));
	buf_reset(&b);
	buf_put_mpint(&b, (const uint8_t *)"\x80", 1);
	assert_int_equal(b.len, 0);
	buf_reset(&b);
	buf_printf(&b, "%s", "123456");
	assert_int_equal(b.len, 0);
	assert_int_equal(buf_status(&b), -ENOBUFS);
	buf_reset(&b);
	buf_printf(&b, "%s", "12345");
	assert_int_equal(buf_status(&b), 0);
	assert_string_equal(buf_cstr(&b), "12345");
}

static void refuses_lengths_that_do_not_fit_u32(void **state)
{
	cleanup_buf struct buf b;

	(void)state;
	buf_init(&b, SIZE_MAX);
	buf_put_string(&b, "", (size_t)UINT32_MAX + 1);
	assert_int_equal(buf_status(&b), -ENOBUFS);
	buf_reset(&b);
	buf_put_mpint(&b, (const uint8_t *)"\1", (size_t)UINT32_MAX + 1);
	assert_int_equal(buf_status(&b), -ENOBUFS);
}

static void says_when_there_is_no_memory(void **state)
{
	cleanup_buf struct buf b;

	(void)state;
	buf_init(&b, SIZE_MAX);
	buf_put(&b, "ab", 2);
	/* far more than an address space: malloc refuses before anything is read */
	buf_put(&b, "", SIZE_MAX / 2);
	assert_int_equal(buf_status(&b), -ENOMEM);
	assert_int_equal(b.len, 2);
	assert_memory_equal(b.data, "ab", 2);
}

static void grows_and_keeps_what_it_has(void **state)
{
	cleanup_buf struct buf b;

	(void)state;
	buf_init(&b, 10000);
	for (unsigned i = 0; i < 10000; i++)
		buf_put_u8(&b, (uint8_t)(i % 251));
	assert_int_equal(buf_status(&b), 0);
	assert_true(b.cap <= b.max);
	for (unsigned i = 0; i < 10000; i++)
		assert_int_equal(b.data[i], i % 251);
}

static void consumes_from_the_front(void **state)
{
	cleanup_buf struct buf b;

	(void)state;
	buf_init(&b, 10);
	buf_put(&b, "abcdef", 6);
	buf_consume(&b, 0);
	buf_consume(&b, 4);
	assert_string_equal(buf_cstr(&b), "ef");
	buf_consume(&b, 2);
	assert_int_equal(b.len, 0);
}

static void an_empty_one_is_an_empty_string(void **state)
{
	cleanup_buf struct buf b;

	(void)state;
	buf_init(&b, 0);
	assert_string_equal(buf_cstr(&b), "");
	buf_put(&b, NULL, 0);
	assert_int_equal(buf_status(&b), 0);
}

static void done_keeps_max_and_errno(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 10);
	buf_put_u8(&b, 1);
	errno = ENOTTY;
	buf_done(&b);
	assert_int_equal(errno, ENOTTY);
	assert_int_equal(b.max, 10);
	assert_null(b.data);
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(writes_wire_types),
	    cmocka_unit_test(writes_mpints_in_their_shortest_form),
	    cmocka_unit_test(takes_exactly_max),
	    cmocka_unit_test(an_append_that_fails_changes_nothing_and_sticks),
	    cmocka_unit_test(refuses_lengths_that_do_not_fit_u32),
	    cmocka_unit_test(says_when_there_is_no_memory),
	    cmocka_unit_test(grows_and_keeps_what_it_has),
	    cmocka_unit_test(consumes_from_the_front),
	    cmocka_unit_test(an_empty_one_is_an_empty_string),
	    cmocka_unit_test(done_keeps_max_and_errno),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
