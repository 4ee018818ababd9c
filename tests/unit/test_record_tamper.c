/* A store that somebody has changed: what verification says of it, and whether the core goes on. */
#include "broker/audit/record_store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/audit/logs.h"
#include "broker/audit/record.h"
#include "broker/audit/verify.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/loop.h"
#include "lib/util.h"
#include "tests/support/keygen.h"

#define RECORDS 20
#define DEMO    1 /* its log */

static const struct store_config config = {.map_size = UINT64_C(1) << 24};
static struct store *store;

static struct store *opened(void)
{
	cleanup_close int dir = open("core", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct store *s = NULL;

	assert_int_equal(store_open(dir, &config, &s, NULL), 0);
	return s;
}

/* As the core at its start; with records, they are appended. */
static int run_log(int records, struct err *e)
{
	struct loop *l = loop_new();
	struct record_log *log = NULL;
	int r = record_store_new(store, l, RECORD_TOLERANCE_S, &log, e);

	for (int i = 0; r == 0 && i < records; i++)
		assert_int_equal(record_append(log, "test", "demo",
		                     json_pack("{s:s}", "session", "x\"}\n{\"v\":1"),
		                     json_pack("{s:i}", "i", i), true, NULL, NULL),
		    0);
	if (r == 0) {
		assert_int_equal(log->ops->flush(log), 0);
		log->ops->free(log);
	}
	loop_free(l);
	return r;
}

static int set_up(void **state)
{
	if (keygen_enter(state) < 0 || mkdir("core", 0700) < 0)
		return -1;
	store = opened();
	assert_int_equal(run_log(RECORDS, NULL), 0);
	assert_int_equal(store_begin(store, NULL), 0);
	return 0;
}

static int tear_down(void **state)
{
	store_close(store);
	return keygen_leave(state);
}

/* Commits what the test has changed. want NULL: verification finds nothing. */
static void verifies(const char *want)
{
	struct err e = ERR_INIT;
	struct verify v;
	int r;

	assert_int_equal(store_commit(store, NULL), 0);
	r = verify_store(store, &v, &e);
	assert_int_equal(r, want ? -EBADMSG : 0);
	if (want && !strstr(e.text, want))
		fail_msg("\"%s\" does not say \"%s\"", e.text, want);
}

static void the_core_refuses(const char *want)
{
	struct err e = ERR_INIT;

	assert_int_equal(run_log(0, &e), -EUCLEAN);
	if (!strstr(e.text, want))
		fail_msg("\"%s\" does not say \"%s\"", e.text, want);
}

static void get(uint64_t seq, struct buf *b)
{
	uint8_t key[LOG_KEY_LEN];

	log_key(DEMO, seq, key);
	buf_init(b, RECORD_MAX);
	assert_int_equal(store_get(store, STORE_RECORDS, key, sizeof key, b), 0);
}

static void put(uint64_t seq, struct buf *b)
{
	uint8_t key[LOG_KEY_LEN];

	log_key(DEMO, seq, key);
	assert_int_equal(
	    store_put(store, STORE_RECORDS, key, sizeof key, b->data, b->len, NULL), 0);
	buf_done(b);
}

static void drop(uint64_t seq)
{
	uint8_t key[LOG_KEY_LEN];

	log_key(DEMO, seq, key);
	assert_int_equal(store_del(store, STORE_RECORDS, key, sizeof key, NULL), 0);
}

static void set_head(uint64_t seq)
{
	struct log_head head = {.seq = seq, .time_ns = clock_wall_ns()};
	uint8_t packed[LOG_HEAD_MAX], key[4];
	struct buf b;

	for (uint64_t i = 1; i <= seq; i++) {
		get(i, &b);
		merkle_leaf(b.data, b.len, head.leaf);
		assert_int_equal(merkle_append(&head.tree, head.leaf), 0);
		buf_done(&b);
	}
	log_number_key(DEMO, key);
	assert_int_equal(store_put(store, STORE_HEADS, key, sizeof key, packed,
	                     log_head_pack(&head, packed), NULL),
	    0);
}

static void an_untouched_one_is_good(void **state)
{
	(void)state;
	verifies(NULL);
	assert_int_equal(run_log(1, NULL), 0);
}

static void a_flipped_bit_shows(void **state)
{
	struct buf b;

	(void)state;
	get(7, &b);
	b.data[strlen("{\"v\":2,\"log\":\"demo\",\"seq\":7,\"time\":\"20")] ^= 1;
	put(7, &b);
	verifies("record 7 was changed");
}

static void a_flipped_bit_in_the_last_shows(void **state)
{
	struct buf b;

	(void)state;
	get(RECORDS, &b);
	b.data[strlen("{\"v\":2,\"log\":\"demo\",\"seq\":20,\"time\":\"20")] ^= 1;
	put(RECORDS, &b);
	verifies("record 20 was changed");
	the_core_refuses("does not match the log's head");
}

static void a_missing_record_shows(void **state)
{
	(void)state;
	drop(9);
	verifies("record 9 is missing");
}

static void a_missing_first_or_last_shows(void **state)
{
	(void)state;
	drop(RECORDS);
	verifies("record 20 is missing");
	the_core_refuses("20, is missing");
	assert_int_equal(store_begin(store, NULL), 0);
	drop(1);
	verifies("record 1 is missing");
}

static void swapped_records_show(void **state)
{
	struct buf a, b;

	(void)state;
	get(5, &a);
	get(6, &b);
	put(5, &b);
	put(6, &a);
	verifies("record 5 has another number inside");
}

static void records_that_do_not_count_show(void **state)
{
	static const char *const keys[] = {"\0\0\0\1\0\0\0\0\0\0\0", "\0\0\0\1\0\0\0\0\0\0\0\5x",
	    "\377", "\0\0\0\2\0\0\0\0\0\0\0\1", "\0\0\0\0\0\0\0\0\0\0\0\1"};
	static const size_t lens[] = {12, 13, 1, 12, 12};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		struct err e = ERR_INIT;
		struct verify v;

		assert_int_equal(
		    store_put(store, STORE_RECORDS, keys[i], lens[i], "{}", 2, NULL), 0);
		assert_int_equal(store_commit(store, NULL), 0);
		assert_int_equal(verify_store(store, &v, &e), -EBADMSG);
		assert_int_equal(store_begin(store, NULL), 0);
		assert_int_equal(store_del(store, STORE_RECORDS, keys[i], lens[i], NULL), 0);
	}
	verifies(NULL);
}

/* Else the next record would be written over one that is still there. */
static void a_head_set_back_stops_the_core(void **state)
{
	(void)state;
	set_head(15);
	verifies("record 16 is newer than the log's head");
	the_core_refuses("records behind the newest, 15");
}

static void a_lost_head_stops_the_core(void **state)
{
	uint8_t key[4];

	(void)state;
	log_number_key(DEMO, key);
	assert_int_equal(store_del(store, STORE_HEADS, key, sizeof key, NULL), 0);
	verifies("record 1 is newer than the log's head");
	the_core_refuses("records behind the newest, 0");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(an_untouched_one_is_good),
	    TEST(a_flipped_bit_shows),
	    TEST(a_flipped_bit_in_the_last_shows),
	    TEST(a_missing_record_shows),
	    TEST(a_missing_first_or_last_shows),
	    TEST(swapped_records_show),
	    TEST(records_that_do_not_count_show),
	    TEST(a_head_set_back_stops_the_core),
	    TEST(a_lost_head_stops_the_core),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
