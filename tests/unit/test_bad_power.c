#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <fcntl.h>
#include "broker/audit/verify.h"
#include "lib/err.h"
#include "lib/log.h"
#include "tests/baddays/disk.h"
#include "tests/support/writer.h"

/*
 * A power cut at every moment of a store's life, from the making of its file on: every write that
 * LMDB makes is recorded, and the file put together as the cut could have left it. What was synced
 * is there; of what was not, anything may be: all, none, a torn last write, any subset, down to
 * single sectors. Each file has to open, and its logs to be where they were at one of two commits:
 * the last one acknowledged, or the one under way.
 */

#define COMMITS  48
#define BATCH    48
#define WHOLES   8 /* random subsets of whole writes, for each moment */
#define SECTORS  8 /* likewise of sectors */
#define TORN_MAX 24
#define GO_ON    16 /* every so many a new record is written to what was opened */
#define SUBSET   64
#define FIRST    40 /* operations: the making of the file and the first commit */
#define EVERY    11 /* of the others; BADDAYS_EVERY=1 looks at all closely */

static char dir[64];
static int dir_fd;
static struct book book;
static uint64_t heads[COMMITS + 1][BOOK_LOGS];
static uint64_t seed = 88172645463325252u;
static unsigned opened;
static const char *name = "data.new"; /* that the file had at the time */

static void clear(void)
{
	(void)unlinkat(dir_fd, "data.mdb", 0);
	(void)unlinkat(dir_fd, "data.new", 0);
	(void)unlinkat(dir_fd, "lock.mdb", 0);
}

static void tell(const struct ack *a, void *arg)
{
	(void)arg;
	assert_int_equal(book_ack(&book, a), 0);
}

static int enter(void **state)
{
	struct writer w;
	struct err e = ERR_INIT;

	(void)state;
	log_open("test", LOG_EMERG);
	(void)snprintf(dir, sizeof dir, "/tmp/bad-power-XXXXXX");
	assert_non_null(mkdtemp(dir));
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	book_init(&book);

	disk_record();
	if (writer_open(&w, dir_fd, &e) < 0)
		fail_msg("%s", err_text(&e));
	w.on_ack = tell;
	disk_mark(0);
	for (size_t i = 1; i <= COMMITS; i++) {
		assert_int_equal(writer_append(&w, 1 + writer_random(&seed) % BATCH, &seed), 0);
		assert_int_equal(writer_flush(&w), 0);
		disk_mark(i);
		assert_int_equal(book_heads(w.store, heads[i], &e), 0);
	}
	disk_stop();
	writer_close(&w);
	return 0;
}

static int leave(void **state)
{
	(void)state;
	book_done(&book);
	clear();
	(void)unlinkat(dir_fd, "reserve", 0);
	(void)close(dir_fd);
	return rmdir(dir);
}

/* ---- one file ---- */

/* mark: commits acknowledged before the cut; -1: the store was still being made. */
static void expect(const struct disk_image *m, int mark, const char *how, size_t at)
{
	static const uint64_t nothing[BOOK_LOGS];
	size_t k = mark < 0 ? 0 : (size_t)mark;
	uint64_t now[BOOK_LOGS];
	struct err e = ERR_INIT;
	struct writer w;
	struct verify v;
	struct book b;

	clear();
	assert_int_equal(image_store(m, dir_fd, name), 0);
	if (writer_open(&w, dir_fd, &e) < 0)
		fail_msg(
		    "cut before operation %zu (%s), commit %d: %s", at, how, mark, err_text(&e));
	if (book_heads(w.store, now, &e) < 0 || verify_store(w.store, &v, &e) < 0)
		fail_msg(
		    "cut before operation %zu (%s), commit %d: %s", at, how, mark, err_text(&e));
	if (memcmp(now, k == 0 ? nothing : heads[k], sizeof now) != 0 &&
	    (k >= COMMITS || mark < 0 || memcmp(now, heads[k + 1], sizeof now) != 0))
		fail_msg(
		    "cut before operation %zu (%s): neither commit %d nor the next", at, how, mark);
	/* the same records, by the list's hashes; nothing more is asked for than is there */
	book_init(&b);
	for (size_t i = 0; i < BOOK_LOGS; i++) {
		struct ack a = {.log = i};

		for (a.seq = 1; a.seq <= now[i]; a.seq++) {
			memcpy(a.leaf, book.log[i].leaf[a.seq].hash, sizeof a.leaf);
			assert_int_equal(book_ack(&b, &a), 0);
		}
	}
	if (book_check(&b, w.store, true, &e) < 0)
		fail_msg(
		    "cut before operation %zu (%s), commit %d: %s", at, how, mark, err_text(&e));
	if (++opened % GO_ON == 0) {
		assert_int_equal(writer_append(&w, 3, &seed), 0);
		assert_int_equal(writer_flush(&w), 0);
		assert_int_equal(w.acked, 3);
		if (book_check(&b, w.store, true, &e) < 0)
			fail_msg("going on after operation %zu (%s): %s", at, how, err_text(&e));
	}
	book_done(&b);
	writer_close(&w);
}

/* ---- every moment ---- */

static void apply_sectors(struct disk_image *m, const struct disk_op *o,
    bool (*take)(size_t sector, uint64_t *), uint64_t *x)
{
	for (size_t done = 0, n = 0; done < o->len; n++) {
		size_t part = DISK_SECTOR - (size_t)((o->off + done) % DISK_SECTOR);

		if (part > o->len - done)
			part = o->len - done;
		if (take(n, x))
			image_write(m, o->off + done, o->data + done, part);
		done += part;
	}
}

static bool take_below(size_t sector, uint64_t *x)
{
	return sector < *x;
}

static bool take_above(size_t sector, uint64_t *x)
{
	return sector >= *x;
}

static bool take_random(size_t sector, uint64_t *x)
{
	(void)sector;
	return writer_random(x) >> 40 & 1;
}

struct moment {
	size_t end; /* the cut comes before this operation */
	int mark;
	struct disk_image safe, file;
	const struct disk_op *late[SUBSET]; /* not durable */
	size_t nlate;
};

static void torn(struct moment *t)
{
	const struct disk_op *last = t->late[t->nlate - 1];
	size_t sectors = last->len / DISK_SECTOR + 2, step = 1 + sectors / TORN_MAX;

	for (uint64_t n = 0; n < sectors; n += step) {
		for (int above = 0; above < 2; above++) {
			image_copy(&t->file, &t->safe);
			for (size_t i = 0; i + 1 < t->nlate; i++)
				image_write(
				    &t->file, t->late[i]->off, t->late[i]->data, t->late[i]->len);
			apply_sectors(&t->file, last, above ? take_above : take_below, &n);
			expect(&t->file, t->mark, above ? "the end of the last write" : "torn",
			    t->end);
		}
	}
}

static void subset(struct moment *t, uint64_t set, const char *how)
{
	image_copy(&t->file, &t->safe);
	for (size_t i = 0; i < t->nlate; i++)
		if (set >> i & 1)
			image_write(&t->file, t->late[i]->off, t->late[i]->data, t->late[i]->len);
	expect(&t->file, t->mark, how, t->end);
}

static bool looked_at_closely(const struct moment *t, uint64_t every)
{
	return t->end < FIRST || t->end % every == 0;
}

static void cut(struct moment *t, uint64_t every)
{
	uint64_t all;

	assert_true(t->nlate < SUBSET);
	all = (UINT64_C(1) << t->nlate) - 1;
	subset(t, all, "all");
	if (t->nlate == 0 || !looked_at_closely(t, every))
		return;
	subset(t, 0, "none");
	torn(t);
	for (size_t i = 0; i < t->nlate && t->nlate > 1; i++) {
		subset(t, all & ~(UINT64_C(1) << i), "all but one");
		subset(t, UINT64_C(1) << i, "one alone");
	}
	for (int i = 0; i < WHOLES && t->nlate > 2; i++)
		subset(t, writer_random(&seed) & all, "some");
	for (int i = 0; i < SECTORS; i++) {
		image_copy(&t->file, &t->safe);
		for (size_t k = 0; k < t->nlate; k++)
			apply_sectors(&t->file, t->late[k], take_random, &seed);
		expect(&t->file, t->mark, "some sectors", t->end);
	}
}

static void any_power_cut_leaves_a_commit(void **state)
{
	struct moment t = {.mark = -1};
	const struct disk_op *ops;
	size_t n, synced = 0;
	const char *s = getenv("BADDAYS_EVERY");
	uint64_t every = s && *s ? strtoull(s, NULL, 10) : EVERY;

	(void)state;
	ops = disk_ops(&n);
	for (t.end = 0; t.end <= n; t.end++) {
		const struct disk_op *o = t.end > 0 ? &ops[t.end - 1] : NULL;

		if (o && o->kind == DISK_MARK)
			t.mark = (int)o->off;
		if (o && o->kind == DISK_NAME)
			name = "data.mdb";
		if (o && o->kind == DISK_SYNC)
			synced = t.end;
		disk_durable(t.end, &t.safe);
		t.nlate = 0;
		for (size_t i = synced; i < t.end; i++)
			if (ops[i].kind == DISK_WRITE && (!ops[i].durable || i + 1 == t.end))
				t.late[t.nlate++] = &ops[i];
		if (!o || o->kind != DISK_SYNC)
			cut(&t, every > 0 ? every : 1);
	}
	print_message("# %zu operations of %d commits, %u files\n", n, COMMITS, opened);
	assert_true(opened > 1000);
	image_done(&t.safe);
	image_done(&t.file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(any_power_cut_leaves_a_commit),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
