#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <errno.h>
#include "broker/audit/chain.h"
#include "broker/audit/logs.h"
#include "broker/audit/record.h"
#include "broker/audit/show.h"
#include "broker/audit/verify.h"
#include "lib/buf.h"
#include "lib/err.h"

/*
 * The verifier finds every change: each byte of each record, each record missing, twice, or in
 * another place.
 */

#define RECORDS 4

struct chain {
	struct log_head head;
	struct buf record[RECORDS + 1]; /* from 1 */
};

static int setup(void **state)
{
	struct chain *c = calloc(1, sizeof *c);

	for (int i = 1; i <= RECORDS; i++) {
		json_t *body = json_pack("{s:i}", "n", i),
		       *subject = json_pack("{s:s}", "conn", "c-1");

		buf_init(&c->record[i], RECORD_MAX);
		struct chain_what what = {.log = "demo",
		    .class_name = "test",
		    .tenant = "demo",
		    .subject = subject,
		    .body = body,
		    .wall_ns = 1000000000000000000 + i * 1000000};
		struct chain_next next;

		assert_int_equal(chain_format(&c->head, &what, &c->record[i], &next), 0);
		chain_advance(&c->head, &next);
		json_decref(body);
		json_decref(subject);
	}
	*state = c;
	return 0;
}

static int teardown(void **state)
{
	struct chain *c = *state;

	for (int i = 1; i <= RECORDS; i++)
		buf_done(&c->record[i]);
	free(c);
	return 0;
}

/* All records and the head; the broken record, 0: none. */
static uint64_t check(struct chain *c, struct err *e)
{
	struct verify v;
	int r = 0;

	verify_init(&v);
	(void)snprintf(v.log, sizeof v.log, "demo");
	for (uint64_t i = 1; i <= RECORDS && r == 0; i++)
		r = verify_record(&v, i, c->record[i].data, c->record[i].len, e);
	if (r == 0)
		r = verify_head(&v, c->head.seq, c->head.leaf, e);
	assert_int_equal(r, v.broken ? -EBADMSG : 0);
	return v.broken;
}

static void accepts_an_unbroken_chain(void **state)
{
	assert_int_equal(check(*state, NULL), 0);
}

static void finds_every_changed_byte(void **state)
{
	struct chain *c = *state;

	for (int i = 1; i <= RECORDS; i++)
		for (size_t k = 0; k < c->record[i].len; k++) {
			struct err e = ERR_INIT;
			uint64_t broken;

			c->record[i].data[k] ^= 1;
			broken = check(c, &e);
			/* a changed link accuses the record before it, which it no longer fits */
			if (broken != (uint64_t)i && broken != (uint64_t)i - 1)
				fail_msg("byte %zu of record %d: %d %s", k, i, (int)broken, e.text);
			assert_non_null(strstr(err_text(&e), "record"));
			c->record[i].data[k] ^= 1;
		}
	assert_int_equal(check(c, NULL), 0);
}

static void finds_a_cut_record(void **state)
{
	struct chain *c = *state;

	for (int i = 1; i <= RECORDS; i++) {
		c->record[i].len--;
		assert_int_equal(check(c, NULL), i);
		c->record[i].len++;
	}
}

static void finds_what_is_missing_or_out_of_place(void **state)
{
	struct chain *c = *state;
	struct err e = ERR_INIT;
	struct verify v;

	verify_init(&v);
	assert_int_equal(verify_record(&v, 1, c->record[1].data, c->record[1].len, &e), 0);
	assert_int_equal(verify_record(&v, 3, c->record[3].data, c->record[3].len, &e), -EBADMSG);
	assert_int_equal(v.broken, 2);
	assert_string_equal(err_text(&e), "log demo: record 2 is missing");
	/* and it stays broken */
	assert_int_equal(verify_record(&v, 2, c->record[2].data, c->record[2].len, &e), -EBADMSG);
	/* a record under another number */
	verify_init(&v);
	assert_int_equal(verify_record(&v, 1, c->record[2].data, c->record[2].len, &e), -EBADMSG);
	/* the first record is of another log */
	verify_init(&v);
	memmove(strstr((char *)c->record[2].data, "\"seq\":2") + 6, "1", 1);
	assert_int_equal(verify_record(&v, 1, c->record[2].data, c->record[2].len, &e), -EBADMSG);
}

static void a_record_is_one_line(void **state)
{
	struct chain *c = *state;

	/* anywhere in subject and body, where nothing else is looked at; a good byte there is for
	 * the hash */
	char *from =
	    strstr(buf_cstr(&c->record[2]) ? (char *)c->record[2].data : "", "\"subject\"");
	char *to = strstr(from, ",\"prev\"");

	for (char *p = from + 12; p < to - 1; p++)
		for (int bad = 0; bad < 0x100; bad += 0x1f) {
			char was = *p;
			struct verify v;

			verify_init(&v);
			assert_int_equal(
			    verify_record(&v, 1, c->record[1].data, c->record[1].len, NULL), 0);
			*p = (char)bad;
			assert_int_equal(
			    verify_record(&v, 2, c->record[2].data, c->record[2].len, NULL),
			    bad < 0x20 ? -EBADMSG : 0);
			*p = was;
		}
}

static void compares_with_the_head(void **state)
{
	struct chain *c = *state;
	struct err e = ERR_INIT;
	struct verify v;

	verify_init(&v);
	for (uint64_t i = 1; i < RECORDS; i++)
		assert_int_equal(
		    verify_record(&v, i, c->record[i].data, c->record[i].len, NULL), 0);
	assert_int_equal(verify_head(&v, RECORDS, c->head.leaf, &e), -EBADMSG);
	assert_int_equal(v.broken, RECORDS);
	verify_init(&v);
	assert_int_equal(verify_record(&v, 1, c->record[1].data, c->record[1].len, NULL), 0);
	assert_int_equal(verify_head(&v, 0, NULL, &e), -EBADMSG);
	verify_init(&v);
	assert_int_equal(verify_head(&v, 0, NULL, &e), 0);
}

static void begins_in_the_middle_from_a_trusted_digest(void **state)
{
	struct chain *c = *state;
	struct verify v, whole;

	verify_init(&whole);
	for (uint64_t i = 1; i <= 2; i++)
		assert_int_equal(
		    verify_record(&whole, i, c->record[i].data, c->record[i].len, NULL), 0);
	verify_init_at(&v, 2, whole.digest);
	for (uint64_t i = 3; i <= RECORDS; i++)
		assert_int_equal(
		    verify_record(&v, i, c->record[i].data, c->record[i].len, NULL), 0);
	assert_int_equal(verify_head(&v, c->head.seq, c->head.leaf, NULL), 0);
}

static void time_may_go_back_only_where_an_operator_said_so(void **state)
{
	struct chain *c = *state;
	struct verify v;
	const struct chain_what what = {
	    .log = "demo", .class_name = CHAIN_CLOCK_CLASS, .tenant = "demo", .wall_ns = 5};
	struct chain_next next;
	struct buf b;

	buf_init(&b, RECORD_MAX);
	assert_int_equal(chain_format(&c->head, &what, &b, &next), 0);
	verify_init(&v);
	for (uint64_t i = 1; i <= RECORDS; i++)
		assert_int_equal(
		    verify_record(&v, i, c->record[i].data, c->record[i].len, NULL), 0);
	assert_int_equal(verify_record(&v, RECORDS + 1, b.data, b.len, NULL), 0);
	buf_done(&b);
}

/* ---- showing ---- */

static void shows_a_line_without_raw_foreign_text(void **state)
{
	json_t *o = json_pack("{s:i, s:s, s:s, s:s, s:{s:s}, s:{s:s, s:{s:s}}}", "seq", 7, "time",
	    "2026-11-23T15:38:48.123456Z", "class", "channel.exec", "tenant", "demo", "subject",
	    "session", "s-1", "body", "command", "echo \x1b]52;c;x\a", "nested", "k",
	    "\x1b[2J\x7f");
	cleanup_buf struct buf b;

	(void)state;
	buf_init(&b, 4096);
	show_line(o, false, &b);
	assert_int_equal(buf_status(&b), 0);
	for (size_t i = 0; i + 1 < b.len; i++)
		assert_true(b.data[i] >= ' ' && b.data[i] < 0x7f);
	assert_int_equal(b.data[b.len - 1], '\n');
	assert_non_null(strstr(buf_cstr(&b), "7 2026-11-23T15:38:48.123456Z channel.exec demo"));
	assert_non_null(strstr(buf_cstr(&b), "session=s-1"));
	json_decref(o);
}

static void filters_by_what_a_record_is_about(void **state)
{
	json_t *o = json_pack("{s:s, s:s, s:s, s:{s:s}, s:{s:s}}", "time",
	    "2026-11-23T15:38:48.123456Z", "class", "auth.refused", "tenant", "demo", "subject",
	    "conn", "c-1", "body", "session", "s-1");

	(void)state;
	assert_true(show_match(&(struct show_filter){0}, o));
	assert_true(show_match(&(struct show_filter){.tenant = "demo"}, o));
	assert_false(show_match(&(struct show_filter){.tenant = "other"}, o));
	assert_true(show_match(&(struct show_filter){.session = "s-1"}, o));
	assert_false(show_match(&(struct show_filter){.session = "c-1"}, o));
	assert_true(show_match(&(struct show_filter){.connection = "c-1"}, o));
	assert_true(show_match(&(struct show_filter){.class_name = "auth."}, o));
	assert_false(show_match(&(struct show_filter){.class_name = "auth"}, o));
	assert_true(show_match(&(struct show_filter){.since = "2026-11-23"}, o));
	assert_false(show_match(&(struct show_filter){.since = "2026-11-24"}, o));
	assert_true(show_match(&(struct show_filter){.until = "2026-11-23"}, o));
	assert_false(show_match(&(struct show_filter){.until = "2026-11-22"}, o));
	json_decref(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(accepts_an_unbroken_chain, setup, teardown),
	    cmocka_unit_test_setup_teardown(finds_every_changed_byte, setup, teardown),
	    cmocka_unit_test_setup_teardown(finds_a_cut_record, setup, teardown),
	    cmocka_unit_test_setup_teardown(finds_what_is_missing_or_out_of_place, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_record_is_one_line, setup, teardown),
	    cmocka_unit_test_setup_teardown(compares_with_the_head, setup, teardown),
	    cmocka_unit_test_setup_teardown(
	        begins_in_the_middle_from_a_trusted_digest, setup, teardown),
	    cmocka_unit_test_setup_teardown(
	        time_may_go_back_only_where_an_operator_said_so, setup, teardown),
	    cmocka_unit_test_setup_teardown(shows_a_line_without_raw_foreign_text, setup, teardown),
	    cmocka_unit_test_setup_teardown(filters_by_what_a_record_is_about, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
