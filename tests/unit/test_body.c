#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "broker/audit/body.h"
#include "broker/audit/chain.h"
#include "broker/audit/logs.h"
#include "broker/audit/record.h"
#include "lib/buf.h"

/* What a record says of a body that lies beside it. */

struct made {
	struct buf record, spill;
	struct chain_next next;
};

static void make(struct made *m, json_t *body)
{
	struct log_head head = {0};
	struct chain_what w = {.log = "demo",
	    .class_name = "x",
	    .tenant = "demo",
	    .body = body,
	    .wall_ns = 1,
	    .spill = &m->spill};

	buf_init(&m->record, 2 * RECORD_MAX);
	buf_init(&m->spill, BODY_MAX);
	assert_int_equal(chain_format(&head, &w, &m->record, &m->next), 0);
	json_decref(body);
}

static void done(struct made *m)
{
	buf_done(&m->record);
	buf_done(&m->spill);
}

static json_t *long_text(size_t n)
{
	char *text = calloc(1, n + 1);
	json_t *v;

	memset(text, 'x', n);
	v = json_string(text);
	free(text);
	return v;
}

static int named(const char *text)
{
	uint8_t digest[DIGEST_LEN];
	size_t n;

	return body_named(text, strlen(text), digest, &n);
}

#define HEX  "0000000000000000000000000000000000000000000000000000000000000000"
#define TAIL "},\"prev\":\"" HEX "\"}"
#define NAME "\"body_digest\":\"" HEX "\",\"body_bytes\":17"

static void a_record_names_its_body(void **state)
{
	uint8_t digest[DIGEST_LEN];
	struct made m;
	size_t n;

	(void)state;
	make(&m, json_pack("{s:o}", "text", long_text(100000)));
	assert_int_equal(body_named(m.record.data, m.record.len, digest, &n), 0);
	assert_int_equal(n, m.spill.len);
	assert_int_equal(m.next.body_len, m.spill.len);
	assert_in_range(m.next.len, 200, 1000);
	assert_int_equal(body_check(m.record.data, m.record.len, m.spill.data, m.spill.len), 0);
	for (size_t i = 0; i < m.spill.len; i += 997) {
		m.spill.data[i] ^= 1;
		assert_int_equal(
		    body_check(m.record.data, m.record.len, m.spill.data, m.spill.len), -EBADMSG);
		m.spill.data[i] ^= 1;
	}
	assert_int_equal(
	    body_check(m.record.data, m.record.len, m.spill.data, m.spill.len - 1), -EBADMSG);
	done(&m);
}

static void a_record_that_fits_names_none(void **state)
{
	struct made m;

	(void)state;
	make(&m, json_pack("{s:o}", "text", long_text(RECORD_MAX - 1000)));
	assert_in_range(m.record.len, RECORD_MAX - 900, RECORD_MAX);
	assert_int_equal(named((const char *)m.record.data), -ENOENT);
	assert_int_equal(m.next.body_len, 0);
	done(&m);
}

static void foreign_text_cannot_name_a_body(void **state)
{
	struct made m;

	(void)state;
	assert_int_equal(named("{\"body\":{" NAME TAIL), 0);
	assert_int_equal(named("{\"body\":{\"a\":1," NAME TAIL), 0);
	/* within a string, within another object, without a number, too long, cut off */
	assert_int_equal(named("{\"body\":{\"a\":{" NAME "}" TAIL), -ENOENT);
	assert_int_equal(named("{\"body\":{\"x" NAME TAIL), -ENOENT);
	assert_int_equal(named("\"body_digest\":\"" HEX "\",\"body_bytes\":" TAIL), -ENOENT);
	assert_int_equal(named("{\"body_digest\":\"" HEX "\",\"body_bytes\":999999" TAIL), -ENOENT);
	assert_int_equal(named(NAME TAIL), -ENOENT);
	assert_int_equal(named(TAIL), -ENOENT);
	assert_int_equal(named(""), -ENOENT);
	make(&m, json_pack("{s:s}", "text", NAME "},\"prev\":\"" HEX));
	buf_put_u8(&m.record, 0);
	assert_int_equal(named((const char *)m.record.data), -ENOENT);
	done(&m);
}

static void small_members_stay_in_the_record(void **state)
{
	json_t *body = json_pack("{s:s, s:{s:i}, s:o, s:o}", "kind", "exec", "pty", "cols", 80,
	           "large", long_text(300), "command", long_text(70000)),
	       *o, *small;
	struct made m;

	(void)state;
	for (int i = 0; i < 100; i++) {
		char key[16];

		(void)snprintf(key, sizeof key, "k%d", i);
		(void)json_object_set_new(body, key, long_text(200));
	}
	make(&m, body);
	assert_in_range(m.record.len, 4096, 6000); /* and not all hundred */
	o = json_loadb((const char *)m.record.data, m.record.len, 0, NULL);
	small = json_object_get(o, "body");
	assert_non_null(json_object_get(small, "kind"));
	assert_non_null(json_object_get(small, "pty"));
	assert_non_null(json_object_get(small, "k0"));
	assert_null(json_object_get(small, "large"));
	assert_null(json_object_get(small, "k99"));
	json_decref(o);
	done(&m);
}

static void without_a_place_beside_it_a_body_is_cut(void **state)
{
	json_t *body = json_pack("{s:{s:o}, s:s}", "deep", "text", long_text(100000), "s", "s");
	struct log_head head = {0};
	struct chain_what w = {.log = "demo", .class_name = "x", .body = body, .wall_ns = 1};
	struct chain_next next;
	struct buf b;

	(void)state;
	buf_init(&b, 2 * RECORD_MAX);
	assert_int_equal(chain_format(&head, &w, &b, &next), 0);
	buf_put_u8(&b, 0);
	assert_non_null(strstr((char *)b.data, "\"body\":{\"cut\":\"all\"}"));
	buf_done(&b);
	json_decref(body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_record_names_its_body),
	    cmocka_unit_test(a_record_that_fits_names_none),
	    cmocka_unit_test(foreign_text_cannot_name_a_body),
	    cmocka_unit_test(small_members_stay_in_the_record),
	    cmocka_unit_test(without_a_place_beside_it_a_body_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
