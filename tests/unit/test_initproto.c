#include "broker/init/proto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"

static const char *const argv[] = {"/bin/sh", "-c", "", NULL};
static const char *const envp[] = {"PATH=/bin", "EMPTY=", NULL};

static void put(struct buf *b)
{
	buf_init(b, INIT_REQUEST_MAX);
	init_put_exec(b, 7, INIT_PTY, "/home/agent", argv, envp);
	assert_int_equal(buf_status(b), 0);
}

static void reads_an_exec_request(void **state)
{
	cleanup_buf struct buf b;
	struct init_request q;

	(void)state;
	put(&b);
	assert_int_equal(init_parse(&q, b.data, b.len), 0);
	assert_int_equal(q.type, INIT_EXEC);
	assert_int_equal(q.channel, 7);
	assert_int_equal(q.flags, INIT_PTY);
	assert_string_equal(q.cwd, "/home/agent");
	for (size_t i = 0; argv[i]; i++)
		assert_string_equal(q.argv[i], argv[i]);
	assert_null(q.argv[3]);
	for (size_t i = 0; envp[i]; i++)
		assert_string_equal(q.envp[i], envp[i]);
	assert_null(q.envp[2]);
	init_request_done(&q);
}

static void reads_signal_and_end(void **state)
{
	cleanup_buf struct buf b;
	struct init_request q;

	(void)state;
	buf_init(&b, 64);
	init_put_signal(&b, 9, 15);
	assert_int_equal(init_parse(&q, b.data, b.len), 0);
	assert_int_equal(q.type, INIT_SIGNAL);
	assert_int_equal(q.channel, 9);
	assert_int_equal(q.value, 15);
	init_request_done(&q);
	buf_reset(&b);
	init_put_end(&b, 500);
	assert_int_equal(init_parse(&q, b.data, b.len), 0);
	assert_int_equal(q.type, INIT_END);
	assert_int_equal(q.value, 500);
	init_request_done(&q);
}

static int parse(const void *data, size_t len)
{
	struct init_request q;
	void *copy = malloc(len ? len : 1); /* exact, so that a sanitizer sees a read beyond it */
	int r;

	memcpy(copy, data, len);
	r = init_parse(&q, copy, len);
	init_request_done(&q);
	free(copy);
	return r;
}

static void refuses_every_truncation(void **state)
{
	cleanup_buf struct buf b;

	(void)state;
	put(&b);
	for (size_t n = 0; n < b.len; n++)
		assert_int_equal(parse(b.data, n), -EBADMSG);
}

static void rejects_trailing_byte(void **state)
{
	cleanup_buf struct buf b;

	(void)state;
	put(&b);
	buf_put_u8(&b, 0);
	assert_int_equal(parse(b.data, b.len), -EBADMSG);
	b.data[3]++; /* counted in, it is still one too many */
	assert_int_equal(parse(b.data, b.len), -EBADMSG);
}

static void survives_every_flipped_bit(void **state)
{
	cleanup_buf struct buf b;

	(void)state;
	put(&b);
	for (size_t i = 0; i < b.len * 8; i++) {
		b.data[i / 8] ^= (uint8_t)(1u << i % 8);
		(void)parse(b.data, b.len);
		b.data[i / 8] ^= (uint8_t)(1u << i % 8);
	}
}

static void refuses_unknown_types_and_flags(void **state)
{
	cleanup_buf struct buf b;

	(void)state;
	put(&b);
	b.data[4] = 4;
	assert_int_equal(parse(b.data, b.len), -EBADMSG);
	b.data[4] = INIT_EXEC;
	b.data[9] = INIT_PTY | 2;
	assert_int_equal(parse(b.data, b.len), -EBADMSG);
}

static void refuses_a_command_without_a_name(void **state)
{
	static const char *const none[] = {NULL};
	cleanup_buf struct buf b;

	(void)state;
	buf_init(&b, 256);
	init_put_exec(&b, 1, 0, "/", none, none);
	assert_int_equal(parse(b.data, b.len), -EBADMSG);
}

static void refuses_nul_inside_a_string(void **state)
{
	cleanup_buf struct buf b;

	(void)state;
	put(&b);
	b.data[4 + 1 + 4 + 1 + 4 + 2] = '\0'; /* in cwd */
	assert_int_equal(parse(b.data, b.len), -EBADMSG);
}

static int with_args(size_t nargs, size_t nenv)
{
	const char *args[INIT_ARGS_MAX + 2] = {NULL}, *env[INIT_ENV_MAX + 2] = {NULL};
	cleanup_buf struct buf b;

	for (size_t i = 0; i < nargs; i++)
		args[i] = "a";
	for (size_t i = 0; i < nenv; i++)
		env[i] = "E=1";
	buf_init(&b, INIT_REQUEST_MAX);
	init_put_exec(&b, 1, 0, "/", args, env);
	return parse(b.data, b.len);
}

static void counts_have_a_maximum(void **state)
{
	(void)state;
	assert_int_equal(with_args(INIT_ARGS_MAX, INIT_ENV_MAX), 0);
	assert_int_equal(with_args(INIT_ARGS_MAX + 1, 0), -E2BIG);
	assert_int_equal(with_args(1, INIT_ENV_MAX + 1), -E2BIG);
}

static void requests_have_a_maximum(void **state)
{
	uint8_t *big = calloc(1, INIT_REQUEST_MAX + 1);

	(void)state;
	assert_int_equal(parse(big, INIT_REQUEST_MAX + 1), -E2BIG);
	assert_int_equal(parse(big, INIT_REQUEST_MAX), -EBADMSG);
	free(big);
}

static void status_records_are_strict(void **state)
{
	uint8_t r[INIT_STATUS_LEN], kind = 0;
	uint32_t value = 0;

	(void)state;
	for (uint8_t k = INIT_EXITED; k <= INIT_FAILED; k++) {
		init_put_status(r, k, 0xfedcba98);
		assert_int_equal(init_parse_status(r, &kind, &value), 0);
		assert_int_equal(kind, k);
		assert_int_equal(value, 0xfedcba98);
	}
	for (size_t i = 1; i < 4; i++) {
		init_put_status(r, INIT_EXITED, 0);
		r[i] = 1;
		assert_int_equal(init_parse_status(r, &kind, &value), -EBADMSG);
	}
	init_put_status(r, 0, 0);
	assert_int_equal(init_parse_status(r, &kind, &value), -EBADMSG);
	init_put_status(r, INIT_FAILED + 1, 0);
	assert_int_equal(init_parse_status(r, &kind, &value), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_an_exec_request),
	    cmocka_unit_test(reads_signal_and_end),
	    cmocka_unit_test(refuses_every_truncation),
	    cmocka_unit_test(rejects_trailing_byte),
	    cmocka_unit_test(survives_every_flipped_bit),
	    cmocka_unit_test(refuses_unknown_types_and_flags),
	    cmocka_unit_test(refuses_a_command_without_a_name),
	    cmocka_unit_test(refuses_nul_inside_a_string),
	    cmocka_unit_test(counts_have_a_maximum),
	    cmocka_unit_test(requests_have_a_maximum),
	    cmocka_unit_test(status_records_are_strict),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
