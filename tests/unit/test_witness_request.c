#include "broker/witness/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/err.h"

/* c2sp.org/tlog-witness */
#define HASH_1 "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n"
#define HASH_2 "jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n"
#define HASH_3 "5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n"
#define HASH_4 "/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n"
#define TEXT   "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
#define SIGNATURE                                                                                  \
	"\xe2\x80\x94 example.com/behind-the-sofa "                                                \
	"Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/"                                \
	"Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
#define NOTE    TEXT "\n" SIGNATURE
#define EXAMPLE "old 20852014\n" HASH_1 HASH_2 HASH_3 HASH_4 "\n" NOTE

static int parse(const char *text, size_t len)
{
	struct witness_request q;
	struct err e = ERR_INIT;
	int r = witness_request_parse(text, len, &q, &e);

	if (r == 0)
		witness_request_done(&q);
	else
		assert_true(strlen(err_text(&e)) > 0);
	return r;
}

static int parse_text(const char *text)
{
	return parse(text, strlen(text));
}

static void the_specification_s_example_is_read(void **state)
{
	struct witness_request q;

	(void)state;
	assert_int_equal(witness_request_parse(EXAMPLE, strlen(EXAMPLE), &q, NULL), 0);
	assert_int_equal(q.old, 20852014);
	assert_int_equal(q.nproof, 4);
	assert_int_equal(q.proof[0][0], 0x3e);
	assert_int_equal(q.proof[3][31], 0xfd);
	assert_int_equal(q.point.size, 20852163);
	assert_string_equal(q.point.origin, "example.com/behind-the-sofa");
	assert_string_equal(q.note.text, TEXT);
	assert_int_equal(q.note.nsignatures, 1);
	witness_request_done(&q);
}

static void every_part_alone_is_refused(void **state)
{
	size_t len = strlen(EXAMPLE);

	(void)state;
	for (size_t i = 0; i < len; i++) {
		assert_int_equal(parse(EXAMPLE, i), -EBADMSG);
		if (i > 0)
			assert_int_equal(parse(EXAMPLE + i, len - i), -EBADMSG);
	}
}

static void the_first_line_is_old_and_a_decimal_number(void **state)
{
	static const char *const bad[] = {"old \n", "old\n", "old  1\n", "old 01\n", "old +1\n",
	    "old -1\n", "old 1 \n", "old 1\r\n", "Old 1\n", " old 1\n", "old 0x1\n", "old 1.0\n",
	    "old 9223372036854775808\n", "old 18446744073709551616\n", "new 1\n", "\n", ""};
	static const char *const good[] = {"old 0\n", "old 1\n", "old 9223372036854775807\n"};
	char text[1024];

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		(void)snprintf(text, sizeof text, "%s\n" NOTE, bad[i]);
		assert_int_equal(parse_text(text), -EBADMSG);
	}
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		(void)snprintf(text, sizeof text, "%s\n" NOTE, good[i]);
		assert_int_equal(parse_text(text), 0);
	}
	assert_int_equal(parse("old 1\0\n\n" NOTE, sizeof "old 1\0\n\n" NOTE - 1), -EBADMSG);
}

static void a_line_of_the_proof_is_one_hash_in_canonical_base64(void **state)
{
	static const char *const bad[] = {
	    "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw\n",   /* no padding */
	    "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkax=\n",  /* bits that are not zero */
	    "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpka==\n",  /* 31 bytes */
	    "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkawA\n",  /* 33 bytes */
	    "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw= \n", /* a space */
	    "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\r\n",
	    "PlRNCrwHpqhGrupue0L7gxbjbMiKA9tem-uZZDDpkaw=\n", /* the other alphabet */
	    "x\n"};
	char text[1024];

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		(void)snprintf(text, sizeof text, "old 1\n%s\n" NOTE, bad[i]);
		assert_int_equal(parse_text(text), -EBADMSG);
	}
	(void)snprintf(text, sizeof text, "old 1\n%s\n" NOTE, HASH_1);
	assert_int_equal(parse_text(text), 0);
}

static void a_proof_has_at_most_63_hashes(void **state)
{
	cleanup_buf struct buf b;

	(void)state;
	buf_init(&b, 2 * REQUEST_MAX);
	for (size_t n = MERKLE_PROOF_MAX; n <= MERKLE_PROOF_MAX + 1; n++) {
		buf_reset(&b);
		buf_printf(&b, "old 5\n");
		for (size_t i = 0; i < n; i++)
			buf_printf(&b, HASH_1);
		buf_printf(&b, "\n" NOTE);
		assert_int_equal(
		    parse((const char *)b.data, b.len), n <= MERKLE_PROOF_MAX ? 0 : -EBADMSG);
	}
}

static void extension_lines_are_taken_if_they_are_lines(void **state)
{
	struct checkpoint c;

	(void)state;
	assert_int_equal(parse_text("old 1\n\n" TEXT "more\nand more\n\n" SIGNATURE), 0);
	assert_int_equal(parse_text("old 1\n\n" TEXT "\nmore\n\n" SIGNATURE), -EBADMSG);
	assert_int_equal(parse_text("old 1\n\n" TEXT "more\n\nmore\n\n" SIGNATURE), -EBADMSG);
	assert_int_equal(witness_point_parse(TEXT "x", strlen(TEXT "x"), &c, NULL), -EBADMSG);
	assert_int_equal(witness_point_parse(TEXT, strlen(TEXT), &c, NULL), 0);
	assert_int_equal(c.size, 20852163);
}

static void a_text_or_a_request_that_is_too_long_is_refused(void **state)
{
	cleanup_buf struct buf b;

	(void)state;
	buf_init(&b, 2 * REQUEST_MAX);
	for (size_t extra = 0; extra < 2; extra++) {
		buf_reset(&b);
		buf_printf(&b, "old 1\n\n" TEXT);
		while (b.len < strlen("old 1\n\n") + REQUEST_TEXT_MAX - 1 + extra)
			buf_put(&b, "e", 1);
		buf_printf(&b, "\n\n" SIGNATURE);
		assert_int_equal(parse((const char *)b.data, b.len), extra ? -EBADMSG : 0);
	}
	while (b.len <= REQUEST_MAX)
		buf_printf(&b, SIGNATURE);
	assert_int_equal(parse((const char *)b.data, b.len), -EBADMSG);
}

static void a_checkpoint_without_its_three_lines_is_refused(void **state)
{
	(void)state;
	assert_int_equal(parse_text("old 1\n\nexample.com\n1\n\n" SIGNATURE), -EBADMSG);
	assert_int_equal(parse_text("old 1\n\nexample.com\n01\n"
	                            "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n" SIGNATURE),
	    -EBADMSG);
	assert_int_equal(parse_text("old 1\n\n" TEXT "\n"), -EBADMSG); /* nobody signed */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_specification_s_example_is_read),
	    cmocka_unit_test(every_part_alone_is_refused),
	    cmocka_unit_test(the_first_line_is_old_and_a_decimal_number),
	    cmocka_unit_test(a_line_of_the_proof_is_one_hash_in_canonical_base64),
	    cmocka_unit_test(a_proof_has_at_most_63_hashes),
	    cmocka_unit_test(extension_lines_are_taken_if_they_are_lines),
	    cmocka_unit_test(a_text_or_a_request_that_is_too_long_is_refused),
	    cmocka_unit_test(a_checkpoint_without_its_three_lines_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
