#include "broker/audit/record_migrate.h"

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
#include <fcntl.h>
#include "broker/audit/logs.h"
#include "broker/audit/record_store.h"
#include "broker/audit/tree.h"
#include "broker/audit/verify.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/str.h"

/*
 * A store as the first release wrote it: every byte of its records is there afterwards, they are
 * still one chain by their own rule, and the log goes on.
 */

#define RECORDS 1300

struct fix {
	char dir[64];
	int fd;
	struct loop *loop;
	struct store *store;
	struct record_log *log;
	struct err e;
};

static void open_store(struct fix *f)
{
	struct store_config c = {0};

	if (store_open(f->fd, &c, &f->store, &f->e) < 0)
		fail_msg("%s", err_text(&f->e));
}

/* A record of schema 1, and its digest for the next. */
static size_t old_record(uint64_t seq, uint8_t digest[DIGEST_LEN], char *text, size_t size)
{
	char prev[DIGEST_HEX_LEN + 1];
	int n;

	hex_encode(prev, digest, DIGEST_LEN);
	n = snprintf(text, size,
	    "{\"v\":1,\"seq\":%d,\"time\":\"2026-11-23T15:38:48.%06dZ\",\"boot\":\"b\",\"mono_ns\":"
	    "%d,"
	    "\"class\":\"grant\",\"tenant\":\"%s\",\"subject\":{\"peer\":\"192.0.2.1\"},"
	    "\"body\":{\"n\":%d},\"prev\":\"%s\"}",
	    (int)seq, (int)seq, (int)seq, seq % 2 ? "demo" : "", (int)seq, prev);
	digest_sha256(text, (size_t)n, digest);
	return (size_t)n;
}

static void put_u64(uint8_t *out, uint64_t v)
{
	for (int i = 7; i >= 0; i--, v >>= 8)
		out[i] = (uint8_t)v;
}

static void write_old(struct fix *f)
{
	uint8_t digest[DIGEST_LEN] = {0}, key[8], head[16 + DIGEST_LEN];
	char text[512];

	open_store(f);
	assert_int_equal(store_begin(f->store, NULL), 0);
	for (uint64_t seq = 1; seq <= RECORDS; seq++) {
		size_t len = old_record(seq, digest, text, sizeof text);

		put_u64(key, seq);
		assert_int_equal(
		    store_put(f->store, STORE_RECORDS_1, key, sizeof key, text, len, NULL), 0);
	}
	put_u64(head, RECORDS);
	put_u64(head + 8, UINT64_C(1795448328000000000));
	memcpy(head + 16, digest, DIGEST_LEN);
	assert_int_equal(
	    store_put(f->store, STORE_HEADS_2, "records", 7, head, sizeof head, NULL), 0);
	assert_int_equal(store_put(f->store, STORE_SESSIONS, "s-1", 3, "{}", 2, NULL), 0);
	assert_int_equal(store_set_schema(f->store, 1, NULL), 0);
	assert_int_equal(store_commit(f->store, NULL), 0);
	store_close(f->store);
	f->store = NULL;
}

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof *f);

	log_open("test", LOG_EMERG);
	(void)snprintf(f->dir, sizeof f->dir, "/tmp/migrate-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->loop = loop_new();
	write_old(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	if (f->log)
		f->log->ops->free(f->log);
	store_close(f->store);
	loop_free(f->loop);
	(void)unlinkat(f->fd, "data.mdb", 0);
	(void)unlinkat(f->fd, "lock.mdb", 0);
	(void)unlinkat(f->fd, STORE_RESERVE_FILE, 0);
	(void)close(f->fd);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

static int start(struct fix *f)
{
	return record_store_new(f->store, f->loop, 60, &f->log, &f->e);
}

static void old_records_are_the_first_of_the_hosts_log(void **state)
{
	uint8_t digest[DIGEST_LEN] = {0}, root[DIGEST_LEN], leaf[DIGEST_LEN];
	uint8_t proof[MERKLE_PROOF_MAX][DIGEST_LEN];
	struct fix *f = *state;
	cleanup_buf struct buf b;
	struct verify v;
	char text[512];
	size_t n;

	buf_init(&b, RECORD_MAX);
	open_store(f);
	assert_int_equal(store_schema(f->store), 1);
	assert_int_equal(start(f), 0);
	assert_int_equal(store_schema(f->store), STORE_SCHEMA);
	assert_int_equal(f->log->ops->size(f->log), RECORDS);
	for (uint64_t seq = 1; seq <= RECORDS; seq++) {
		size_t len = old_record(seq, digest, text, sizeof text);

		buf_reset(&b);
		assert_int_equal(logs_get(f->store, LOG_HOST_NUMBER, seq, &b), 0);
		assert_int_equal(b.len, len);
		assert_memory_equal(b.data, text, len);
		if (seq == 700)
			merkle_leaf(text, len, leaf);
	}
	assert_int_equal(record_append(f->log, "x", NULL, NULL, NULL, true, NULL, NULL), 0);
	assert_int_equal(record_append(f->log, "x", "demo", NULL, NULL, true, NULL, NULL), 0);
	assert_int_equal(f->log->ops->flush(f->log), 0);
	if (verify_store(f->store, &v, &f->e) < 0)
		fail_msg("%s", err_text(&f->e));
	assert_int_equal(v.seq, RECORDS + 2);
	assert_int_equal(tree_root(f->store, LOG_HOST_NUMBER, RECORDS + 1, root, NULL), 0);
	assert_int_equal(
	    tree_inclusion(f->store, LOG_HOST_NUMBER, 699, RECORDS + 1, proof, &n, NULL), 0);
	assert_int_equal(merkle_verify_inclusion(
	                     leaf, 699, RECORDS + 1, (const uint8_t(*)[DIGEST_LEN])proof, n, root),
	    0);
	/* what else was in the store is there */
	buf_reset(&b);
	assert_int_equal(store_get(f->store, STORE_SESSIONS, "s-1", 3, &b), 0);
	/* and again at the next start */
	f->log->ops->free(f->log);
	f->log = NULL;
	store_close(f->store);
	open_store(f);
	assert_int_equal(start(f), 0);
	assert_int_equal(f->log->ops->size(f->log), RECORDS + 2);
}

static void what_was_interrupted_goes_on(void **state)
{
	struct fix *f = *state;
	struct tree_tail *tail = NULL;
	struct log_head head = {0};
	uint8_t digest[DIGEST_LEN] = {0}, key[LOG_KEY_LEN], packed[LOG_HEAD_MAX];
	struct verify v;
	char text[512];

	/* as if it had been killed after the first 300 */
	open_store(f);
	assert_int_equal(tree_tail_load(f->store, 0, &head.tree, &tail, NULL), 0);
	assert_int_equal(store_begin(f->store, NULL), 0);
	for (uint64_t seq = 1; seq <= 300; seq++) {
		size_t len = old_record(seq, digest, text, sizeof text);

		log_key(0, seq, key);
		merkle_leaf(text, len, head.leaf);
		assert_int_equal(
		    store_put(f->store, STORE_RECORDS, key, sizeof key, text, len, NULL), 0);
		assert_int_equal(store_del(f->store, STORE_RECORDS_1, key + 4, 8, NULL), 0);
		assert_int_equal(tree_append(f->store, 0, &head.tree, tail, head.leaf, NULL), 0);
		head.seq = seq;
	}
	assert_int_equal(store_put(f->store, STORE_HEADS, "\0\0\0\0", 4, packed,
	                     log_head_pack(&head, packed), NULL),
	    0);
	assert_int_equal(store_commit(f->store, NULL), 0);
	tree_tail_free(tail);
	store_close(f->store);
	open_store(f);
	assert_int_equal(start(f), 0);
	assert_int_equal(f->log->ops->size(f->log), RECORDS);
	assert_int_equal(verify_store(f->store, &v, NULL), 0);
	assert_int_equal(v.seq, RECORDS);
}

static void spoil(struct fix *f, uint64_t seq, const char *value)
{
	uint8_t key[8];

	open_store(f);
	put_u64(key, seq);
	assert_int_equal(store_begin(f->store, NULL), 0);
	assert_int_equal(
	    value ? store_put(f->store, STORE_RECORDS_1, key, 8, value, strlen(value), NULL)
	          : store_del(f->store, STORE_RECORDS_1, key, 8, NULL),
	    0);
	assert_int_equal(store_commit(f->store, NULL), 0);
}

static void a_chain_that_does_not_hold_is_not_touched(void **state)
{
	struct fix *f = *state;
	uint8_t key[8];
	cleanup_buf struct buf b;

	buf_init(&b, RECORD_MAX);
	spoil(f, 900, NULL);
	assert_int_equal(start(f), -EUCLEAN);
	assert_non_null(strstr(err_text(&f->e), "900"));
	assert_int_equal(store_schema(f->store), 1);
	put_u64(key, 1);
	assert_int_equal(store_get(f->store, STORE_RECORDS_1, key, 8, &b), 0);
}

static void a_cut_end_is_noticed(void **state)
{
	struct fix *f = *state;

	spoil(f, RECORDS, NULL);
	assert_int_equal(start(f), -EUCLEAN);
	assert_non_null(strstr(err_text(&f->e), "missing"));
}

static void a_changed_end_is_noticed(void **state)
{
	struct fix *f = *state;
	uint8_t digest[DIGEST_LEN] = {0};
	char text[512];

	for (uint64_t seq = 1; seq <= RECORDS; seq++)
		(void)old_record(seq, digest, text, sizeof text);
	*strstr(text, "grant") = 'G';
	spoil(f, RECORDS, text);
	assert_int_equal(start(f), -EUCLEAN);
}

static void schema_two_becomes_the_newest(void **state)
{
	static const uint8_t host[4] = {0};
	struct fix *f = *state;
	struct log_head before, after;
	cleanup_buf struct buf b;

	buf_init(&b, LOG_HEAD_MAX);
	open_store(f);
	assert_int_equal(start(f), 0);
	assert_int_equal(logs_head(f->store, LOG_HOST_NUMBER, &before, NULL), 0);
	assert_int_equal(store_get(f->store, STORE_HEADS, host, 4, &b), 0);
	assert_int_equal(store_begin(f->store, NULL), 0);
	assert_int_equal(store_put(f->store, STORE_HEADS_2, host, 4, b.data, b.len, NULL), 0);
	assert_int_equal(store_del(f->store, STORE_HEADS, host, 4, NULL), 0);
	assert_int_equal(store_set_schema(f->store, 2, NULL), 0);
	assert_int_equal(store_commit(f->store, NULL), 0);
	assert_int_equal(record_migrate(f->store, &f->e), 0);
	assert_int_equal(store_schema(f->store), STORE_SCHEMA);
	assert_int_equal(logs_head(f->store, LOG_HOST_NUMBER, &after, NULL), 0);
	assert_true(after.seq > 0);
	assert_memory_equal(&after, &before, sizeof after);
	buf_reset(&b);
	assert_int_equal(store_get(f->store, STORE_HEADS_2, host, 4, &b), -ENOENT);
}

static void a_reader_is_told_to_start_it_first(void **state)
{
	struct store_config c = {.read_only = true};
	struct fix *f = *state;

	assert_int_equal(store_open(f->fd, &c, &f->store, &f->e), -EPROTO);
	assert_non_null(strstr(err_text(&f->e), "older"));
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(old_records_are_the_first_of_the_hosts_log),
	    TEST(what_was_interrupted_goes_on),
	    TEST(a_chain_that_does_not_hold_is_not_touched),
	    TEST(a_cut_end_is_noticed),
	    TEST(a_changed_end_is_noticed),
	    TEST(schema_two_becomes_the_newest),
	    TEST(a_reader_is_told_to_start_it_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
