#include "broker/audit/ranges.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include "broker/audit/chain.h"
#include "lib/err.h"
#include "lib/merkle.h"
#include "lib/str.h"
#include "lib/util.h"

/*
 * The verifier's view of records, and of keys. What seals prove is tested by the attacks
 * (tests/e2e/test_audit_attacks.py).
 */

#define RECORDS 12

static const struct ranges_keys no_keys;

struct log {
	char record[RECORDS + 1][640];
	size_t n;
};

/* Record n of version v, n seconds after noon, or as `time` says. */
static void append_all(
    struct log *l, const char *log, int v, const char *class, const char *time, const char *members)
{
	char prev[DIGEST_HEX_LEN + 1] = {0}, own[64];
	uint8_t h[DIGEST_LEN] = {0};
	const char *before = l->record[l->n];
	size_t n = ++l->n;

	if (n > 1 && v == 1)
		digest_sha256(before, strlen(before), h);
	else if (n > 1)
		merkle_leaf(before, strlen(before), h);
	hex_encode(prev, h, sizeof h);
	(void)snprintf(own, sizeof own, "2026-11-23T12:00:%02zu.000000Z", n);
	if (v == 1)
		(void)snprintf(l->record[n], sizeof l->record[n],
		    "{\"v\":1,\"seq\":%zu,\"time\":\"%s\",\"boot\":\"b\",\"mono_ns\":1,\"class\":"
		    "\"%s\",\"tenant\":\"\",\"subject\":{},\"body\":{},\"prev\":\"%s\"}",
		    n, time ? time : own, class, prev);
	else
		(void)snprintf(l->record[n], sizeof l->record[n],
		    "{\"v\":2,\"log\":\"%s\",\"seq\":%zu,\"time\":\"%s\",\"boot\":\"b\",\"mono_"
		    "ns\":"
		    "1,\"class\":\"%s\",\"class_uid\":0,\"activity_id\":99,\"type_uid\":99,"
		    "\"tenant\":\"\",\"subject\":{},\"body\":{%s},\"prev\":\"%s\"}",
		    log, n, time ? time : own, class, members, prev);
}

static void append(struct log *l, const char *log, int v, const char *class, const char *time)
{
	append_all(l, log, v, class, time, "");
}

static void append_body(struct log *l, const char *log, const char *members)
{
	append_all(l, log, 2, "x", NULL, members);
}

static void fill(struct log *l, const char *log, int v, size_t n)
{
	while (l->n < n)
		append(l, log, v, "x", NULL);
}

static struct ranges *begin(const char *log)
{
	struct ranges *r = NULL;

	assert_int_equal(ranges_new(log, &no_keys, NULL, 0, &r, NULL), 0);
	return r;
}

static void put(struct ranges *r, const struct log *l, uint64_t seq)
{
	assert_int_equal(ranges_record(r, seq, l->record[seq], strlen(l->record[seq])), 0);
}

static struct ranges *all(const struct log *l, const char *log, struct ranges_result *ret)
{
	struct ranges *r = begin(log);

	for (size_t i = 1; i <= l->n; i++)
		put(r, l, i);
	ranges_end(r, l->n, true);
	ranges_result(r, ret);
	return r;
}

static void a_chain_without_seals_is_unsealed(void **state)
{
	struct ranges_result v;
	struct log l = {0};

	(void)state;
	fill(&l, "demo", 2, RECORDS);
	cleanup_ranges struct ranges *r = all(&l, "demo", &v);
	assert_int_equal(v.verdict, VERDICT_UNSEALED);
	assert_int_equal(v.nranges, 1);
	assert_int_equal(v.ranges[0].state, RANGE_CHAINED);
	assert_int_equal(v.ranges[0].to, RECORDS);
	assert_int_equal(v.sealed, 0);
}

/* A record in the middle and the last one name a body: one comes, the other does not. */
static void a_body_that_does_not_come_is_missing(void **state)
{
	static const char body[] = "{\"command\":\"long\"}";
	char members[DIGEST_HEX_LEN + 64], hex[DIGEST_HEX_LEN + 1];
	uint8_t digest[DIGEST_LEN];
	struct log l = {0};

	(void)state;
	digest_sha256(body, strlen(body), digest);
	hex_encode(hex, digest, sizeof digest);
	(void)snprintf(members, sizeof members, "\"body_digest\":\"%s\",\"body_bytes\":%zu", hex,
	    strlen(body));
	fill(&l, "demo", 2, 4);
	append_body(&l, "demo", members);
	fill(&l, "demo", 2, 6);
	append_body(&l, "demo", members);
	for (unsigned came = 0; came < 4; came++) {
		cleanup_ranges struct ranges *r = begin("demo");
		struct ranges_result v;
		size_t missing = 2 - (came & 1) - (came >> 1);

		for (size_t i = 1; i <= l.n; i++) {
			put(r, &l, i);
			if ((i == 5 && (came & 1)) || (i == 7 && (came & 2)))
				assert_int_equal(ranges_body(r, i, body, strlen(body)), 0);
		}
		ranges_end(r, l.n, true);
		ranges_result(r, &v);
		assert_int_equal(v.bodies_missing, missing);
		assert_int_equal(v.verdict, missing ? VERDICT_MISSING : VERDICT_UNSEALED);
		if (missing) {
			assert_int_equal(v.findings[0].from, came & 1 ? 7 : 5);
			assert_int_equal(v.findings[0].to, came & 2 ? 5 : 7);
		}
	}
}

static void reads_version_1_before_version_2(void **state)
{
	struct ranges_result v;
	struct log l = {0};

	(void)state;
	fill(&l, "host", 1, 5);
	fill(&l, "host", 2, RECORDS);
	cleanup_ranges struct ranges *r = all(&l, "host", &v);
	assert_int_equal(v.verdict, VERDICT_UNSEALED);
	l.record[3][60] ^= 1; /* in its time or boot */
	cleanup_ranges struct ranges *changed = all(&l, "host", &v);
	assert_int_equal(v.verdict, VERDICT_BROKEN);
}

static void version_1_is_the_hosts_and_comes_first(void **state)
{
	struct ranges_result v;
	struct log tenant = {0}, late = {0};

	(void)state;
	fill(&tenant, "demo", 1, 3);
	cleanup_ranges struct ranges *r = all(&tenant, "demo", &v);
	assert_int_equal(v.verdict, VERDICT_BROKEN);
	fill(&late, "host", 2, 3);
	fill(&late, "host", 1, 6);
	cleanup_ranges struct ranges *q = all(&late, "host", &v);
	assert_int_equal(v.verdict, VERDICT_BROKEN);
}

static void time_goes_back_only_where_an_operator_said_so(void **state)
{
	struct ranges_result v;
	struct log l = {0}, k = {0};

	(void)state;
	fill(&l, "demo", 2, 4);
	append(&l, "demo", 2, "x", "2026-11-23T11:00:00.000000Z");
	cleanup_ranges struct ranges *r = all(&l, "demo", &v);
	assert_int_equal(v.verdict, VERDICT_BROKEN);
	assert_int_equal(v.findings[0].from, 5);
	fill(&k, "demo", 2, 4);
	append(&k, "demo", 2, CHAIN_CLOCK_CLASS, "2026-11-23T11:00:00.000000Z");
	cleanup_ranges struct ranges *q = all(&k, "demo", &v);
	assert_int_equal(v.verdict, VERDICT_UNSEALED);
}

static void a_record_of_another_log_is_broken(void **state)
{
	struct ranges_result v;
	struct log l = {0};

	(void)state;
	fill(&l, "demo", 2, 3);
	append(&l, "other", 2, "x", NULL);
	cleanup_ranges struct ranges *r = all(&l, "demo", &v);
	assert_int_equal(v.verdict, VERDICT_BROKEN);
	assert_int_equal(v.findings[0].from, 4);
}

static void a_record_that_comes_twice_is_broken(void **state)
{
	cleanup_ranges struct ranges *r = begin("demo");
	struct ranges_result v;
	struct log l = {0};

	(void)state;
	fill(&l, "demo", 2, 3);
	put(r, &l, 1);
	put(r, &l, 2);
	put(r, &l, 2);
	put(r, &l, 3);
	ranges_end(r, 3, true);
	ranges_result(r, &v);
	assert_int_equal(v.verdict, VERDICT_BROKEN);
}

static void ranges_cover_everything_once_however_many_holes(void **state)
{
	cleanup_ranges struct ranges *r = begin("demo");
	struct ranges_result v;
	uint64_t next = 1;

	(void)state;
	for (uint64_t seq = 2; seq < 4 * RANGES_HOLES_MAX; seq += 2)
		assert_int_equal(ranges_record(r, seq, "{}", 2), 0);
	ranges_end(r, 5 * RANGES_HOLES_MAX, true);
	ranges_result(r, &v);
	assert_int_equal(v.verdict, VERDICT_BROKEN);
	assert_int_equal(v.nfindings, RANGES_FINDINGS_MAX);
	assert_true(v.more_findings > 0);
	for (size_t i = 0; i < v.nranges; i++) {
		assert_int_equal(v.ranges[i].from, next);
		assert_true(
		    v.ranges[i].state == RANGE_BROKEN || v.ranges[i].state == RANGE_MISSING);
		next = v.ranges[i].to + 1;
	}
	assert_int_equal(next, 5 * RANGES_HOLES_MAX + 1);
}

/* ---- keys ---- */

static struct note_key key(const char *name, uint8_t type, uint8_t fill_with)
{
	uint8_t raw[NOTE_KEY_LEN];
	struct note_key k;

	memset(raw, fill_with, sizeof raw);
	assert_int_equal(note_key_init(&k, name, type, raw, NULL), 0);
	return k;
}

static void keys_find_their_log(void **state)
{
	struct note_key k[] = {key("h/x", 1, 1), key("h/x/t/demo", 1, 1), key("h/x/t/other", 1, 1),
	    key("h/x/epoch/0", 1, 2), key("w", 4, 3)};
	struct ranges_keys got;

	(void)state;
	assert_int_equal(ranges_keys(k, ARRAY_LEN(k), "demo", &got, NULL), 0);
	assert_true(got.has_log && got.has_epoch);
	assert_string_equal(got.log.name, "h/x/t/demo");
	assert_string_equal(got.host, "h/x");
	assert_int_equal(got.nwitnesses, 1);
	assert_int_equal(ranges_keys(k, 1, "demo", &got, NULL), 0);
	assert_string_equal(got.log.name, "h/x/t/demo");
	assert_int_equal(ranges_keys(k + 2, 1, "demo", &got, NULL), 0);
	assert_false(got.has_log);
	assert_int_equal(ranges_keys(k, ARRAY_LEN(k), "host", &got, NULL), 0);
	assert_string_equal(got.log.name, "h/x");
	assert_int_equal(ranges_keys(k, 0, "demo", &got, NULL), 0);
	assert_false(got.has_log || got.has_epoch);
}

static void one_witness_is_one_under_any_name(void **state)
{
	struct note_key k[] = {key("w", 4, 3), key("w", 4, 3), key("v", 4, 3), key("u", 4, 4)};
	struct ranges_keys got;

	(void)state;
	assert_int_equal(ranges_keys(k, ARRAY_LEN(k), "demo", &got, NULL), 0);
	assert_int_equal(got.nwitnesses, 2);
	assert_int_equal(got.quorum, 0);
}

static void keys_that_contradict_each_other_are_refused(void **state)
{
	struct note_key two[] = {key("h", 1, 1), key("h/t/demo", 1, 2)};
	struct note_key hosts[] = {key("h", 1, 1), key("g/epoch/0", 1, 2)};
	struct ranges_keys got;

	(void)state;
	assert_int_equal(ranges_keys(two, 2, "demo", &got, NULL), -EINVAL);
	assert_int_equal(ranges_keys(hosts, 2, "demo", &got, NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_chain_without_seals_is_unsealed),
	    cmocka_unit_test(a_body_that_does_not_come_is_missing),
	    cmocka_unit_test(reads_version_1_before_version_2),
	    cmocka_unit_test(version_1_is_the_hosts_and_comes_first),
	    cmocka_unit_test(time_goes_back_only_where_an_operator_said_so),
	    cmocka_unit_test(a_record_of_another_log_is_broken),
	    cmocka_unit_test(a_record_that_comes_twice_is_broken),
	    cmocka_unit_test(ranges_cover_everything_once_however_many_holes),
	    cmocka_unit_test(keys_find_their_log),
	    cmocka_unit_test(one_witness_is_one_under_any_name),
	    cmocka_unit_test(keys_that_contradict_each_other_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
