#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/lease/request.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/msg.h"
#include "lib/util.h"

static int parse(const char *line, struct lease_request *q)
{
	struct err e = ERR_INIT;
	int r = lease_request_parse(line, strlen(line), q, &e);

	if (r < 0)
		assert_string_not_equal(e.text, "");
	return r;
}

static void reads_the_three_requests(void **state)
{
	struct lease_request q;
	json_t *body = NULL;

	(void)state;
	assert_int_equal(parse("{\"op\":\"list\"}", &q), 0);
	assert_string_equal(lease_request_message(&q, &body), "lease.list");
	json_decref(body);
	assert_int_equal(
	    parse(" { \"kind\":\"jwt\", \"op\":\"get\", \"audience\":\"https://a/{[x\"} ", &q), 0);
	assert_string_equal(q.audience, "https://a/{[x");
	assert_string_equal(lease_request_message(&q, &body), "lease.get");
	assert_string_equal(json_string_value(json_object_get(body, "kind")), "jwt");
	json_decref(body);
	assert_int_equal(parse("{\"op\":\"release\",\"lease\":\"l1\"}", &q), 0);
	assert_string_equal(lease_request_message(&q, &body), "lease.release");
	assert_string_equal(json_string_value(json_object_get(body, "lease")), "l1");
	json_decref(body);
}

static void refuses_everything_else(void **state)
{
	static const char *const bad[] = {"", " ", "x", "null", "[]", "\"list\"", "{}",
	    "{\"op\":1}", "{\"op\":\"LIST\"}", "{\"op\":\"list\"", "{\"op\":\"list\"}x",
	    "{\"op\":\"list\"}{}", "{\"op\":\"list\",\"op\":\"list\"}", "{\"op\":\"list\",\"x\":1}",
	    "{\"op\":\"list\",\"kind\":\"jwt\"}", "{\"op\":\"get\"}",
	    "{\"op\":\"get\",\"kind\":\"jwt\"}", "{\"op\":\"get\",\"kind\":\"jwt\",\"audience\":7}",
	    "{\"op\":\"get\",\"kind\":\"jwt\",\"audience\":null}",
	    "{\"op\":\"get\",\"kind\":\"jwt\",\"audience\":[\"a\"]}",
	    "{\"op\":\"get\",\"kind\":\"jwt\",\"audience\":{\"a\":\"b\"}}",
	    "{\"op\":\"get\",\"kind\":\"jwt-and-much-more\",\"audience\":\"a\"}",
	    "{\"op\":\"get\",\"kind\":\"jwt\",\"audience\":\"a\\u0000b\"}", "{\"op\":\"release\"}",
	    "{\"op\":\"release\",\"lease\":\"0123456789012345678901234567890123456\"}",
	    "{\"op\":\"list\"}\xff", "{\"op\":\"li\xff\"}"};
	struct lease_request q = {.op = LEASE_GET};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (parse(bad[i], &q) != -EBADMSG)
			fail_msg("not refused: %s", bad[i]);
	assert_int_equal(q.op, LEASE_GET); /* outputs untouched */
}

static void an_audience_has_at_most_256_bytes(void **state)
{
	char line[512], audience[LEASE_AUDIENCE_MAX + 2];
	struct lease_request q;

	(void)state;
	memset(audience, 'a', sizeof audience);
	audience[LEASE_AUDIENCE_MAX] = '\0';
	(void)snprintf(
	    line, sizeof line, "{\"op\":\"get\",\"kind\":\"jwt\",\"audience\":\"%s\"}", audience);
	assert_int_equal(parse(line, &q), 0);
	audience[LEASE_AUDIENCE_MAX] = 'a';
	audience[LEASE_AUDIENCE_MAX + 1] = '\0';
	(void)snprintf(
	    line, sizeof line, "{\"op\":\"get\",\"kind\":\"jwt\",\"audience\":\"%s\"}", audience);
	assert_int_equal(parse(line, &q), -EBADMSG);
}

static void a_line_has_at_most_4096_bytes(void **state)
{
	char *line = malloc(LEASE_LINE_MAX + 2);
	struct lease_request q;

	(void)state;
	memset(line, ' ', LEASE_LINE_MAX + 1);
	memcpy(line, "{\"op\":\"list\"}", 13);
	assert_int_equal(lease_request_parse(line, LEASE_LINE_MAX, &q, NULL), 0);
	assert_int_equal(lease_request_parse(line, LEASE_LINE_MAX + 1, &q, NULL), -EBADMSG);
	free(line);
}

static void nesting_is_refused_before_the_json_reader_sees_it(void **state)
{
	char line[LEASE_LINE_MAX];
	struct lease_request q;

	(void)state;
	memset(line, '[', sizeof line);
	assert_int_equal(lease_request_parse(line, sizeof line, &q, NULL), -EBADMSG);
	for (size_t i = 0; i + 5 <= sizeof line; i += 5)
		memcpy(line + i, "{\"a\":", 5);
	assert_int_equal(lease_request_parse(line, sizeof line, &q, NULL), -EBADMSG);
}

static void every_truncation_of_a_good_request_is_refused(void **state)
{
	static const char good[] =
	    "{\"op\":\"get\",\"kind\":\"jwt\",\"audience\":\"https://api.example.com\"}";
	struct lease_request q;

	(void)state;
	for (size_t n = 0; n < sizeof good - 1; n++)
		assert_int_equal(lease_request_parse(good, n, &q, NULL), -EBADMSG);
	assert_int_equal(lease_request_parse(good, sizeof good - 1, &q, NULL), 0);
}

static void an_answer_is_one_line(void **state)
{
	json_t *body =
	    json_pack("{s:s, s:s, s:i}", "lease", "l1", "value", "ey.x.y", "expires_s", 1700000000);
	struct msg m = MSG_INIT;
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	m.type = msg_type_find("lease.granted");
	m.body = body;
	lease_answer(&b, &m);
	assert_string_equal(buf_cstr(&b),
	    "{\"ok\":true,\"lease\":\"l1\",\"value\":\"ey.x.y\",\"expires\":1700000000}\n");
	json_decref(body);
	buf_reset(&b);
	lease_answer_error(&b, "no\n\"such\" thing");
	assert_null(strchr((const char *)b.data, '\n') == (const char *)b.data + b.len - 1
	                ? NULL
	                : "more than one line");
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_the_three_requests),
	    cmocka_unit_test(refuses_everything_else),
	    cmocka_unit_test(an_audience_has_at_most_256_bytes),
	    cmocka_unit_test(a_line_has_at_most_4096_bytes),
	    cmocka_unit_test(nesting_is_refused_before_the_json_reader_sees_it),
	    cmocka_unit_test(every_truncation_of_a_good_request_is_refused),
	    cmocka_unit_test(an_answer_is_one_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
