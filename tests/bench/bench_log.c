/*
 * The log beside bare LMDB and bare hashes, in alternation. One JSON line for each row.
 *
 *   bench_log [ROUNDS [RECORDS]]    rounds (default 10); records of the large log (default
 * 10000000, which takes half a minute and 1.5 GB)
 *
 * In a directory of its own below TMPDIR (/var/tmp), which must not be a tmpfs: commits are what is
 * measured.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/audit/logs.h"
#include "broker/audit/record_store.h"
#include "broker/audit/tree.h"
#include "broker/audit/verify.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/merkle.h"
#include "lib/str.h"
#include "lib/util.h"
#include "tests/support/bare_lmdb.h"

#define ROUNDS_MAX 200
#define DURABLE    30 /* records a stretch */
#define STRETCHES  5  /* a round */
#define SESSIONS   20 /* a round */
#define AWAITING   64
#define AWAITED    (AWAITING * 60)
#define UNWAITED   12800
#define VERIFIED   100000
#define PROOFS     1000

static char dir[128], bare_dir[160], ours_dir[160], large_dir[160];

static void fatal(const char *what)
{
	(void)fprintf(stderr, "bench_log: %s\n", what);
	exit(1);
}

static double seconds(int64_t begin)
{
	return (double)(clock_mono_ns() - begin) / 1e9;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *v, size_t n)
{
	qsort(v, n, sizeof *v, by_value);
	return v[n / 2];
}

static void row(const char *name, double ours, double peer, const char *unit, const char *goal,
    const char *command)
{
	(void)printf("{\"name\": \"%s\", \"ours\": %.4g, \"peer\": %.4g, \"unit\": \"%s\", "
	             "\"ratio\": %.3f, \"goal\": \"%s\", \"command\": \"%s\"}\n",
	    name, ours, peer, unit, ours / peer, goal, command);
}

/* ---- ours ---- */

static struct loop *loop;
static struct store *store;
static struct record_log *rlog;
static size_t left, running;

static void ours_open(const char *path)
{
	struct store_config c = {.map_size = BARE_MAP};
	struct record_options o;
	struct err e = ERR_INIT;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	record_options_default(&o);
	o.rate = o.critical_rate = o.byte_rate = 0;
	if (store_open(fd, &c, &store, &e) < 0 || record_store_open(store, loop, &o, &rlog, &e) < 0)
		fatal(err_text(&e));
	(void)close(fd);
}

static void ours_close(void)
{
	rlog->ops->free(rlog);
	store_close(store);
}

/* As long as what the core says of a command. */
static int add_as(const char *class_name, const char *tenant, bool critical, record_fn done)
{
	static char command[2 * BARE_COMMAND_LEN];
	static uint64_t count;
	size_t len = bare_command_len(count++);

	memset(command, 'c', len);
	command[len] = '\0';
	return record_append(rlog, class_name, tenant,
	    json_pack("{s:s, s:s, s:s, s:s, s:s}", "conn", "c-0123456789abcdef", "peer",
	        "192.0.2.7", "session", "s-0123456789abcdef", "role", "agent", "person", "alice"),
	    json_pack(
	        "{s:i, s:s, s:s, s:b}", "channel", 7, "kind", "exec", "command", command, "pty", 0),
	    critical, done, NULL);
}

static int add(bool critical, record_fn done)
{
	return add_as("channel.exec", "demo", critical, done);
}

static void on_done(int r, uint64_t seq, void *arg)
{
	(void)seq, (void)arg;
	if (r < 0)
		fatal("a record was refused");
	if (left > 0) {
		left--;
		if (add(true, on_done) < 0)
			fatal("a record was refused");
	} else if (--running == 0) {
		loop_stop(loop);
	}
}

static double ours_awaited(size_t clients, size_t n)
{
	int64_t begin = clock_mono_ns();

	left = n - clients;
	running = clients;
	for (size_t i = 0; i < clients; i++)
		if (add(true, on_done) < 0)
			fatal("a record was refused");
	if (loop_run(loop) < 0)
		fatal("the loop");
	return (double)n / seconds(begin);
}

/* What a session of one channel has recorded, in the order of the core's: what is in one step waits
 * for its last record together. */
static const struct {
	unsigned step;
	bool critical;
	const char *tenant, *class_name;
} session_records[] = {
    {0, false, NULL, "conn.accepted"},
    {0, true, "demo", "grant"},
    {1, true, "demo", "session.start"},
    {1, true, "demo", "channel.exec"},
    {2, false, "demo", "session.enforced"},
    {3, false, "demo", "channel.end"},
    {3, false, "demo", "session.end"},
    {3, false, "demo", "conn.end"},
};
#define STEPS 4

static void on_step(int r, uint64_t seq, void *arg)
{
	(void)seq, (void)arg;
	if (r < 0)
		fatal("a record was refused");
	loop_stop(loop);
}

/* From the first record until the last is durable, and the part of it that the session waits for:
 * the commits of the steps that allow something, and the time it takes to hand over the rest; ms.
 */
static double ours_session(double *ret_waited)
{
	int64_t begin = clock_mono_ns();
	double waited = 0;

	for (unsigned step = 0, i = 0; step < STEPS; step++) {
		int64_t from = clock_mono_ns();
		bool last = false, critical = false;

		for (; !last; i++) {
			last = i + 1 == ARRAY_LEN(session_records) ||
			       session_records[i + 1].step != step;
			critical = session_records[i].critical;
			if (add_as(session_records[i].class_name, session_records[i].tenant,
			        critical, last ? on_step : NULL) < 0)
				fatal("a record was refused");
		}
		if (!critical)
			waited += seconds(from) * 1e3;
		if (loop_run(loop) < 0)
			fatal("the loop");
		if (critical)
			waited += seconds(from) * 1e3;
	}
	*ret_waited = waited;
	return seconds(begin) * 1e3;
}

/* As many records in as many commits. */
static double bare_session(size_t len)
{
	int64_t begin = clock_mono_ns();

	for (unsigned step = 0, i = 0; step < STEPS; step++) {
		size_t n = 0;

		for (; i < ARRAY_LEN(session_records) && session_records[i].step == step; i++)
			n++;
		(void)bare_run(n, n, len);
	}
	return seconds(begin) * 1e3;
}

static struct loop_source *feeder;

static void on_feed(struct loop *l, void *arg)
{
	(void)arg;
	if (left == 0) {
		loop_stop(l);
		return;
	}
	for (size_t i = 0; i < RECORD_GROUP && left > 0; i++, left--)
		if (add(false, NULL) < 0)
			fatal("a record was refused");
	loop_defer_arm(feeder);
}

static double ours_unwaited(size_t n)
{
	int64_t begin = clock_mono_ns();

	left = n;
	loop_defer_arm(feeder);
	if (loop_run(loop) < 0 || rlog->ops->flush(rlog) < 0)
		fatal("the loop");
	return (double)n / seconds(begin);
}

/* Of a record whose command has BARE_COMMAND_LEN. */
static size_t record_len(void)
{
	static const char mark[] = "\"command\":\"";
	cleanup_buf struct buf b;
	const char *command;

	buf_init(&b, RECORD_MAX);
	if (logs_get(store, 1, 2, &b) < 0 || !buf_cstr(&b) ||
	    !(command = strstr((const char *)b.data, mark)))
		fatal("no record");
	return b.len - strspn(command + strlen(mark), "c") + BARE_COMMAND_LEN;
}

/* ---- rows ---- */

/* In turns that take a few hundredths of a second, and each goes first every other time: the disk
 * is what is measured, and it has moods. */
static double single(size_t rounds, size_t len)
{
	static double one[ROUNDS_MAX * STRETCHES], bare_one[ROUNDS_MAX * STRETCHES];
	size_t n = rounds * STRETCHES;

	for (size_t i = 0; i < n; i++) {
		if (i % 2)
			bare_one[i] = bare_run(DURABLE, 1, len);
		one[i] = ours_awaited(1, DURABLE);
		if (i % 2 == 0)
			bare_one[i] = bare_run(DURABLE, 1, len);
	}
	row("log: one client, each record durable", median(one, n), median(bare_one, n),
	    "records/s", ">=0.9", "bare LMDB, one record a commit");
	return one[n / 2];
}

static void sessions(size_t rounds, size_t len)
{
	static double waited[ROUNDS_MAX * SESSIONS], ours[ROUNDS_MAX * SESSIONS],
	    peer[ROUNDS_MAX * SESSIONS];
	size_t n = rounds * SESSIONS;

	for (size_t i = 0; i < n; i++) {
		if (i % 2)
			peer[i] = bare_session(len);
		ours[i] = ours_session(&waited[i]);
		if (i % 2 == 0)
			peer[i] = bare_session(len);
	}
	row("log: what a session of one channel waits for, in all", median(waited, n), 2, "ms",
	    "<=1", "the limit of 2 ms");
	row("log: its records until the last is durable", median(ours, n), median(peer, n), "ms",
	    "", "bare LMDB, as many records in as many commits");
}

/* The logs are as large as they get in a day before single records are timed. */
static void writing(size_t rounds)
{
	double many[ROUNDS_MAX], flood[ROUNDS_MAX], bare_flood[ROUNDS_MAX], alone;
	size_t len;

	(void)ours_awaited(1, 10);
	len = record_len();
	for (size_t i = 0; i < rounds; i++) {
		many[i] = ours_awaited(AWAITING, AWAITED);
		flood[i] = ours_unwaited(UNWAITED);
		bare_flood[i] = bare_run(UNWAITED, RECORD_GROUP, len);
	}
	alone = single(rounds, len);
	sessions(rounds, len);
	row("log: 64 clients, each awaiting its answer", median(many, rounds), alone, "records/s",
	    ">=8", "ours with one client");
	row("log: records submitted without waiting", median(flood, rounds),
	    median(bare_flood, rounds), "records/s", ">=0.3", "bare LMDB, 128 records a commit");
}

static double bare_hashes(size_t n, size_t len)
{
	uint8_t data[4096] = {0}, a[DIGEST_LEN] = {0}, b[DIGEST_LEN];
	int64_t begin = clock_mono_ns();

	for (size_t i = 0; i < n; i++) {
		data[0] = a[0];
		merkle_leaf(data, len, b);
		merkle_node(a, b, a);
	}
	return (double)n / seconds(begin);
}

static void verifying(size_t rounds)
{
	double ours[ROUNDS_MAX], hashes[ROUNDS_MAX];
	size_t len = record_len();
	struct err e = ERR_INIT;
	struct verify v;

	(void)ours_unwaited(VERIFIED);
	for (size_t i = 0; i < rounds; i++) {
		int64_t begin = clock_mono_ns();

		if (verify_log(store, 1, "demo", &v, &e) < 0)
			fatal(err_text(&e));
		ours[i] = (double)v.seq / seconds(begin);
		hashes[i] = bare_hashes(VERIFIED, len);
	}
	row("log: verification on one core", median(ours, rounds), median(hashes, rounds),
	    "records/s", ">=0.6", "the same leaf and node hashes, without anything else");
}

/* Small records, straight into store and tree. */
static void build_large(uint64_t n)
{
	uint8_t key[LOG_KEY_LEN], packed[LOG_HEAD_MAX];
	struct tree_tail *tail = NULL;
	struct log_head head = {0};
	struct err e = ERR_INIT;

	log_number_key(1, key);
	if (tree_tail_load(store, 1, &head.tree, &tail, &e) < 0 || store_begin(store, &e) < 0 ||
	    store_put(store, STORE_LOGS, key, 4, "{\"name\":\"demo\",\"created\":\"\"}", 28, &e) <
	        0)
		fatal(err_text(&e));
	while (head.seq < n) {
		char text[32];
		int len = snprintf(text, sizeof text, "%020llu", (unsigned long long)++head.seq);

		merkle_leaf(text, (size_t)len, head.leaf);
		log_key(1, head.seq, key);
		if (store_put(store, STORE_RECORDS, key, sizeof key, text, (size_t)len, &e) < 0 ||
		    tree_append(store, 1, &head.tree, tail, head.leaf, &e) < 0)
			fatal(err_text(&e));
		if (head.seq % 20000 != 0 && head.seq != n)
			continue;
		log_number_key(1, key);
		if (store_put(
		        store, STORE_HEADS, key, 4, packed, log_head_pack(&head, packed), &e) < 0 ||
		    store_commit(store, &e) < 0 || (head.seq != n && store_begin(store, &e) < 0))
			fatal(err_text(&e));
	}
	tree_tail_free(tail);
}

static void large(uint64_t n)
{
	uint8_t proof[MERKLE_PROOF_MAX][DIGEST_LEN], root[DIGEST_LEN], leaf[DIGEST_LEN];
	double proofs[PROOFS], opened[10];
	struct err e = ERR_INIT;
	char name[80], text[32];
	size_t len;

	ours_open(large_dir);
	build_large(n);
	ours_close();
	for (size_t i = 0; i < 10; i++) {
		int64_t begin = clock_mono_ns();

		ours_open(large_dir);
		opened[i] = seconds(begin) * 1e3;
		if (i < 9)
			ours_close();
	}
	if (tree_root(store, 1, n, root, &e) < 0)
		fatal(err_text(&e));
	for (size_t i = 0; i < PROOFS; i++) {
		uint64_t index = (i * 2654435761u + 12345) % n;
		int64_t begin = clock_mono_ns();

		if (tree_inclusion(store, 1, index, n, proof, &len, &e) < 0)
			fatal(err_text(&e));
		proofs[i] = seconds(begin) * 1e3;
		(void)snprintf(text, sizeof text, "%020llu", (unsigned long long)index + 1);
		merkle_leaf(text, 20, leaf);
		if (merkle_verify_inclusion(
		        leaf, index, n, (const uint8_t(*)[DIGEST_LEN])proof, len, root) < 0)
			fatal("a proof does not hold");
	}
	ours_close();
	(void)snprintf(
	    name, sizeof name, "log: inclusion proof from %llu records", (unsigned long long)n);
	row(name, median(proofs, PROOFS), 1, "ms", "<=1", "the limit of 1 ms");
	(void)snprintf(
	    name, sizeof name, "log: opening one of %llu records", (unsigned long long)n);
	row(name, median(opened, 10), 50, "ms", "<=1", "the limit of 50 ms");
}

static void make_dir(char *dst, size_t size, const char *name)
{
	(void)snprintf(dst, size, "%s/%s", dir, name);
	if (mkdirat(AT_FDCWD, dst, 0700) < 0)
		fatal("cannot make a directory");
}

static void remove_dir(const char *path)
{
	static const char *const files[] = {"data.mdb", "lock.mdb", STORE_RESERVE_FILE};
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		(void)unlinkat(fd, files[i], 0);
	(void)close(fd);
	(void)rmdir(path);
}

int main(int argc, char **argv)
{
	const char *tmp = getenv("TMPDIR");
	uint64_t rounds = 10, records = 10000000;

	if ((argc > 1 && str_to_u64(argv[1], 1, ROUNDS_MAX, &rounds) < 0) ||
	    (argc > 2 && str_to_u64(argv[2], 1000, 100000000, &records) < 0))
		fatal("usage: bench_log [rounds [records]]");
	log_open("bench_log", LOG_ERR);
	(void)snprintf(dir, sizeof dir, "%s/postern-bench-XXXXXX", tmp ? tmp : "/var/tmp");
	if (!mkdtemp(dir) || !(loop = loop_new()) || !(feeder = loop_defer(loop, on_feed, NULL)))
		fatal("cannot start");
	make_dir(bare_dir, sizeof bare_dir, "bare");
	make_dir(ours_dir, sizeof ours_dir, "ours");
	make_dir(large_dir, sizeof large_dir, "large");
	bare_open(bare_dir);
	ours_open(ours_dir);
	writing((size_t)rounds);
	verifying((size_t)rounds);
	ours_close();
	bare_close();
	large(records);
	loop_remove(feeder);
	loop_free(loop);
	remove_dir(bare_dir);
	remove_dir(ours_dir);
	remove_dir(large_dir);
	(void)rmdir(dir);
	return 0;
}
