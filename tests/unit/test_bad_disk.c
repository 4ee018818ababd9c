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
#include "broker/audit/verify.h"
#include "lib/err.h"
#include "lib/log.h"
#include "tests/baddays/disk.h"
#include "tests/support/writer.h"

/*
 * A disk that fails: EIO, ENOSPC and short writes at each write call of a commit, EIO at its sync.
 * The actions that waited for it are refused; what was acknowledged is there, now and on the disk
 * alone; and once the fault has passed the log goes on by itself.
 *
 * A sync that failed is never taken for one that worked later: the kernel may forget what it could
 * not write and call the next sync a success. So the disk here forgets it too.
 */

#define BATCH   20
#define NTH_MAX 64

static char dir[64];
static int dir_fd;
static struct writer w;
static struct book book;
static uint64_t seed = 88172645463325252u;

static void tell(const struct ack *a, void *arg)
{
	(void)arg;
	assert_int_equal(book_ack(&book, a), 0);
}

static void start(void)
{
	struct err e = ERR_INIT;

	if (writer_open(&w, dir_fd, &e) < 0)
		fail_msg("%s", err_text(&e));
	w.on_ack = tell;
}

static void clear(void)
{
	(void)unlinkat(dir_fd, "data.mdb", 0);
	(void)unlinkat(dir_fd, "lock.mdb", 0);
}

static int setup(void **state)
{
	(void)state;
	log_open("test", LOG_EMERG);
	(void)snprintf(dir, sizeof dir, "/tmp/bad-disk-XXXXXX");
	assert_non_null(mkdtemp(dir));
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	book_init(&book);
	disk_record();
	start();
	return 0;
}

static int teardown(void **state)
{
	static const struct disk_fault none;

	(void)state;
	disk_fail(&none);
	disk_stop();
	if (w.store)
		writer_close(&w);
	book_done(&book);
	clear();
	(void)unlinkat(dir_fd, "reserve", 0);
	(void)close(dir_fd);
	return rmdir(dir);
}

static void append(void)
{
	assert_int_equal(writer_append(&w, BATCH, &seed), 0);
	(void)writer_flush(&w);
}

static void all_is_there(bool whole)
{
	struct err e = ERR_INIT;
	struct verify v;

	if (book_check(&book, w.store, whole, &e) < 0 ||
	    (whole && verify_store(w.store, &v, &e) < 0))
		fail_msg("%s", err_text(&e));
}

/* The power fails: what is on the disk for certain is all there is. */
static void the_disk_alone_has_it(void)
{
	struct disk_image m = {0};
	size_t n;

	(void)disk_ops(&n);
	disk_mark(0); /* whatever came before it is over */
	disk_durable(n + 1, &m);
	disk_stop();
	writer_close(&w);
	clear();
	assert_int_equal(image_store(&m, dir_fd, "data.mdb"), 0);
	start();
	all_is_there(true);
	image_done(&m);
}

/* The calls of one commit with which all goes well: each of them is made to fail in turn. */
static unsigned calls_of_a_commit(bool sync)
{
	static const struct disk_fault none;

	disk_fail(&none);
	append();
	assert_int_equal(w.refused, 0);
	return sync ? disk_syncs() : disk_writes();
}

static void at_each_call(const struct disk_fault *like)
{
	static const struct disk_fault none;
	unsigned calls = calls_of_a_commit(like->sync), refusals = 0;

	assert_true(calls > 0);
	for (unsigned n = 1; n <= calls + 1 && n < NTH_MAX; n++) {
		struct disk_fault f = *like;
		uint64_t acked = w.acked, refused = w.refused;

		f.n = n;
		disk_fail(&f);
		append();
		assert_int_equal(w.acked + w.refused, acked + refused + BATCH);
		if (disk_failed() > 0) {
			/* all of the batch, and with a reason; once more, it may fail as often */
			assert_int_equal(w.refused, refused + BATCH);
			assert_true(w.error < 0);
			refusals++;
		}
		all_is_there(false);
		disk_fail(&none);
		refused = w.refused;
		append();
		append();
		assert_int_equal(w.refused, refused);
		all_is_there(false);
	}
	assert_true(refusals > 0);
	all_is_there(true);
	the_disk_alone_has_it();
	append();
	all_is_there(true);
}

#define RULE(name, ...)                                                                            \
	static void name(void **state)                                                             \
	{                                                                                          \
		const struct disk_fault f = {__VA_ARGS__};                                         \
                                                                                                   \
		(void)state;                                                                       \
		at_each_call(&f);                                                                  \
	}

RULE(a_write_error_refuses_the_action, .count = 1, .error = EIO)
RULE(a_write_error_that_stays_refuses_the_action, .count = 1000, .error = EIO)
RULE(a_write_error_that_landed_refuses_the_action, .count = 1, .error = EIO, .effect = DISK_LANDS)
RULE(landed_writes_that_stay_wrong_refuse_the_action, .count = 1000, .error = EIO,
    .effect = DISK_LANDS)
RULE(no_space_refuses_the_action, .count = 1000, .error = ENOSPC)
RULE(a_short_write_refuses_the_action, .count = 1, .effect = DISK_HALF)
RULE(short_writes_that_stay_refuse_the_action, .count = 1000, .effect = DISK_HALF)
RULE(a_sync_error_refuses_the_action, .sync = true, .count = 1, .error = EIO)
RULE(sync_errors_that_stay_refuse_the_action, .sync = true, .count = 1000, .error = EIO)
RULE(no_space_at_the_sync_refuses_the_action, .sync = true, .count = 1, .error = ENOSPC)

/* Faults at random for a while, and a power cut at the end of each round. */
static void nothing_acknowledged_is_lost_to_any_mixture(void **state)
{
	(void)state;
	for (int round = 0; round < 12; round++) {
		static const struct disk_fault none;

		disk_record();
		disk_fail(&none);
		writer_close(&w);
		clear();
		book_done(&book);
		book_init(&book);
		start();
		for (int i = 0; i < 24; i++) {
			uint64_t x = writer_random(&seed);
			struct disk_fault f = {.sync = x & 1,
			    .n = 1 + (unsigned)(x >> 8) % 8,
			    .count = 1 + (unsigned)(x >> 16) % 4,
			    .error = x & 2 ? EIO : ENOSPC,
			    .effect = (enum disk_effect)((x >> 24) % 3)};

			disk_fail(x % 3 == 0 ? &none : &f);
			append();
		}
		disk_fail(&none);
		append();
		all_is_there(true);
		the_disk_alone_has_it();
	}
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(a_write_error_refuses_the_action),
	    TEST(a_write_error_that_stays_refuses_the_action),
	    TEST(a_write_error_that_landed_refuses_the_action),
	    TEST(landed_writes_that_stay_wrong_refuse_the_action),
	    TEST(no_space_refuses_the_action),
	    TEST(a_short_write_refuses_the_action),
	    TEST(short_writes_that_stay_refuse_the_action),
	    TEST(a_sync_error_refuses_the_action),
	    TEST(sync_errors_that_stay_refuse_the_action),
	    TEST(no_space_at_the_sync_refuses_the_action),
	    TEST(nothing_acknowledged_is_lost_to_any_mixture),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
