#include "broker/audit/prune.h"

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
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include "broker/audit/body.h"
#include "broker/audit/log_feed.h"
#include "broker/audit/logs.h"
#include "broker/audit/ranges.h"
#include "broker/audit/record_store.h"
#include "broker/audit/tree.h"
#include "broker/audit/verify.h"
#include "broker/store/live.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/loop.h"

/*
 * Records leave the store in steps; what is left goes on as if nothing had been there before, and
 * proves what it proved.
 */

#define LOG     1
#define RECORDS 3000
#define KEPT    "note"

struct fix {
	char dir[64];
	int fd;
	struct loop *loop;
	struct store *store;
	struct record_log *log;
	uint8_t root[DIGEST_LEN]; /* before anything was pruned */
	uint64_t bytes;
};

static void start(struct fix *f)
{
	struct record_options o;
	struct store_config c = {0};
	struct err e = ERR_INIT;

	record_options_default(&o);
	o.rate = o.critical_rate = 0;
	if (store_open(f->fd, &c, &f->store, &e) < 0 ||
	    record_store_open(f->store, f->loop, &o, &f->log, &e) < 0)
		fail_msg("%s", err_text(&e));
}

static void stop(struct fix *f)
{
	f->log->ops->free(f->log);
	store_close(f->store);
}

static void append(struct fix *f, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(record_append(f->log, "one", "demo", NULL,
		                     json_pack("{s:i}", "i", (int)i), false, NULL, NULL),
		    0);
		if (i % 500 == 499)
			assert_int_equal(f->log->ops->flush(f->log), 0);
	}
	assert_int_equal(f->log->ops->flush(f->log), 0);
}

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof *f);
	struct log_head h;

	log_open("test", LOG_EMERG);
	(void)snprintf(f->dir, sizeof f->dir, "/tmp/prune-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->loop = loop_new();
	start(f);
	append(f, RECORDS);
	for (uint64_t size = 100; size <= RECORDS; size += 100)
		assert_int_equal(logs_checkpoint_put(f->store, LOG, size, KEPT, 4), 0);
	assert_int_equal(logs_head(f->store, LOG, &h, NULL), 0);
	assert_int_equal(h.seq, RECORDS);
	merkle_root(&h.tree, f->root);
	f->bytes = h.bytes;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	stop(f);
	loop_free(f->loop);
	(void)unlinkat(f->fd, "data.mdb", 0);
	(void)unlinkat(f->fd, "lock.mdb", 0);
	(void)unlinkat(f->fd, STORE_RESERVE_FILE, 0);
	(void)close(f->fd);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

static void archived(struct fix *f, uint64_t to)
{
	assert_int_equal(log_edge_archived(f->store, LOG, to, 1000, NULL), 0);
	assert_int_equal(f->log->ops->flush(f->log), 0);
}

static uint64_t prune(struct fix *f, uint64_t most)
{
	uint64_t edge = 0, before;
	struct err e = ERR_INIT;

	do {
		before = edge;
		if (log_prune_step(f->store, f->log, LOG, most, &edge, &e) < 0)
			fail_msg("%s", err_text(&e));
	} while (edge != before);
	return edge;
}

static void leaf_of(struct fix *f, uint64_t seq, uint8_t ret[DIGEST_LEN])
{
	cleanup_buf struct buf b;

	buf_init(&b, RECORD_MAX);
	assert_int_equal(logs_get(f->store, LOG, seq, &b), 0);
	merkle_leaf(b.data, b.len, ret);
}

/* Everything that is left is there and proves itself. */
static void holds(struct fix *f, uint64_t edge)
{
	uint8_t proof[MERKLE_PROOF_MAX][DIGEST_LEN], leaf[DIGEST_LEN], root[DIGEST_LEN],
	    old[DIGEST_LEN];
	struct log_head h;
	struct log_edge g;
	cleanup_buf struct buf b;
	struct verify v;
	struct err e = ERR_INIT;
	size_t n;

	buf_init(&b, RECORD_MAX);
	assert_int_equal(logs_head(f->store, LOG, &h, NULL), 0);
	assert_int_equal(log_edge_get(f->store, LOG, &g, NULL), 0);
	assert_int_equal(g.seq, edge);
	assert_int_equal(g.tree.size, edge);
	if (edge > 0)
		assert_int_equal(logs_get(f->store, LOG, edge, &b), -ENOENT);
	assert_int_equal(logs_get(f->store, LOG, edge + 1, &b), 0);
	merkle_root(&h.tree, root);
	for (uint64_t seq = edge + 1; seq <= h.seq; seq += 97) {
		leaf_of(f, seq, leaf);
		if (tree_inclusion(f->store, LOG, seq - 1, h.seq, proof, &n, &e) < 0)
			fail_msg("%s", err_text(&e));
		assert_int_equal(merkle_verify_inclusion(leaf, seq - 1, h.seq, proof, n, root), 0);
	}
	for (uint64_t size = edge ? edge : 1; size <= h.seq; size += 61) {
		assert_int_equal(tree_root(f->store, LOG, size, old, &e), 0);
		assert_int_equal(tree_consistency(f->store, LOG, size, h.seq, proof, &n, &e), 0);
		assert_int_equal(merkle_verify_consistency(size, old, h.seq, root, proof, n), 0);
	}
	/* and the next segment can begin anywhere */
	for (uint64_t size = edge ? edge : 1; size <= h.seq; size += size == edge ? 1 : 89) {
		struct merkle m;

		if (tree_range(f->store, LOG, size, &m, leaf, &e) < 0)
			fail_msg("%s", err_text(&e));
		assert_int_equal(m.size, size);
		merkle_root(&m, root);
		assert_int_equal(tree_root(f->store, LOG, size, old, &e), 0);
		assert_memory_equal(root, old, DIGEST_LEN);
		if (size == edge)
			assert_memory_equal(leaf, g.leaf, DIGEST_LEN);
		else
			leaf_of(f, size, root);
		if (size != edge)
			assert_memory_equal(leaf, root, DIGEST_LEN);
	}
	if (verify_store(f->store, &v, &e) < 0)
		fail_msg("%s", err_text(&e));
}

static void what_is_left_proves_what_it_proved(void **state)
{
	struct fix *f = *state;
	uint8_t root[DIGEST_LEN];
	struct log_head h;

	archived(f, 2500);
	assert_int_equal(prune(f, 2500), 2304); /* whole tiles */
	holds(f, 2304);
	assert_int_equal(tree_root(f->store, LOG, RECORDS, root, NULL), 0);
	assert_memory_equal(root, f->root, DIGEST_LEN);
	append(f, 700);
	holds(f, 2304);
	assert_int_equal(logs_head(f->store, LOG, &h, NULL), 0);
	assert_int_equal(h.seq, RECORDS + 700);
}

static void append_long(struct fix *f)
{
	char *text = malloc(RECORD_MAX + 2);

	assert_non_null(text);
	memset(text, 'x', RECORD_MAX + 1);
	text[RECORD_MAX + 1] = '\0';
	assert_int_equal(record_append(f->log, "one", "demo", NULL,
	                     json_pack("{s:s}", "text", text), false, NULL, NULL),
	    0);
	assert_int_equal(f->log->ops->flush(f->log), 0);
	free(text);
}

static uint64_t bytes_left(struct fix *f, uint64_t from, uint64_t to)
{
	uint64_t sum = 0;

	for (uint64_t seq = from; seq <= to; seq++) {
		cleanup_buf struct buf b;

		buf_init(&b, RECORD_MAX + BODY_MAX);
		assert_int_equal(logs_get(f->store, LOG, seq, &b), 0);
		(void)logs_body_get(f->store, LOG, seq, &b);
		sum += b.len;
	}
	return sum;
}

static void bodies_go_with_their_records_and_are_counted(void **state)
{
	struct fix *f = *state;
	cleanup_buf struct buf b;
	struct log_head h;

	buf_init(&b, BODY_MAX);
	append_long(f); /* 3001 */
	append(f, 300);
	append_long(f); /* 3302 */
	assert_int_equal(logs_head(f->store, LOG, &h, NULL), 0);
	assert_int_equal(h.bytes, bytes_left(f, 1, 3302));
	assert_true(h.bytes - f->bytes > 2 * RECORD_MAX);
	archived(f, 3302);
	assert_int_equal(prune(f, 3302), 3072);
	assert_int_equal(logs_body_get(f->store, LOG, 3001, &b), -ENOENT);
	assert_int_equal(logs_body_get(f->store, LOG, 3302, &b), 0);
	assert_int_equal(logs_head(f->store, LOG, &h, NULL), 0);
	assert_int_equal(h.bytes, bytes_left(f, 3073, 3302));
	append(f, 1); /* its writer counts as the store does */
	assert_int_equal(logs_head(f->store, LOG, &h, NULL), 0);
	assert_int_equal(h.bytes, bytes_left(f, 3073, 3303));
	holds(f, 3072);
}

static void what_needs_a_pruned_leaf_is_said_to_be_in_the_archive(void **state)
{
	uint8_t proof[MERKLE_PROOF_MAX][DIGEST_LEN], root[DIGEST_LEN];
	struct fix *f = *state;
	struct err e = ERR_INIT;
	size_t n;

	archived(f, 2500);
	(void)prune(f, 2500);
	assert_int_equal(tree_inclusion(f->store, LOG, 10, RECORDS, proof, &n, &e), -ENOENT);
	assert_non_null(strstr(err_text(&e), "archive"));
	assert_int_equal(tree_root(f->store, LOG, 1000, root, &e), -ENOENT);
	assert_int_equal(tree_root(f->store, LOG, 1024, root, &e), 0); /* tiles above are there */
}

static void nothing_goes_that_is_not_in_the_archive(void **state)
{
	struct fix *f = *state;

	assert_int_equal(prune(f, UINT64_MAX), 0);
	archived(f, 700);
	assert_int_equal(prune(f, UINT64_MAX), 512);
	assert_int_equal(prune(f, 300), 512); /* and not back */
	holds(f, 512);
}

static void the_newest_record_always_stays(void **state)
{
	struct fix *f = *state;

	append(f, 72); /* 3072 is 12 tiles */
	archived(f, RECORDS + 72);
	assert_int_equal(prune(f, UINT64_MAX), RECORDS + 72 - 256);
	stop(f);
	start(f);
	holds(f, RECORDS + 72 - 256);
}

static void a_store_opens_after_a_prune_and_goes_on(void **state)
{
	struct fix *f = *state;
	struct log_head h;

	archived(f, 2500);
	(void)prune(f, 2500);
	stop(f);
	start(f);
	assert_int_equal(logs_head(f->store, LOG, &h, NULL), 0);
	assert_true(h.bytes < f->bytes / 3);
	append(f, 300);
	archived(f, 3200);
	assert_int_equal(prune(f, 3200), 3072);
	holds(f, 3072);
	assert_int_equal(logs_head(f->store, LOG, &h, NULL), 0);
	assert_true(h.bytes < f->bytes / 10);
}

static void the_writer_counts_what_is_gone(void **state)
{
	struct fix *f = *state;
	struct log_head a, b;

	archived(f, 2500);
	(void)prune(f, 2500);
	assert_int_equal(logs_head(f->store, LOG, &a, NULL), 0);
	append(f, 1); /* the head as the writer has it */
	assert_int_equal(logs_head(f->store, LOG, &b, NULL), 0);
	assert_true(b.bytes > a.bytes && b.bytes < a.bytes + 1000);
}

static int count(uint64_t size, const void *note, size_t len, void *arg)
{
	uint64_t *first = arg;

	(void)note;
	(void)len;
	if (*first == 0)
		*first = size;
	return 0;
}

static void checkpoints_below_the_edge_go_too(void **state)
{
	struct fix *f = *state;
	uint64_t first = 0;

	archived(f, 2500);
	(void)prune(f, 2500);
	assert_int_equal(logs_checkpoint_walk(f->store, LOG, 0, 100, count, &first), 0);
	assert_int_equal(first, 2400);
}

static void a_store_that_was_pruned_is_less_full(void **state)
{
	struct fix *f = *state;
	uint64_t before, after;

	assert_int_equal(store_live(f->store, &before), 0);
	archived(f, 2900);
	(void)prune(f, 2900);
	assert_int_equal(store_live(f->store, &after), 0);
	assert_true(after < before / 2);
}

static void a_verifier_calls_it_archived(void **state)
{
	static const struct ranges_keys none;
	cleanup_ranges struct ranges *r = NULL;
	struct fix *f = *state;
	struct ranges_result result;
	struct log_ranges to = {0};

	archived(f, 2500);
	(void)prune(f, 2500);
	assert_int_equal(ranges_new("demo", &none, NULL, 0, &r, NULL), 0);
	to.ranges = r;
	/* the notes are none */
	for (uint64_t size = 100; size <= RECORDS; size += 100)
		(void)store_later_key(f->store, STORE_CHECKPOINTS,
		    (uint8_t[]){0, 0, 0, 1, 0, 0, 0, 0, 0, 0, (uint8_t)(size >> 8), (uint8_t)size},
		    12, NULL, 0);
	assert_int_equal(f->log->ops->flush(f->log), 0);
	assert_int_equal(log_feed_store(f->store, "demo", &log_ranges_sink, &to, NULL), 0);
	ranges_end(r, to.head, true);
	ranges_result(r, &result);
	assert_int_equal(result.verdict, VERDICT_UNSEALED);
	assert_int_equal(result.archived, 2304);
	assert_int_equal(result.findings[0].verdict, VERDICT_ARCHIVED);
	assert_int_equal(result.ranges[0].state, RANGE_ARCHIVED);
	assert_int_equal(result.ranges[0].to, 2304);
	assert_int_equal(result.nranges, 2);
}

static void a_hole_stops_it_and_changes_nothing(void **state)
{
	struct fix *f = *state;
	uint8_t key[LOG_KEY_LEN];
	uint64_t edge = 7;

	archived(f, 2500);
	log_key(LOG, 100, key);
	assert_int_equal(store_later_key(f->store, STORE_RECORDS, key, sizeof key, NULL, 0), 0);
	assert_int_equal(f->log->ops->flush(f->log), 0);
	assert_int_equal(log_prune_step(f->store, f->log, LOG, 2500, &edge, NULL), -EUCLEAN);
	assert_int_equal(edge, 7);
}

static void child(struct fix *f)
{
	uint64_t edge;

	start(f);
	(void)log_edge_archived(f->store, LOG, RECORDS - 1, 1, NULL);
	(void)f->log->ops->flush(f->log);
	for (;;) /* prunes, and writes meanwhile */
		if (log_prune_step(f->store, f->log, LOG, UINT64_MAX, &edge, NULL) < 0)
			_exit(1);
		else
			append(f, 3);
}

static void killed_at_any_moment_it_holds(void **state)
{
	struct fix *f = *state;

	for (int i = 0; i < 12; i++) {
		struct log_edge g;
		struct timespec t = {0, 3000000L * (i + 1)};
		pid_t pid;

		stop(f);
		if ((pid = fork()) == 0)
			child(f);
		(void)nanosleep(&t, NULL);
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		start(f);
		assert_int_equal(log_edge_get(f->store, LOG, &g, NULL), 0);
		holds(f, g.seq);
	}
}

static void reads_back_what_it_wrote_and_nothing_else(void **state)
{
	uint8_t packed[LOG_EDGE_MAX];
	struct log_edge g = {.seq = 3, .to = 5, .bytes = 9}, back;
	size_t len;

	(void)state;
	for (uint8_t i = 0; i < 3; i++)
		(void)merkle_append(&g.tree, g.leaf);
	len = log_edge_pack(&g, packed);
	assert_int_equal(log_edge_parse(packed, len, &back), 0);
	assert_memory_equal(&back, &g, sizeof g);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(log_edge_parse(packed, i, &back), -EBADMSG);
	packed[7] = 4; /* seq is not the tree's size any more */
	assert_int_equal(log_edge_parse(packed, len, &back), -EBADMSG);
	g.to = 2; /* more is gone than is there */
	assert_int_equal(log_edge_parse(packed, log_edge_pack(&g, packed), &back), -EBADMSG);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {T(what_is_left_proves_what_it_proved),
	    T(what_needs_a_pruned_leaf_is_said_to_be_in_the_archive),
	    T(nothing_goes_that_is_not_in_the_archive), T(the_newest_record_always_stays),
	    T(a_store_opens_after_a_prune_and_goes_on), T(the_writer_counts_what_is_gone),
	    T(checkpoints_below_the_edge_go_too), T(a_store_that_was_pruned_is_less_full),
	    T(a_verifier_calls_it_archived), T(a_hole_stops_it_and_changes_nothing),
	    T(killed_at_any_moment_it_holds), T(bodies_go_with_their_records_and_are_counted),
	    cmocka_unit_test(reads_back_what_it_wrote_and_nothing_else)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
