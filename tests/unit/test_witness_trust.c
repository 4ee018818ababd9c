#include "broker/witness/trust.h"

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

#define HOST "log.example/host"

/* A verifier key of that name; n tells public keys apart. */
static const char *vkey(struct buf *b, const char *name, uint8_t type, uint8_t n)
{
	uint8_t seed[NOTE_KEY_LEN], point[NOTE_KEY_LEN];
	struct note_key k;

	memset(seed, n, sizeof seed);
	assert_int_equal(note_public(seed, point), 0);
	assert_int_equal(note_key_init(&k, name, type, point, NULL), 0);
	buf_reset(b);
	note_key_format(&k, b);
	return buf_cstr(b);
}

static int add(struct trust *t, const char *name, uint8_t type, uint8_t n)
{
	cleanup_buf struct buf b;
	const char *text;

	buf_init(&b, 1024);
	text = vkey(&b, name, type, n);
	return trust_add(t, text, strlen(text), NULL);
}

static void a_host_s_key_stands_for_its_tenants_logs(void **state)
{
	static const char *const nobody[] = {"log.example", "log.example/hos", HOST "/", HOST "/t/",
	    HOST "/t/Demo", HOST "/t/a/b", HOST "/t/ca", HOST "/t/host", HOST "/x/demo",
	    HOST "/t/demo/", HOST "2", "x" HOST, HOST "/epoch/0", ""};
	struct note_key k[TRUST_SAME_MAX];
	struct trust *t = trust_new();

	(void)state;
	assert_int_equal(add(t, HOST, NOTE_ED25519, 1), 0);
	assert_int_equal(trust_find(t, HOST, k), 1);
	assert_string_equal(k[0].name, HOST);
	assert_int_equal(trust_find(t, HOST "/t/demo", k), 1);
	assert_string_equal(k[0].name, HOST "/t/demo");
	for (size_t i = 0; i < sizeof nobody / sizeof *nobody; i++)
		assert_int_equal(trust_find(t, nobody[i], k), 0);
	trust_free(t);
}

static void keys_that_are_no_log_s_are_refused_alone_and_passed_over_in_a_file(void **state)
{
	struct note_key k[TRUST_SAME_MAX];
	struct trust *t = trust_new();
	cleanup_buf struct buf text, b;

	(void)state;
	buf_init(&text, 65536);
	buf_init(&b, 1024);
	assert_int_equal(add(t, HOST, NOTE_COSIGNATURE, 1), -EINVAL);
	assert_int_equal(add(t, HOST "/epoch/0", NOTE_ED25519, 1), -EINVAL);
	assert_int_equal(add(t, HOST "/epoch/17", NOTE_ED25519, 1), -EINVAL);
	buf_printf(&text, "first epoch:  %s\n", vkey(&b, HOST "/epoch/0", NOTE_ED25519, 2));
	buf_printf(&text, "log host:     %s\n", vkey(&b, HOST, NOTE_ED25519, 1));
	buf_printf(&text, "# log other:  no+key+\n\n");
	buf_printf(&text, "%s\n", vkey(&b, "witness.example", NOTE_COSIGNATURE, 3));
	buf_printf(&text, "Whoever verifies a log keeps its key elsewhere.\n");
	buf_printf(&text, "%s", vkey(&b, "last.example", NOTE_ED25519, 4)); /* without LF */
	assert_int_equal(trust_add_text(t, (const char *)text.data, text.len, NULL), 0);
	assert_int_equal(trust_count(t), 2);
	assert_int_equal(trust_find(t, HOST, k), 1);
	assert_int_equal(trust_find(t, "last.example", k), 1);
	assert_int_equal(trust_find(t, HOST "/epoch/0", k), 0);
	trust_free(t);
}

static void a_damaged_key_in_a_file_is_named_by_its_line(void **state)
{
	struct trust *t = trust_new();
	cleanup_buf struct buf text, b;
	struct err e = ERR_INIT;

	(void)state;
	buf_init(&text, 65536);
	buf_init(&b, 1024);
	buf_printf(&text, "%s\n\nlog x: a+b+c\n", vkey(&b, HOST, NOTE_ED25519, 1));
	assert_true(trust_add_text(t, (const char *)text.data, text.len, &e) < 0);
	assert_non_null(strstr(err_text(&e), "line 3"));
	trust_free(t);
}

static void a_log_may_have_a_few_keys_while_one_replaces_the_other(void **state)
{
	struct note_key k[TRUST_SAME_MAX];
	struct trust *t = trust_new();

	(void)state;
	for (uint8_t i = 1; i <= TRUST_SAME_MAX; i++) {
		assert_int_equal(add(t, HOST, NOTE_ED25519, i), 0);
		assert_int_equal(add(t, HOST, NOTE_ED25519, i), 0); /* known */
		assert_int_equal(trust_count(t), i);
	}
	assert_int_equal(trust_find(t, HOST, k), TRUST_SAME_MAX);
	assert_int_equal(add(t, HOST, NOTE_ED25519, 99), -ENOSPC);
	trust_free(t);
}

static void there_is_an_end_to_keys(void **state)
{
	struct trust *t = trust_new();
	char name[64];

	(void)state;
	for (unsigned i = 0; i < TRUST_KEYS_MAX; i++) {
		(void)snprintf(name, sizeof name, "log.example/%u", i);
		assert_int_equal(add(t, name, NOTE_ED25519, 1), 0);
	}
	assert_int_equal(add(t, "one.more", NOTE_ED25519, 1), -ENOSPC);
	trust_free(t);
}

static void a_host_may_have_so_many_tenants_and_another_host_as_many(void **state)
{
	struct trust *t = trust_new();
	char name[64];

	(void)state;
	assert_int_equal(add(t, HOST, NOTE_ED25519, 1), 0);
	assert_int_equal(add(t, "other.example", NOTE_ED25519, 1), 0);
	assert_int_equal(add(t, HOST "/t/named", NOTE_ED25519, 1), 0);
	for (unsigned i = 0; i < TRUST_TENANTS_MAX; i++) {
		(void)snprintf(name, sizeof name, HOST "/t/t%u", i);
		assert_true(trust_room(t, name));
		trust_kept(t, name);
	}
	assert_false(trust_room(t, HOST "/t/more"));
	assert_true(trust_room(t, HOST));
	assert_true(trust_room(t, HOST "/t/named")); /* has a key of its own */
	assert_true(trust_room(t, "other.example/t/more"));
	trust_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_host_s_key_stands_for_its_tenants_logs),
	    cmocka_unit_test(keys_that_are_no_log_s_are_refused_alone_and_passed_over_in_a_file),
	    cmocka_unit_test(a_damaged_key_in_a_file_is_named_by_its_line),
	    cmocka_unit_test(a_log_may_have_a_few_keys_while_one_replaces_the_other),
	    cmocka_unit_test(there_is_an_end_to_keys),
	    cmocka_unit_test(a_host_may_have_so_many_tenants_and_another_host_as_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
