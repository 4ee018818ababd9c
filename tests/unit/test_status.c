#include "lib/status.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "broker/init/proto.h"

static int parse(uint8_t kind, uint32_t value)
{
	uint8_t record[STATUS_LEN];
	enum status_kind k = 0;
	uint32_t v = 0;
	int r;

	init_put_status(record, kind, value);
	if ((r = status_parse(record, &k, &v)) == 0) {
		assert_int_equal(k, kind);
		assert_int_equal(v, value);
	}
	return r;
}

static void it_reads_what_init_writes(void **state)
{
	(void)state;
	assert_int_equal(STATUS_LEN, INIT_STATUS_LEN);
	assert_int_equal(parse(INIT_EXITED, 3), 0);
	assert_int_equal(parse(INIT_SIGNALED, 15), 0);
	assert_int_equal(parse(INIT_FAILED, ENOENT), 0);
}

static void values_have_bounds(void **state)
{
	(void)state;
	assert_int_equal(parse(STATUS_EXITED, 0), 0);
	assert_int_equal(parse(STATUS_EXITED, 255), 0);
	assert_int_equal(parse(STATUS_EXITED, 256), -EBADMSG);
	assert_int_equal(parse(STATUS_SIGNALED, 0), -EBADMSG);
	assert_int_equal(parse(STATUS_SIGNALED, 64), 0);
	assert_int_equal(parse(STATUS_SIGNALED, 65), -EBADMSG);
	assert_int_equal(parse(STATUS_FAILED, 0), -EBADMSG);
	assert_int_equal(parse(STATUS_FAILED, 4095), 0);
	assert_int_equal(parse(STATUS_FAILED, 4096), -EBADMSG);
	assert_int_equal(parse(STATUS_EXITED, UINT32_MAX), -EBADMSG);
}

static void rejects_an_unknown_kind_and_any_padding(void **state)
{
	uint8_t record[STATUS_LEN];
	enum status_kind kind;
	uint32_t value;

	(void)state;
	assert_int_equal(parse(0, 0), -EBADMSG);
	assert_int_equal(parse(4, 1), -EBADMSG);
	for (size_t i = 1; i < 4; i++) {
		init_put_status(record, STATUS_EXITED, 0);
		record[i] = 1;
		assert_int_equal(status_parse(record, &kind, &value), -EBADMSG);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_reads_what_init_writes),
	    cmocka_unit_test(values_have_bounds),
	    cmocka_unit_test(rejects_an_unknown_kind_and_any_padding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
