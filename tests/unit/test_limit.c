#include "gateway/ssh/limit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct source v4(const char *a)
{
	struct sockaddr_in in = {.sin_family = AF_INET};

	assert_int_equal(inet_pton(AF_INET, a, &in.sin_addr), 1);
	return limit_source((const void *)&in);
}

static struct source v6(const char *a)
{
	struct sockaddr_in6 in = {.sin6_family = AF_INET6};

	assert_int_equal(inet_pton(AF_INET6, a, &in.sin6_addr), 1);
	return limit_source((const void *)&in);
}

static bool same(struct source a, struct source b)
{
	return a.len == b.len && memcmp(a.bytes, b.bytes, sizeof a.bytes) == 0;
}

static void a_block_is_an_address_or_a_64(void **state)
{
	(void)state;
	assert_false(same(v4("192.0.2.1"), v4("192.0.2.2")));
	assert_true(same(v6("2001:db8:1:2::1"), v6("2001:db8:1:2:ffff::9")));
	assert_false(same(v6("2001:db8:1:2::1"), v6("2001:db8:1:3::1")));
	assert_true(same(v6("::ffff:192.0.2.1"), v4("192.0.2.1")));
	assert_false(same(v6("c000:201::"), v4("192.0.2.1")));
}

static void the_total_is_a_limit(void **state)
{
	struct limit *l = limit_new(3, 10);

	(void)state;
	assert_int_equal(limit_take(l, v4("192.0.2.1")), 0);
	assert_int_equal(limit_take(l, v4("192.0.2.2")), 0);
	assert_int_equal(limit_take(l, v4("192.0.2.3")), 0);
	assert_int_equal(limit_take(l, v4("192.0.2.4")), -EBUSY);
	limit_give(l, v4("192.0.2.1"));
	assert_int_equal(limit_take(l, v4("192.0.2.4")), 0);
	assert_int_equal(limit_total(l), 3);
	limit_free(l);
}

static void a_source_is_a_limit_of_its_own(void **state)
{
	struct limit *l = limit_new(10, 2);

	(void)state;
	assert_int_equal(limit_take(l, v6("2001:db8::1")), 0);
	assert_int_equal(limit_take(l, v6("2001:db8::2")), 0);
	assert_int_equal(limit_take(l, v6("2001:db8::3")), -EDQUOT);
	assert_int_equal(limit_take(l, v6("2001:db8:0:1::3")), 0);
	assert_int_equal(limit_count(l, v6("2001:db8::")), 2);
	limit_give(l, v6("2001:db8::9"));
	assert_int_equal(limit_take(l, v6("2001:db8::3")), 0);
	limit_free(l);
}

static void what_was_not_taken_cannot_be_given(void **state)
{
	struct limit *l = limit_new(10, 2);

	(void)state;
	limit_give(l, v4("192.0.2.1"));
	assert_int_equal(limit_total(l), 0);
	limit_free(l);
}

static void thousands_of_sources_come_and_go(void **state)
{
	struct limit *l = limit_new(5000, 1);
	struct sockaddr_in in = {.sin_family = AF_INET};

	(void)state;
	for (uint32_t i = 0; i < 5000; i++) {
		in.sin_addr.s_addr = htonl(i * 7);
		assert_int_equal(limit_take(l, limit_source((const void *)&in)), 0);
	}
	for (uint32_t i = 0; i < 5000; i++) {
		in.sin_addr.s_addr = htonl(i * 7);
		assert_int_equal(limit_count(l, limit_source((const void *)&in)), 1);
		limit_give(l, limit_source((const void *)&in));
	}
	assert_int_equal(limit_total(l), 0);
	limit_free(l);
}

static void maxima_may_change(void **state)
{
	struct limit *l = limit_new(10, 10);

	(void)state;
	assert_int_equal(limit_take(l, v4("192.0.2.1")), 0);
	assert_int_equal(limit_take(l, v4("192.0.2.1")), 0);
	limit_set(l, 10, 1);
	assert_int_equal(limit_take(l, v4("192.0.2.1")), -EDQUOT);
	limit_set(l, 1, 5);
	assert_int_equal(limit_take(l, v4("192.0.2.2")), -EBUSY);
	limit_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_block_is_an_address_or_a_64),
	    cmocka_unit_test(the_total_is_a_limit),
	    cmocka_unit_test(a_source_is_a_limit_of_its_own),
	    cmocka_unit_test(what_was_not_taken_cannot_be_given),
	    cmocka_unit_test(thousands_of_sources_come_and_go),
	    cmocka_unit_test(maxima_may_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
