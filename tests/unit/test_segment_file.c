#include "broker/audit/segment_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include "broker/audit/export_file.h"
#include "broker/audit/ranges.h"
#include "lib/err.h"

/*
 * Segments: names that are one-to-one, and files of which every damage is noticed.
 */

static char dir[64];
static int dirfd_;

static int enter(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof dir, "/tmp/segment-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	dirfd_ = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return 0;
}

static void touch(const char *name)
{
	int fd = openat(dirfd_, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	(void)close(fd);
}

static int leave(void **state)
{
	struct segment *list = NULL;
	size_t n = 0;

	(void)state;
	assert_int_equal(segment_list(dirfd_, NULL, &list, &n), 0);
	for (size_t i = 0; i < n; i++)
		(void)unlinkat(dirfd_, list[i].file, 0);
	free(list);
	(void)unlinkat(dirfd_, "a", 0);
	(void)unlinkat(dirfd_, "x-1-2.plog.zst.tmp", 0);
	(void)close(dirfd_);
	return rmdir(dir);
}

static void names_are_written_and_read_in_one_way(void **state)
{
	static const char *const bad[] = {"demo-1-2", "demo-01-2.plog.zst", "demo-2-1.plog.zst",
	    "demo-0-1.plog.zst", "-1-2.plog.zst", "de mo-1-2.plog.zst", "demo-1-2.plog.zst.tmp",
	    "../x-1-2.plog.zst", "demo-1-9223372036854775808.plog.zst", ".plog.zst",
	    "demo-1.plog.zst", "demo-+1-2.plog.zst", "Demo-1-2.plog.zst"};
	char name[SEGMENT_NAME_MAX];
	struct segment s;

	(void)state;
	assert_int_equal(segment_name("my-log-7", 1, 512, name), 0);
	assert_string_equal(name, "my-log-7-1-512.plog.zst");
	assert_true(segment_parse(name, &s));
	assert_string_equal(s.log, "my-log-7");
	assert_int_equal(s.from, 1);
	assert_int_equal(s.to, 512);
	assert_int_equal(segment_name("host", 1, INT64_MAX, name), 0);
	assert_true(segment_parse(name, &s));
	assert_int_equal(segment_name("../x", 1, 2, name), -EINVAL);
	assert_int_equal(segment_name("demo", 3, 2, name), -EINVAL);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (segment_parse(bad[i], &s))
			fail_msg("%s", bad[i]);
}

static void lists_them_by_log_and_number(void **state)
{
	struct segment *list = NULL;
	size_t n = 0;

	(void)state;
	touch("demo-1001-2000.plog.zst");
	touch("demo-1-1000.plog.zst");
	touch("host-1-9.plog.zst");
	touch("demo-201-900.plog.zst");
	touch("x-1-2.plog.zst.tmp");
	assert_int_equal(segment_list(dirfd_, "demo", &list, &n), 0);
	assert_int_equal(n, 3);
	assert_int_equal(list[0].from, 1);
	assert_int_equal(list[1].from, 201);
	assert_int_equal(list[2].from, 1001);
	free(list);
	assert_int_equal(segment_list(dirfd_, NULL, &list, &n), 0);
	assert_int_equal(n, 4);
	free(list);
}

/* ---- files ---- */

#define RECORD "{\"a record that is none, and says so a few times over and over\":true}"

static size_t make(uint8_t *data, size_t max, size_t records)
{
	int fd = openat(dirfd_, "a", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct export_writer *w = NULL;
	struct merkle tree;
	uint8_t leaf[DIGEST_LEN] = {7};
	FILE *f = segment_create(fd);
	ssize_t n;

	merkle_init(&tree);
	for (int i = 0; i < 5; i++)
		(void)merkle_append(&tree, leaf);
	assert_non_null(f);
	assert_int_equal(export_writer_new(f, &w), 0);
	assert_int_equal(export_sink.head(w, "demo", 5 + records), 0);
	assert_int_equal(export_sink.edge(w, 5, leaf, &tree), 0);
	for (uint64_t i = 6; i <= 5 + records; i++)
		assert_int_equal(export_sink.record(w, i, RECORD, sizeof RECORD - 1), 0);
	assert_int_equal(export_writer_end(w), 0);
	export_writer_free(w);
	assert_int_equal(fclose(f), 0);
	n = pread(fd, data, max, 0);
	(void)close(fd);
	assert_true(n > 0 && (size_t)n < max);
	return (size_t)n;
}

static int on_head(void *arg, const char *log, uint64_t n)
{
	(void)arg;
	(void)log;
	(void)n;
	return 0;
}

static int on_edge(
    void *arg, uint64_t seq, const uint8_t leaf[DIGEST_LEN], const struct merkle *tree)
{
	uint64_t *n = arg;

	/* what is damaged is read up to where that shows */
	*n = seq == 5 && leaf[0] == 7 && tree->size == 5;
	return 0;
}

static int on_record(void *arg, uint64_t seq, const void *data, size_t len)
{
	uint64_t *n = arg;

	(void)seq;
	(void)data;
	(void)len;
	*n += 1;
	return 0;
}

static const struct log_sink sink = {.head = on_head, .edge = on_edge, .record = on_record};

/* 0, or what the reader says; *ret_complete. */
static int read_it(const uint8_t *data, size_t len, bool *ret_complete, uint64_t *ret_n)
{
	int fd = openat(dirfd_, "a", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), r;
	FILE *f;

	assert_int_equal(pwrite(fd, data, len, 0), (ssize_t)len);
	f = segment_open(fd);
	assert_non_null(f);
	*ret_complete = false;
	*ret_n = 0;
	r = export_read_file(f, &sink, ret_n, ret_complete, NULL);
	(void)fclose(f);
	(void)close(fd);
	return r;
}

static void what_is_written_is_read_and_can_be_read_again(void **state)
{
	static uint8_t data[1 << 16];
	size_t len = make(data, sizeof data, 5000);
	bool complete;
	uint64_t n;
	int fd;
	FILE *f;

	(void)state;
	assert_true(segment_magic(data, len));
	assert_true(len < 5000 * sizeof RECORD / 8); /* it is compressed */
	assert_int_equal(read_it(data, len, &complete, &n), 0);
	assert_true(complete);
	assert_int_equal(n, 5001);
	fd = openat(dirfd_, "a", O_RDONLY | O_CLOEXEC);
	f = segment_open(fd);
	for (int i = 0; i < 3; i++) {
		rewind(f);
		assert_int_equal(export_read_file(f, &sink, &n, &complete, NULL), 0);
		assert_true(complete);
	}
	(void)fclose(f);
	(void)close(fd);
}

static void every_cut_is_noticed(void **state)
{
	static uint8_t data[1 << 16];
	size_t len = make(data, sizeof data, 300);
	bool complete;
	uint64_t n;

	(void)state;
	for (size_t i = 0; i < len; i++) {
		int r = read_it(data, i, &complete, &n);

		if ((r == 0 && complete) || (r < 0 && r != -EBADMSG))
			fail_msg("cut at %zu of %zu: %d", i, len, r);
	}
}

static void every_flipped_bit_is_noticed(void **state)
{
	static uint8_t data[1 << 16];
	size_t len = make(data, sizeof data, 300), idle = 0;
	bool complete;
	uint64_t n;

	(void)state;
	for (size_t i = 0; i < len * 8; i++) {
		int r;

		data[i / 8] ^= (uint8_t)(1u << i % 8);
		r = read_it(data, len, &complete, &n);
		data[i / 8] ^= (uint8_t)(1u << i % 8);
		/* bits of the frame that no byte of the bundle hangs on: the bundle's own digest
		 * says that it is whole */
		if (r == 0 && complete && n == 301)
			idle++;
		else if (r == 0 && complete)
			fail_msg("bit %zu of %zu", i, len * 8);
	}
	assert_true(idle < 32);
}

static void nothing_may_follow(void **state)
{
	static uint8_t data[1 << 16];
	size_t len = make(data, sizeof data, 300);
	bool complete;
	uint64_t n;

	(void)state;
	data[len] = 0;
	assert_int_equal(read_it(data, len + 1, &complete, &n), -EBADMSG);
	memcpy(data + len, data, len); /* another frame */
	assert_int_equal(read_it(data, 2 * len, &complete, &n), -EBADMSG);
}

static void a_window_that_would_take_much_memory_is_refused(void **state)
{
	/* a frame whose descriptor asks for a window of 2 GiB */
	static const uint8_t data[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00};
	bool complete;
	uint64_t n;

	(void)state;
	assert_int_equal(read_it(data, sizeof data, &complete, &n), -EBADMSG);
}

static void a_full_disk_is_said(void **state)
{
	struct rlimit before, small = {4096, RLIM_INFINITY};
	int fd = openat(dirfd_, "a", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	FILE *f = segment_create(fd);
	uint32_t x = 1;

	(void)state;
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small.rlim_max = before.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	for (int i = 0; i < 100000; i++) { /* noise is not compressed */
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		(void)fwrite(&x, sizeof x, 1, f);
	}
	assert_true(ferror(f) || fflush(f) != 0);
	assert_int_not_equal(fclose(f), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	(void)close(fd);
}

/* ---- the edge in a bundle ---- */

static void an_edge_has_its_place(void **state)
{
	uint8_t item[5 + 8 + DIGEST_LEN + 16 + DIGEST_LEN] = {
	    'P', 0, 0, 0, 8 + DIGEST_LEN + 8 + DIGEST_LEN};
	static const uint8_t head[] = EXPORT_MAGIC "H\0\0\0\x10\0\0\0\4demo\0\0\0\0\0\0\0\2";
	static const uint8_t record[] = {'R', 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 1, '{', '}'};
	struct export_reader *r = NULL;
	size_t len = 5 + 8 + DIGEST_LEN + 8 + DIGEST_LEN;
	struct log_sink without = sink;
	struct err e = ERR_INIT;
	uint64_t n = 0;

	(void)state;
	item[12] = item[13 + DIGEST_LEN + 7] = 1; /* of one record */
	without.edge = NULL;
	assert_int_equal(export_reader_new(&without, &n, &r), 0);
	assert_int_equal(export_read(r, head, sizeof head - 1, &e), 0);
	assert_int_equal(export_read(r, item, len, &e), -EBADMSG);
	export_reader_free(r);
	assert_int_equal(export_reader_new(&sink, &n, &r), 0);
	assert_int_equal(export_read(r, item, len, &e), -EBADMSG); /* before the head */
	export_reader_free(r);
	assert_int_equal(export_reader_new(&sink, &n, &r), 0);
	assert_int_equal(export_read(r, head, sizeof head - 1, &e), 0);
	assert_int_equal(export_read(r, record, sizeof record, &e), 0);
	assert_int_equal(export_read(r, item, len, &e), -EBADMSG); /* behind a record */
	export_reader_free(r);
}

/* ---- what the verifier makes of edges ---- */

static const struct ranges_keys no_keys;

static void an_edge_over_a_gap_is_missing_when_the_archive_is_there(void **state)
{
	cleanup_ranges struct ranges *r = NULL;
	uint8_t leaf[DIGEST_LEN] = {0};
	struct ranges_result result;
	struct merkle tree;

	(void)state;
	merkle_init(&tree);
	for (int i = 0; i < 9; i++)
		(void)merkle_append(&tree, leaf);
	assert_int_equal(ranges_new("demo", &no_keys, NULL, 0, &r, NULL), 0);
	ranges_whole(r);
	assert_int_equal(ranges_edge(r, 9, leaf, &tree), 0);
	ranges_end(r, 9, true);
	ranges_result(r, &result);
	assert_int_equal(result.verdict, VERDICT_MISSING);
	assert_int_equal(result.archived, 0);
	assert_int_equal(result.ranges[0].state, RANGE_MISSING);
	assert_int_equal(result.ranges[0].to, 9);
}

static void an_edge_that_contradicts_the_records_is_broken(void **state)
{
	static const char first[] =
	    "{\"v\":2,\"log\":\"demo\",\"seq\":1,\"time\":\"2026-11-23T12:00:01.000000Z\",\"boot\":"
	    "\"b\",\"mono_ns\":1,\"class\":\"x\",\"class_uid\":0,\"activity_id\":99,\"type_uid\":"
	    "99,"
	    "\"tenant\":\"\",\"subject\":{},\"body\":{},\"prev\":"
	    "\"0000000000000000000000000000000000"
	    "000000000000000000000000000000\"}";
	uint8_t leaf[DIGEST_LEN];
	struct ranges_result result;
	struct merkle tree;

	(void)state;
	for (int flip = 0; flip < 2; flip++) {
		cleanup_ranges struct ranges *r = NULL;

		merkle_leaf(first, sizeof first - 1, leaf);
		leaf[0] ^= (uint8_t)flip;
		merkle_init(&tree);
		(void)merkle_append(&tree, leaf);
		assert_int_equal(ranges_new("demo", &no_keys, NULL, 0, &r, NULL), 0);
		assert_int_equal(ranges_record(r, 1, first, sizeof first - 1), 0);
		assert_int_equal(ranges_edge(r, 1, leaf, &tree), 0);
		ranges_end(r, 1, true);
		ranges_result(r, &result);
		assert_int_equal(result.verdict, flip ? VERDICT_BROKEN : VERDICT_UNSEALED);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(names_are_written_and_read_in_one_way),
	    cmocka_unit_test(lists_them_by_log_and_number),
	    cmocka_unit_test(what_is_written_is_read_and_can_be_read_again),
	    cmocka_unit_test(every_cut_is_noticed), cmocka_unit_test(every_flipped_bit_is_noticed),
	    cmocka_unit_test(nothing_may_follow),
	    cmocka_unit_test(a_window_that_would_take_much_memory_is_refused),
	    cmocka_unit_test(a_full_disk_is_said), cmocka_unit_test(an_edge_has_its_place),
	    cmocka_unit_test(an_edge_over_a_gap_is_missing_when_the_archive_is_there),
	    cmocka_unit_test(an_edge_that_contradicts_the_records_is_broken)};

	return cmocka_run_group_tests(tests, enter, leave);
}
