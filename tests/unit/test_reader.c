#include "lib/reader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"

static void reads_what_buf_writes(void **state)
{
	cleanup_buf struct buf b;
	struct reader r, sub;
	const uint8_t *p;
	char text[4];
	uint8_t u8;
	uint32_t u32;
	uint64_t u64;
	size_t n;

	(void)state;
	buf_init(&b, 200);
	buf_put_u8(&b, 0xfe);
	buf_put_u32(&b, 0xfedcba98);
	buf_put_u64(&b, 0xfedcba9876543210);
	buf_put_cstring(&b, "abc");
	buf_put_string(&b, "\0\0", 2);
	buf_put_mpint(&b, (const uint8_t *)"\x80\1", 2);
	buf_put_string(&b, "\0\0\0\1x", 5);
	reader_init(&r, b.data, b.len);
	assert_int_equal(reader_u8(&r, &u8), 0);
	assert_int_equal(u8, 0xfe);
	assert_int_equal(reader_u32(&r, &u32), 0);
	assert_int_equal(u32, 0xfedcba98);
	assert_int_equal(reader_u64(&r, &u64), 0);
	assert_true(u64 == 0xfedcba9876543210);
	assert_int_equal(reader_cstring(&r, text, sizeof text), 0);
	assert_string_equal(text, "abc");
	assert_int_equal(reader_string(&r, 2, &p, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(reader_mpint(&r, 2, &p, &n), 0);
	assert_int_equal(n, 2);
	assert_memory_equal(p, "\x80\1", 2);
	assert_int_equal(reader_sub(&r, 5, &sub), 0);
	assert_int_equal(reader_end(&r), 0);
	assert_int_equal(reader_string(&sub, 10, &p, &n), 0);
	assert_int_equal(reader_end(&sub), 0);
}

/* On every cut of a valid record each call fails, moves nothing and writes nothing. */
static void refuses_every_truncation(void **state)
{
	static const uint8_t string[] = {0, 0, 0, 4, 'a', 'b', 'c', 'd'};

	(void)state;
	for (size_t len = 0; len < sizeof string; len++) {
		uint8_t *copy = malloc(len ? len : 1); /* of its exact size, for the sanitizer */
		struct reader r, sub = {NULL, 77};
		const uint8_t *p = string;
		char text[16] = "untouched";
		size_t n = 99;

		assert_non_null(copy);
		memcpy(copy, string, len);
		reader_init(&r, copy, len);
		assert_int_equal(reader_string(&r, 100, &p, &n), -EBADMSG);
		assert_int_equal(reader_cstring(&r, text, sizeof text), -EBADMSG);
		assert_int_equal(reader_sub(&r, 100, &sub), -EBADMSG);
		assert_int_equal(reader_mpint(&r, 100, &p, &n), -EBADMSG);
		assert_int_equal(reader_bytes(&r, len + 1, &p), -EBADMSG);
		assert_ptr_equal(r.p, copy);
		assert_int_equal(r.left, len);
		assert_ptr_equal(p, string);
		assert_int_equal(n, 99);
		assert_int_equal(sub.left, 77);
		assert_string_equal(text, "untouched");
		free(copy);
	}
}

static void refuses_short_numbers(void **state)
{
	struct reader r;
	uint8_t u8 = 1;
	uint32_t u32 = 2;
	uint64_t u64 = 3;

	(void)state;
	reader_init(&r, "", 0);
	assert_int_equal(reader_u8(&r, &u8), -EBADMSG);
	reader_init(&r, "abc", 3);
	assert_int_equal(reader_u32(&r, &u32), -EBADMSG);
	reader_init(&r, "abcdefg", 7);
	assert_int_equal(reader_u64(&r, &u64), -EBADMSG);
	assert_int_equal(r.left, 7);
	assert_int_equal(u8 + (int)u32 + (int)u64, 6);
}

static void refuses_a_string_beyond_max(void **state)
{
	struct reader r;
	const uint8_t *p;
	size_t n;

	(void)state;
	reader_init(&r, "\0\0\0\3abc", 7);
	assert_int_equal(reader_string(&r, 2, &p, &n), -EBADMSG);
	assert_int_equal(reader_string(&r, 3, &p, &n), 0);
	reader_init(&r, "\xff\xff\xff\xff", 4);
	assert_int_equal(reader_string(&r, SIZE_MAX, &p, &n), -EBADMSG);
}

static void cstring_refuses_nul_and_too_long(void **state)
{
	struct reader r;
	char text[4];

	(void)state;
	reader_init(&r, "\0\0\0\3a\0c", 7);
	assert_int_equal(reader_cstring(&r, text, sizeof text), -EBADMSG);
	reader_init(&r, "\0\0\0\4abcd", 8);
	assert_int_equal(reader_cstring(&r, text, sizeof text), -EBADMSG);
	assert_int_equal(reader_cstring(&r, text, 0), -EBADMSG);
	reader_init(&r, "\0\0\0\3abc", 7);
	assert_int_equal(reader_cstring(&r, text, sizeof text), 0);
	reader_init(&r, "\0\0\0\0", 4);
	assert_int_equal(reader_cstring(&r, text, 1), 0);
	assert_string_equal(text, "");
}

static int try_mpint(const char *wire, size_t len, size_t max, size_t *ret_len)
{
	struct reader r;
	const uint8_t *p;

	reader_init(&r, wire, len);
	return reader_mpint(&r, max, &p, ret_len);
}

static void mpint_is_not_negative_and_shortest(void **state)
{
	size_t n = 9;

	(void)state;
	assert_int_equal(try_mpint("\0\0\0\1\x80", 5, 8, &n), -EBADMSG);   /* negative */
	assert_int_equal(try_mpint("\0\0\0\1\0", 5, 8, &n), -EBADMSG);     /* zero is empty */
	assert_int_equal(try_mpint("\0\0\0\2\0\x7f", 6, 8, &n), -EBADMSG); /* needless zero */
	assert_int_equal(n, 9);
	assert_int_equal(try_mpint("\0\0\0\0", 4, 8, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(try_mpint("\0\0\0\2\0\x80", 6, 1, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(try_mpint("\0\0\0\2\1\2", 6, 1, &n), -EBADMSG); /* beyond max */
	assert_int_equal(try_mpint("\0\0\0\2\1\2", 6, SIZE_MAX, &n), 0);
}

static void a_sub_reader_cannot_see_past_its_field(void **state)
{
	struct reader r, sub;
	uint32_t v;

	(void)state;
	reader_init(&r, "\0\0\0\3abcdefg", 11);
	assert_int_equal(reader_sub(&r, 3, &sub), 0);
	assert_int_equal(reader_u32(&sub, &v), -EBADMSG);
	assert_int_equal(reader_end(&sub), -EBADMSG);
	assert_int_equal(r.left, 4);
}

static void rejects_trailing_byte(void **state)
{
	struct reader r;
	uint8_t v;

	(void)state;
	reader_init(&r, "ab", 2);
	assert_int_equal(reader_u8(&r, &v), 0);
	assert_int_equal(reader_end(&r), -EBADMSG);
	assert_int_equal(reader_u8(&r, &v), 0);
	assert_int_equal(reader_end(&r), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_what_buf_writes),
	    cmocka_unit_test(refuses_every_truncation),
	    cmocka_unit_test(refuses_short_numbers),
	    cmocka_unit_test(refuses_a_string_beyond_max),
	    cmocka_unit_test(cstring_refuses_nul_and_too_long),
	    cmocka_unit_test(mpint_is_not_negative_and_shortest),
	    cmocka_unit_test(a_sub_reader_cannot_see_past_its_field),
	    cmocka_unit_test(rejects_trailing_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
