#include "broker/audit/tree.h"

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
#include "broker/audit/chain.h"
#include "broker/audit/logs.h"
#include "broker/audit/record.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/err.h"

/*
 * The tree in the store: it grows as lib/merkle says, over transactions and restarts, and every
 * proof made of its tiles holds.
 */

#define LOG 7

struct fix {
	char dir[64];
	int fd;
	struct store *store;
	struct log_head head;
	struct tree_tail *tail;
};

static void open_store(struct fix *f)
{
	struct store_config c = {0};
	struct err e = ERR_INIT;

	if (store_open(f->fd, &c, &f->store, &e) < 0 ||
	    logs_head(f->store, LOG, &f->head, &e) < 0 ||
	    tree_tail_load(f->store, LOG, &f->head.tree, &f->tail, &e) < 0)
		fail_msg("%s", err_text(&e));
}

static void close_store(struct fix *f)
{
	tree_tail_free(f->tail);
	store_close(f->store);
}

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof *f);

	(void)snprintf(f->dir, sizeof f->dir, "/tmp/tree-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	open_store(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	close_store(f);
	(void)unlinkat(f->fd, "data.mdb", 0);
	(void)unlinkat(f->fd, "lock.mdb", 0);
	(void)unlinkat(f->fd, STORE_RESERVE_FILE, 0);
	(void)close(f->fd);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

/* n records in one transaction. */
static void grow(struct fix *f, size_t n)
{
	struct err e = ERR_INIT;
	uint8_t key[LOG_KEY_LEN], packed[LOG_HEAD_MAX];

	assert_int_equal(store_begin(f->store, NULL), 0);
	for (size_t i = 0; i < n; i++) {
		char text[32];
		int len = snprintf(text, sizeof text, "record %d", (int)f->head.seq + 1);

		merkle_leaf(text, (size_t)len, f->head.leaf);
		log_key(LOG, ++f->head.seq, key);
		if (store_put(f->store, STORE_RECORDS, key, sizeof key, text, (size_t)len, &e) <
		        0 ||
		    tree_append(f->store, LOG, &f->head.tree, f->tail, f->head.leaf, &e) < 0)
			fail_msg("%s", err_text(&e));
	}
	log_number_key(LOG, key);
	assert_int_equal(
	    store_put(f->store, STORE_HEADS, key, 4, packed, log_head_pack(&f->head, packed), NULL),
	    0);
	assert_int_equal(store_commit(f->store, NULL), 0);
}

static void leaf_at(uint64_t index, uint8_t ret[DIGEST_LEN])
{
	char text[32];
	int len = snprintf(text, sizeof text, "record %d", (int)index + 1);

	merkle_leaf(text, (size_t)len, ret);
}

static void root_at(uint64_t size, uint8_t ret[DIGEST_LEN])
{
	struct merkle m;
	uint8_t leaf[DIGEST_LEN];

	merkle_init(&m);
	for (uint64_t i = 0; i < size; i++) {
		leaf_at(i, leaf);
		assert_int_equal(merkle_append(&m, leaf), 0);
	}
	merkle_root(&m, ret);
}

static void includes(struct fix *f, uint64_t index, uint64_t size)
{
	uint8_t proof[MERKLE_PROOF_MAX][DIGEST_LEN], root[DIGEST_LEN], leaf[DIGEST_LEN];
	struct err e = ERR_INIT;
	size_t n;

	if (tree_root(f->store, LOG, size, root, &e) < 0 ||
	    tree_inclusion(f->store, LOG, index, size, proof, &n, &e) < 0)
		fail_msg("%s", err_text(&e));
	leaf_at(index, leaf);
	assert_int_equal(merkle_verify_inclusion(
	                     leaf, index, size, (const uint8_t(*)[DIGEST_LEN])proof, n, root),
	    0);
}

static void extends(struct fix *f, uint64_t old_size, uint64_t size)
{
	uint8_t proof[MERKLE_PROOF_MAX][DIGEST_LEN], old_root[DIGEST_LEN], root[DIGEST_LEN];
	struct err e = ERR_INIT;
	size_t n;

	if (tree_root(f->store, LOG, size, root, &e) < 0 ||
	    tree_root(f->store, LOG, old_size, old_root, &e) < 0 ||
	    tree_consistency(f->store, LOG, old_size, size, proof, &n, &e) < 0)
		fail_msg("%s", err_text(&e));
	assert_int_equal(merkle_verify_consistency(old_size, old_root, size, root,
	                     (const uint8_t(*)[DIGEST_LEN])proof, n),
	    0);
}

static void a_small_tree_proves_everything(void **state)
{
	struct fix *f = *state;

	grow(f, 70);
	for (uint64_t size = 1; size <= 70; size++) {
		for (uint64_t i = 0; i < size; i++)
			includes(f, i, size);
		for (uint64_t i = 0; i <= size; i++)
			extends(f, i, size);
	}
}

static void tiles_and_edges_prove_at_every_boundary(void **state)
{
	static const uint64_t at[] = {1, 2, 255, 256, 257, 511, 512, 513, 1023, 4096, 65535, 65536,
	    65537, 65792, 66000, 70000};
	struct fix *f = *state;
	uint8_t want[DIGEST_LEN], got[DIGEST_LEN];

	for (int i = 0; i < 70; i++)
		grow(f, 1000);
	for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
		root_at(at[i], want);
		assert_int_equal(tree_root(f->store, LOG, at[i], got, NULL), 0);
		assert_memory_equal(want, got, DIGEST_LEN);
		for (size_t k = 0; k <= i; k++) {
			includes(f, at[k] - 1, at[i]);
			extends(f, at[k], at[i]);
			extends(f, at[k] - 1, at[i]);
		}
	}
}

static void a_restart_goes_on_the_same(void **state)
{
	struct fix *f = *state;
	uint8_t want[DIGEST_LEN], got[DIGEST_LEN];
	static const size_t steps[] = {1, 254, 1, 1, 255, 3, 700, 65000, 37};

	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		grow(f, steps[i]);
		close_store(f);
		open_store(f);
		root_at(f->head.seq, want);
		merkle_root(&f->head.tree, got);
		assert_memory_equal(want, got, DIGEST_LEN);
		assert_int_equal(tree_root(f->store, LOG, f->head.seq, got, NULL), 0);
		assert_memory_equal(want, got, DIGEST_LEN);
	}
	includes(f, 65300, f->head.seq);
}

static void what_is_not_there_is_not_proved(void **state)
{
	uint8_t proof[MERKLE_PROOF_MAX][DIGEST_LEN];
	struct fix *f = *state;
	size_t n = 77;

	grow(f, 300);
	assert_int_equal(tree_inclusion(f->store, LOG, 300, 300, proof, &n, NULL), -EINVAL);
	assert_int_equal(tree_inclusion(f->store, LOG, 0, 301, proof, &n, NULL), -EINVAL);
	assert_int_equal(tree_inclusion(f->store, LOG, 0, 0, proof, &n, NULL), -EINVAL);
	assert_int_equal(tree_consistency(f->store, LOG, 301, 300, proof, &n, NULL), -EINVAL);
	assert_int_equal(tree_consistency(f->store, LOG, 3, 301, proof, &n, NULL), -EINVAL);
	assert_int_equal(tree_root(f->store, LOG, 301, proof[0], NULL), -EINVAL);
	assert_int_equal(n, 77);
}

static void a_missing_tile_or_record_is_said(void **state)
{
	uint8_t proof[MERKLE_PROOF_MAX][DIGEST_LEN], key[TREE_KEY_LEN];
	struct tree_tail *tail = NULL;
	struct fix *f = *state;
	struct err e = ERR_INIT;
	size_t n;

	grow(f, 600);
	assert_int_equal(store_begin(f->store, NULL), 0);
	tree_key(LOG, 0, 1, key);
	assert_int_equal(store_del(f->store, STORE_TILES, key, sizeof key, NULL), 0);
	assert_int_equal(store_commit(f->store, NULL), 0);
	assert_int_equal(tree_inclusion(f->store, LOG, 300, 600, proof, &n, &e), -EUCLEAN);
	assert_non_null(strstr(err_text(&e), "tile 0/1"));
	assert_int_equal(tree_inclusion(f->store, LOG, 550, 600, proof, &n, &e), 0);
	assert_int_equal(store_begin(f->store, NULL), 0);
	log_key(LOG, 590, key);
	assert_int_equal(store_del(f->store, STORE_RECORDS, key, LOG_KEY_LEN, NULL), 0);
	tree_key(LOG, 1, 0, key);
	assert_int_equal(store_del(f->store, STORE_TILES, key, sizeof key, NULL), 0);
	assert_int_equal(store_commit(f->store, NULL), 0);
	assert_int_equal(tree_inclusion(f->store, LOG, 550, 600, proof, &n, &e), -EUCLEAN);
	assert_int_equal(tree_tail_load(f->store, LOG, &f->head.tree, &tail, &e), -EUCLEAN);
	assert_null(tail);
}

static void a_changed_tile_is_found_when_it_is_loaded(void **state)
{
	uint8_t key[TREE_KEY_LEN], wrong[2 * DIGEST_LEN] = {1};
	struct tree_tail *tail = NULL;
	struct fix *f = *state;

	grow(f, 600);
	assert_int_equal(store_begin(f->store, NULL), 0);
	tree_key(LOG, 1, 0, key);
	assert_int_equal(
	    store_put(f->store, STORE_TILES, key, sizeof key, wrong, sizeof wrong, NULL), 0);
	assert_int_equal(store_commit(f->store, NULL), 0);
	assert_int_equal(tree_tail_load(f->store, LOG, &f->head.tree, &tail, NULL), -EUCLEAN);
}

static int count(uint64_t n, const void *data, size_t len, void *arg)
{
	(void)data;
	(void)len;
	*(uint64_t *)arg = *(uint64_t *)arg * 1000 + n;
	return 0;
}

static void notes_are_found_by_size_and_epoch(void **state)
{
	struct fix *f = *state;
	cleanup_buf struct buf b;
	uint64_t size = 0, seen = 0;

	buf_init(&b, 1024);
	assert_int_equal(logs_checkpoint_latest(f->store, LOG, UINT64_MAX, &size, &b), -ENOENT);
	assert_int_equal(logs_checkpoint_put(f->store, LOG, 5, "five", 4), 0);
	assert_int_equal(logs_checkpoint_put(f->store, LOG, 300, "more", 4), 0);
	assert_int_equal(logs_checkpoint_put(f->store, LOG + 1, 7, "other", 5), 0);
	assert_int_equal(logs_epoch_put(f->store, LOG, 2, "epoch", 5), 0);
	assert_int_equal(store_begin(f->store, NULL), 0);
	assert_int_equal(store_commit(f->store, NULL), 0);
	assert_int_equal(logs_checkpoint_latest(f->store, LOG, UINT64_MAX, &size, &b), 0);
	assert_int_equal(size, 300);
	assert_memory_equal(b.data, "more", 4);
	buf_reset(&b);
	assert_int_equal(logs_checkpoint_latest(f->store, LOG, 299, &size, &b), 0);
	assert_int_equal(size, 5);
	assert_int_equal(logs_checkpoint_latest(f->store, LOG, 4, &size, &b), -ENOENT);
	assert_int_equal(logs_checkpoint_latest(f->store, LOG + 2, UINT64_MAX, &size, &b), -ENOENT);
	assert_int_equal(logs_checkpoint_walk(f->store, LOG, 0, 100, count, &seen), 0);
	assert_int_equal(seen, 5300);
	buf_reset(&b);
	assert_int_equal(logs_epoch_get(f->store, LOG, 2, &b), 0);
	assert_int_equal(logs_epoch_get(f->store, LOG, 1, &b), -ENOENT);
	assert_int_equal(logs_checkpoint_get(f->store, LOG, 5, &b), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_small_tree_proves_everything, setup, teardown),
	    cmocka_unit_test_setup_teardown(
	        tiles_and_edges_prove_at_every_boundary, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_restart_goes_on_the_same, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_is_not_there_is_not_proved, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_missing_tile_or_record_is_said, setup, teardown),
	    cmocka_unit_test_setup_teardown(
	        a_changed_tile_is_found_when_it_is_loaded, setup, teardown),
	    cmocka_unit_test_setup_teardown(notes_are_found_by_size_and_epoch, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
