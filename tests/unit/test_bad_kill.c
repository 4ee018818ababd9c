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
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include "broker/audit/verify.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "tests/support/writer.h"

/*
 * The writer of the log, killed at random moments again and again: nothing it has acknowledged is
 * ever missing, and each successor opens what the last one left. BADDAYS_CYCLES sets how often,
 * BADDAYS_SEED which moments.
 */

#define CYCLES      1000
#define LIFE_MAX_NS (100 * 1000 * 1000)
#define FRESH       200 /* cycles of one store */
#define WHOLE       100 /* cycles between two readings of everything */
#define BATCH       24
#define QUEUED      256

static char dir[64];
static int dir_fd;

static uint64_t number(const char *name, uint64_t otherwise)
{
	const char *s = getenv(name);

	return s && *s ? strtoull(s, NULL, 10) : otherwise;
}

static int enter(void **state)
{
	(void)state;
	log_open("test", LOG_EMERG);
	(void)snprintf(dir, sizeof dir, "/tmp/bad-kill-XXXXXX");
	assert_non_null(mkdtemp(dir));
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return 0;
}

static void clear(void)
{
	(void)unlinkat(dir_fd, "data.mdb", 0);
	(void)unlinkat(dir_fd, "lock.mdb", 0);
	(void)unlinkat(dir_fd, "data.new", 0);
	(void)unlinkat(dir_fd, "reserve", 0);
}

static int leave(void **state)
{
	(void)state;
	clear();
	(void)close(dir_fd);
	return rmdir(dir);
}

/* ---- the writer, in a process of its own ---- */

static int ack_fd;
static uint64_t seed;

static void tell(const struct ack *a, void *arg)
{
	(void)arg;
	if (write(ack_fd, a, sizeof *a) != sizeof *a)
		_exit(2);
}

struct feeder {
	struct writer *w;
	struct loop_source *timer;
};

static void on_timer(struct loop *l, void *arg)
{
	struct feeder *f = arg;

	(void)l;
	while (f->w->next - f->w->acked - f->w->refused < QUEUED &&
	       writer_append(f->w, 1 + writer_random(&seed) % BATCH, &seed) == 0)
		;
	loop_timer_set(f->timer, 100 * 1000);
}

static void live(void)
{
	struct writer w;
	struct err e = ERR_INIT;
	struct feeder f = {.w = &w};

	if (writer_open(&w, dir_fd, &e) < 0) {
		(void)fprintf(stderr, "# the writer: %s\n", err_text(&e));
		_exit(3);
	}
	w.on_ack = tell;
	f.timer = loop_timer(w.loop, 0, on_timer, &f);
	(void)loop_run(w.loop);
	_exit(4);
}

/* ---- who keeps the list ---- */

static void hear(int fd, struct book *b, int64_t until_ns)
{
	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int64_t left = until_ns - clock_mono_ns();
		struct timespec t = {0, left > 0 ? (long)left : 0};
		struct ack a;

		if (until_ns > 0 && (left <= 0 || ppoll(&p, 1, &t, NULL) == 0))
			return;
		if (read(fd, &a, sizeof a) != sizeof a)
			return; /* whole or not at all: pipe(7), PIPE_BUF */
		assert_int_equal(book_ack(b, &a), 0);
	}
}

static void one_life(struct book *b)
{
	/* at most; so that about half of them die before their first acknowledgement, however busy
	 * this machine is */
	static uint64_t life_ns = 6 * 1000 * 1000;
	int64_t life = (int64_t)(writer_random(&seed) % life_ns);
	uint64_t before = book_total(b);
	int fd[2], status;
	pid_t pid;

	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	if ((pid = fork()) == 0) {
		(void)close(fd[0]);
		ack_fd = fd[1];
		live();
	}
	assert_true(pid > 0);
	(void)close(fd[1]);
	hear(fd[0], b, clock_mono_ns() + life);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFSIGNALED(status))
		fail_msg("the writer ended by itself, status %d", WEXITSTATUS(status));
	hear(fd[0], b, 0); /* what was said before it died */
	(void)close(fd[0]);
	life_ns = book_total(b) > before ? life_ns - life_ns / 16 : life_ns + life_ns / 16;
	if (life_ns > LIFE_MAX_NS)
		life_ns = LIFE_MAX_NS;
}

static void check(struct book *b, bool whole, unsigned cycle)
{
	struct err e = ERR_INIT;
	struct verify v;
	struct writer w;

	if (writer_open(&w, dir_fd, &e) < 0 || book_check(b, w.store, whole, &e) < 0 ||
	    (whole && verify_store(w.store, &v, &e) < 0))
		fail_msg("after kill %u: %s", cycle, err_text(&e));
	writer_close(&w);
}

static void nothing_acknowledged_is_ever_missing(void **state)
{
	unsigned cycles = (unsigned)number("BADDAYS_CYCLES", CYCLES), with_acks = 0;
	uint64_t first = number("BADDAYS_SEED", (uint64_t)clock_mono_ns() | 1);
	uint64_t acked = 0;
	struct book b;

	(void)state;
	seed = first;
	book_init(&b);
	for (unsigned i = 1; i <= cycles; i++) {
		uint64_t before = book_total(&b);

		one_life(&b);
		check(&b, i % WHOLE == 0 || i == cycles, i);
		with_acks += book_total(&b) > before;
		acked += book_total(&b) - before;
		if (i % FRESH == 0) {
			book_done(&b);
			book_init(&b);
			clear();
		}
	}
	print_message("# %u kills, %llu records acknowledged, seed %llu\n", cycles,
	    (unsigned long long)acked, (unsigned long long)first);
	/* else they all died before they did anything, and this proves nothing */
	assert_true(with_acks > cycles / 4);
	book_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nothing_acknowledged_is_ever_missing),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
