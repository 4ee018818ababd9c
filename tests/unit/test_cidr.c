#include "creds/cidr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "lib/buf.h"

static bool match(const char *list, const char *address)
{
	struct cidr_list l;
	struct address a;

	assert_int_equal(cidr_list_parse(list, strlen(list), &l, NULL), 0);
	assert_int_equal(address_parse(address, &a), 0);
	return cidr_list_match(&l, &a);
}

static int parse(const char *text)
{
	struct cidr_list l;

	return cidr_list_parse(text, strlen(text), &l, NULL);
}

static void matches_by_prefix(void **state)
{
	(void)state;
	assert_true(match("192.0.2.0/24", "192.0.2.0"));
	assert_true(match("192.0.2.0/24", "192.0.2.255"));
	assert_false(match("192.0.2.0/24", "192.0.3.0"));
	assert_true(match("192.0.2.128/25", "192.0.2.128"));
	assert_false(match("192.0.2.128/25", "192.0.2.127"));
	assert_true(match("192.0.2.4/31", "192.0.2.5"));
	assert_false(match("192.0.2.4/31", "192.0.2.6"));
	assert_true(match("0.0.0.0/0", "255.255.255.255"));
	assert_true(match("2001:db8::/33", "2001:db8:7fff:ffff::1"));
	assert_false(match("2001:db8::/33", "2001:db8:8000::1"));
	assert_true(match("::/0", "2001:db8::1"));
}

static void a_plain_address_is_itself_alone(void **state)
{
	(void)state;
	assert_true(match("192.0.2.1", "192.0.2.1"));
	assert_false(match("192.0.2.1", "192.0.2.2"));
	assert_true(match("2001:db8::1", "2001:db8:0::0:1"));
	assert_false(match("2001:db8::1", "2001:db8::2"));
	assert_true(match("10.0.0.1,192.0.2.1", "192.0.2.1"));
}

static void families_do_not_mix(void **state)
{
	(void)state;
	assert_false(match("0.0.0.0/0", "::1"));
	assert_false(match("::/0", "192.0.2.1"));
	assert_false(match("0.0.0.0/0", "::192.0.2.1")); /* v4-compatible, not v4-mapped */
}

static void a_mapped_address_is_the_v4_one(void **state)
{
	(void)state;
	assert_true(match("192.0.2.0/24", "::ffff:192.0.2.9"));
	assert_true(match("::ffff:192.0.2.0/120", "192.0.2.9"));
	assert_true(match("::ffff:192.0.2.1", "192.0.2.1"));
	assert_true(match("::ffff:0.0.0.0/96", "192.0.2.1"));
	assert_false(match("::/0", "::ffff:192.0.2.1"));
	assert_int_equal(parse("::ffff:0.0.0.0/95"), -EINVAL);
	assert_int_equal(parse("::ffff:192.0.2.0/24"), -EINVAL);
}

static void refuses_bits_behind_the_prefix(void **state)
{
	(void)state;
	assert_int_equal(parse("192.0.2.1/24"), -EINVAL);
	assert_int_equal(parse("192.0.2.1/31"), -EINVAL);
	assert_int_equal(parse("192.0.2.1/32"), 0);
	assert_int_equal(parse("128.0.0.0/0"), -EINVAL);
	assert_int_equal(parse("2001:db8::1/127"), -EINVAL);
	assert_int_equal(parse("2001:db8::1/128"), 0);
}

static void refuses_what_is_no_list(void **state)
{
	static const char *const bad[] = {"", ",", "1.2.3.4,", ",1.2.3.4", "1.2.3.4,,1.2.3.5",
	    " 1.2.3.4", "1.2.3.4 ", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "0x1.2.3.4",
	    "16909060", "::1/129", "1.2.3.4/33", "1.2.3.4/", "1.2.3.4/+1", "1.2.3.4/ 8",
	    "1.2.3.4/032", "1.2.3.4/32/32", "fe80::1%lo", "[::1]", "1.2.3.4:22", "host", "!1.2.3.4",
	    "*", "::ffff:1.2.3.4/-1", "1111:2222:3333:4444:5555:6666:7777:8888:9999",
	    "1.2.3.4/99999999999999999999"};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(parse(bad[i]), -EINVAL);
	struct cidr_list l;

	assert_int_equal(cidr_list_parse("1.2.3.4\0", 8, &l, NULL), -EINVAL);
}

static void bounds_the_list(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	for (int i = 0; i < CIDR_LIST_MAX; i++)
		buf_printf(&b, "%s10.0.0.%d", i == 0 ? "" : ",", i);
	assert_int_equal(parse(buf_cstr(&b)), 0);
	buf_printf(&b, ",10.0.0.1");
	assert_int_equal(parse(buf_cstr(&b)), -EINVAL);
	buf_done(&b);
}

static void reads_addresses_strictly(void **state)
{
	struct address a;

	(void)state;
	assert_int_equal(address_parse("192.0.2.1", &a), 0);
	assert_int_equal(a.len, 4);
	assert_int_equal(address_parse("::ffff:192.0.2.1", &a), 0);
	assert_int_equal(a.len, 4);
	assert_int_equal(address_parse("::1", &a), 0);
	assert_int_equal(a.len, 16);
	assert_int_equal(address_parse("192.0.2.1/32", &a), -EINVAL);
	assert_int_equal(address_parse("192.0.2.1 ", &a), -EINVAL);
	assert_int_equal(address_parse("", &a), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(matches_by_prefix),
	    cmocka_unit_test(a_plain_address_is_itself_alone),
	    cmocka_unit_test(families_do_not_mix),
	    cmocka_unit_test(a_mapped_address_is_the_v4_one),
	    cmocka_unit_test(refuses_bits_behind_the_prefix),
	    cmocka_unit_test(refuses_what_is_no_list),
	    cmocka_unit_test(bounds_the_list),
	    cmocka_unit_test(reads_addresses_strictly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
