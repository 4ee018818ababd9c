#include "broker/audit/proof.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include "broker/audit/log_prove.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"
#include "lib/util.h"

/*
 * Proofs made from leaves, written, read and checked. (Against another implementation:
 * tests/e2e/test_audit_proof.py.)
 */

#define SIZES 70

static uint8_t leaves[SIZES][DIGEST_LEN], roots[SIZES + 1][DIGEST_LEN];
static char note[] = "o\n1\nAAAA\n\n\xe2\x80\x94 o AAAA\n";

static int setup(void **state)
{
	struct merkle m;

	(void)state;
	merkle_init(&m);
	merkle_root(&m, roots[0]);
	for (uint32_t i = 0; i < SIZES; i++) {
		merkle_leaf(&i, sizeof i, leaves[i]);
		(void)merkle_append(&m, leaves[i]);
		merkle_root(&m, roots[i + 1]);
	}
	return 0;
}

static void write_and_read(struct proof *p)
{
	cleanup_buf struct buf b;
	struct proof q;

	buf_init(&b, PROOF_MAX);
	p->checkpoint = note;
	p->checkpoint_len = sizeof note - 1;
	proof_format(p, &b);
	assert_int_equal(buf_status(&b), 0);
	assert_int_equal(proof_parse((const char *)b.data, b.len, &q, NULL), 0);
	assert_int_equal(q.kind, p->kind);
	assert_int_equal(q.number, p->number);
	assert_int_equal(q.nhashes, p->nhashes);
	if (p->nhashes)
		assert_memory_equal(q.hash, p->hash, p->nhashes * DIGEST_LEN);
	assert_int_equal(q.checkpoint_len, sizeof note - 1);
	assert_memory_equal(q.checkpoint, note, sizeof note - 1);
}

static void every_record_of_every_size_is_proved(void **state)
{
	struct proof p;

	(void)state;
	for (uint32_t size = 1; size <= SIZES; size++)
		for (uint32_t seq = 1; seq <= size; seq++) {
			struct checkpoint c = {.size = size};
			uint32_t mine = seq - 1, other = seq;

			memcpy(c.root, roots[size], DIGEST_LEN);
			assert_int_equal(
			    log_prove_leaves(leaves, size, PROOF_INCLUSION, seq, &p, NULL), 0);
			assert_int_equal(
			    proof_check_inclusion(&p, &c, &mine, sizeof mine, NULL), 0);
			assert_int_equal(
			    proof_check_inclusion(&p, &c, &other, sizeof other, NULL), -EBADMSG);
			assert_int_equal(proof_check_consistency(&p, &c, &c, NULL), -EBADMSG);
			if (seq == size)
				write_and_read(&p);
		}
}

static void every_growth_is_proved(void **state)
{
	struct proof p;

	(void)state;
	for (uint32_t size = 1; size <= SIZES; size++)
		for (uint32_t old = 1; old <= size; old++) {
			struct checkpoint c = {.size = size, .origin = "o"},
			                  o = {.size = old, .origin = "o"};

			memcpy(c.root, roots[size], DIGEST_LEN);
			memcpy(o.root, roots[old], DIGEST_LEN);
			assert_int_equal(
			    log_prove_leaves(leaves, size, PROOF_CONSISTENCY, old, &p, NULL), 0);
			assert_int_equal(proof_check_consistency(&p, &c, &o, NULL), 0);
			o.origin[0] = 'p';
			assert_int_equal(proof_check_consistency(&p, &c, &o, NULL), -EBADMSG);
			o.origin[0] = 'o';
			o.root[5] ^= 1;
			assert_int_equal(proof_check_consistency(&p, &c, &o, NULL), -EBADMSG);
			if (old * 2 == size)
				write_and_read(&p);
		}
}

static void refuses_numbers_outside_the_log(void **state)
{
	struct proof p;

	(void)state;
	assert_int_equal(log_prove_leaves(leaves, 5, PROOF_INCLUSION, 0, &p, NULL), -ERANGE);
	assert_int_equal(log_prove_leaves(leaves, 5, PROOF_INCLUSION, 6, &p, NULL), -ERANGE);
	assert_int_equal(log_prove_leaves(leaves, 5, PROOF_CONSISTENCY, 0, &p, NULL), -ERANGE);
	assert_int_equal(log_prove_leaves(leaves, 5, PROOF_CONSISTENCY, 6, &p, NULL), -ERANGE);
}

#define HASH "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

static int parse(const char *text)
{
	struct proof p;

	return proof_parse(text, strlen(text), &p, NULL);
}

static void reads_the_form_and_no_other(void **state)
{
	(void)state;
	assert_int_equal(parse("c2sp.org/tlog-proof@v1\nindex 0\n\nx"), 0);
	assert_int_equal(
	    parse("c2sp.org/tlog-proof@v1\nextra aGVsbG8=\nindex 7\n" HASH "\n\nx"), 0);
	assert_int_equal(parse("old 3\n" HASH "\n\nx"), 0);
	static const char *const bad[] = {"", "x", "c2sp.org/tlog-proof@v1",
	    "c2sp.org/tlog-proof@v1\n", "c2sp.org/tlog-proof@v2\nindex 0\n\nx",
	    "c2sp.org/tlog-proof@v1\nindex 00\n\nx", "c2sp.org/tlog-proof@v1\nindex\n\nx",
	    "c2sp.org/tlog-proof@v1\nindex 0 \n\nx",
	    "c2sp.org/tlog-proof@v1\nindex 9223372036854775808\n\nx",
	    "c2sp.org/tlog-proof@v1\nindex 0\n\n", "c2sp.org/tlog-proof@v1\nindex 0\n" HASH "\n",
	    "c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n\nx",
	    "c2sp.org/tlog-proof@v1\nextra !\nindex 0\n\nx",
	    "c2sp.org/tlog-proof@v1\nextra aGVsbG8=\nextra aGVsbG8=\nindex 0\n\nx", "old -1\n\nx",
	    "old 1", "old 1\n" HASH "x\n\nx", "oldest 1\n\nx"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(parse(bad[i]), -EBADMSG);
}

static void refuses_a_hash_more_than_63(void **state)
{
	cleanup_buf struct buf b;

	(void)state;
	buf_init(&b, PROOF_MAX);
	for (int extra = 0; extra < 2; extra++) {
		buf_reset(&b);
		buf_printf(&b, "old 1\n");
		for (int i = 0; i < MERKLE_PROOF_MAX + extra; i++)
			buf_printf(&b, HASH "\n");
		buf_printf(&b, "\nx");
		assert_int_equal(parse(buf_cstr(&b)), extra ? -EBADMSG : 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_record_of_every_size_is_proved),
	    cmocka_unit_test(every_growth_is_proved),
	    cmocka_unit_test(refuses_numbers_outside_the_log),
	    cmocka_unit_test(reads_the_form_and_no_other),
	    cmocka_unit_test(refuses_a_hash_more_than_63),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
