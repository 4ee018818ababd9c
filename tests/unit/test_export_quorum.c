#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "broker/core/export_config.h"
#include "broker/core/export_quorum.h"
#include "creds/note.h"
#include "lib/buf.h"
#include "lib/clock.h"

/*
 * What a quorum has signed, and what it costs to see that it has not: the core looks through a
 * thousand notes of each log while a witness is away, and nobody may wait for that.
 */

#define WITNESSES 4
#define TEXT      "log.example.com/h\n7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"

static void seed_of(size_t i, uint8_t seed[NOTE_KEY_LEN])
{
	memset(seed, (int)i + 1, NOTE_KEY_LEN);
}

static void configure(struct export_config *c, size_t quorum)
{
	memset(c, 0, sizeof *c);
	c->nwitnesses = WITNESSES;
	c->quorum = quorum;
	for (size_t i = 0; i < WITNESSES; i++) {
		uint8_t seed[NOTE_KEY_LEN], public[NOTE_KEY_LEN];
		char name[32];

		seed_of(i, seed);
		(void)snprintf(name, sizeof name, "w%zu.example.com", i);
		assert_int_equal(note_public(seed, public), 0);
		assert_int_equal(
		    note_key_init(&c->witnesses[i].key, name, NOTE_COSIGNATURE, public, NULL), 0);
	}
}

/* Signed by the first n; from `bad` on, over another text. */
static void note_by(const struct export_config *c, size_t n, size_t bad, struct buf *out)
{
	buf_printf(out, "%s\n", TEXT);
	for (size_t i = 0; i < n; i++) {
		const char *text = i < bad ? TEXT : "another\n";
		uint8_t seed[NOTE_KEY_LEN];

		seed_of(i, seed);
		assert_int_equal(
		    note_sign(text, strlen(text), &c->witnesses[i].key, seed, 1000, out, NULL), 0);
	}
}

static bool has(size_t quorum, size_t n, size_t bad)
{
	static struct export_config c;
	cleanup_buf struct buf b;

	buf_init(&b, NOTE_MAX);
	configure(&c, quorum);
	note_by(&c, n, bad, &b);
	return export_quorum(&c, b.data, b.len);
}

static void counts_good_signatures_of_configured_witnesses(void **state)
{
	(void)state;
	assert_true(has(2, 2, 9));
	assert_true(has(2, 4, 2));
	assert_true(has(4, 4, 9));
	assert_false(has(2, 1, 9));
	assert_false(has(2, 4, 1));
	assert_false(has(3, 3, 2));
}

static void one_witness_that_signs_twice_is_one(void **state)
{
	static struct export_config c;
	cleanup_buf struct buf b;
	uint8_t seed[NOTE_KEY_LEN];

	(void)state;
	buf_init(&b, NOTE_MAX);
	configure(&c, 2);
	note_by(&c, 1, 9, &b);
	seed_of(0, seed);
	assert_int_equal(
	    note_sign(TEXT, strlen(TEXT), &c.witnesses[0].key, seed, 2000, &b, NULL), 0);
	assert_false(export_quorum(&c, b.data, b.len));
}

static int64_t cost_ns(const struct export_config *c, const struct buf *b, bool want)
{
	int64_t begin = clock_mono_ns();

	for (int i = 0; i < 300; i++)
		assert_int_equal(export_quorum(c, b->data, b->len), want);
	return clock_mono_ns() - begin;
}

static void too_few_signatures_are_not_verified(void **state)
{
	static struct export_config c;
	cleanup_buf struct buf b;
	int64_t full;

	(void)state;
	buf_init(&b, NOTE_MAX);
	configure(&c, 3);
	note_by(&c, 3, 9, &b);
	full = cost_ns(&c, &b, true);
	c.quorum = 4;
	assert_in_range(cost_ns(&c, &b, false), 0, full / 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(counts_good_signatures_of_configured_witnesses),
	    cmocka_unit_test(one_witness_that_signs_twice_is_one),
	    cmocka_unit_test(too_few_signatures_are_not_verified),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
