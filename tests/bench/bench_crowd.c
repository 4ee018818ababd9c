/*
 * Many sandboxes: a hundred ordered at once, and what one costs, and how long a start takes, while
 * many live. One JSON line for each row. Argument: how many live (default 200; the rig has 256
 * blocks of ids).
 *
 * Starts before and beside the crowd cannot alternate: each is weighed by a bare vfork and exec of
 * the same command, made right after it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/init/proto.h"
#include "lib/clock.h"
#include "lib/str.h"
#include "lib/util.h"
#include "tests/support/sandbox_rig.h"

#define CROWD_MAX  240
#define PARALLEL   100
#define ROUNDS     41
#define LIMIT_US   500e3
#define LIMIT_KIB  400.0
#define CROWD_GOAL 1.3
#define COMMAND    "/usr/bin/true"

static const char *const argv_true[] = {COMMAND, NULL};
static struct rig rig;
static struct plan plan;
static int null_fd;

static void fatal(const char *what)
{
	(void)fprintf(stderr, "bench_crowd: %s\n", what);
	exit(1);
}

static void settle(void)
{
	while (rig.b->ops->idle(rig.b) == 1)
		;
}

/* The back end leaves the host's mounts: who runs the bare command keeps them. */
static int ask_bare = -1, told_bare = -1;

static int64_t vfork_bare(void)
{
	int64_t begin = clock_mono_ns();
	int status;
	pid_t pid = vfork();

	if (pid == 0) {
		(void)execv(argv_true[0], (char **)(uintptr_t)argv_true);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		fatal("the bare command failed");
	return clock_mono_ns() - begin;
}

static void start_bare(void)
{
	int ask[2], told[2];
	int64_t took;
	pid_t pid;
	char c;

	if (pipe2(ask, O_CLOEXEC) < 0 || pipe2(told, O_CLOEXEC) < 0 || (pid = fork()) < 0)
		fatal("the bare command's process");
	if (pid == 0) {
		(void)close(ask[1]);
		while (read(ask[0], &c, 1) == 1) {
			took = vfork_bare();
			if (write(told[1], &took, sizeof took) != sizeof took)
				break;
		}
		_exit(0);
	}
	(void)close(ask[0]);
	(void)close(told[1]);
	ask_bare = ask[1];
	told_bare = told[0];
}

static int64_t run_bare(void)
{
	int64_t took;

	if (write(ask_bare, "b", 1) != 1 || read(told_bare, &took, sizeof took) != sizeof took)
		fatal("the bare command's process is gone");
	return took;
}

/* Orders one with its command; the descriptor is where the command's status will come. */
static int order(struct box *x)
{
	struct backend_failure f = {0};
	struct err e = ERR_INIT;
	int inner, status[2];

	if (box_open(x, &inner) < 0 || pipe2(status, O_CLOEXEC) < 0)
		fatal("descriptors");
	const int fds[4] = {null_fd, null_fd, null_fd, status[1]};
	if (box_send_exec(x, 0, 0, argv_true, fds, 4) < 0)
		fatal("exec request");
	(void)close(status[1]);
	if (box_enter(&rig, x, &plan, inner, &f, &e) < 0) {
		(void)fprintf(stderr, "step %s\n", f.step);
		fatal(err_text(&e));
	}
	(void)close(inner);
	return status[0];
}

static void wait_for(int status)
{
	uint8_t record[INIT_STATUS_LEN];

	if (read(status, record, sizeof record) != sizeof record || record[0] != INIT_EXITED ||
	    record[7] != 0)
		fatal("the command failed inside");
	(void)close(status);
}

static void end(struct box *x)
{
	if (!box_end(x, NULL))
		fatal("a sandbox does not end");
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *v, int n)
{
	qsort(v, (size_t)n, sizeof *v, by_value);
	return v[n / 2];
}

/* A start's median, as a multiple of the bare command's. */
static double start_ratio(void)
{
	double ours[ROUNDS], bare[ROUNDS];

	for (int i = 0; i < ROUNDS; i++) {
		struct box x;
		int64_t begin = clock_mono_ns();

		wait_for(order(&x));
		ours[i] = (double)(clock_mono_ns() - begin);
		bare[i] = (double)run_bare();
		end(&x);
		settle();
	}
	return median(ours, ROUNDS) / median(bare, ROUNDS);
}

/* All are ordered before the first is waited for: microseconds until the last has run. */
static double parallel_us(struct box *x, double *ret_bare)
{
	int64_t begin = clock_mono_ns();
	double took;
	int status[PARALLEL];

	for (int i = 0; i < PARALLEL; i++)
		status[i] = order(&x[i]);
	for (int i = 0; i < PARALLEL; i++)
		wait_for(status[i]);
	took = (double)(clock_mono_ns() - begin) / 1e3;
	begin = clock_mono_ns();
	for (int i = 0; i < PARALLEL; i++)
		(void)run_bare();
	*ret_bare = (double)(clock_mono_ns() - begin) / 1e3;
	for (int i = 0; i < PARALLEL; i++)
		end(&x[i]);
	settle();
	return took;
}

static double available_kib(void)
{
	unsigned long long kib = 0;
	char line[128];
	FILE *f = fopen("/proc/meminfo", "re");

	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
			break;
	if (f)
		(void)fclose(f);
	if (kib == 0)
		fatal("no MemAvailable");
	return (double)kib;
}

static void row(
    const char *name, double ours, double peer, const char *unit, double goal, const char *command)
{
	(void)printf(
	    "{\"name\": \"%s\", \"ours\": %.2f, \"peer\": %.2f, \"unit\": \"%s\", \"ratio\": %.3f, "
	    "\"goal\": %.2f, \"command\": \"%s\"}\n",
	    name, ours, peer, unit, ours / peer, goal, command);
	(void)fflush(stdout);
}

int main(int argc, char **argv)
{
	static struct box crowd[CROWD_MAX];
	struct err e = ERR_INIT;
	double alone, beside, took, bare, before, each;
	uint64_t n = 200;

	if (argc > 1 && str_to_u64(argv[1], 1, CROWD_MAX, &n) < 0)
		fatal("usage: bench_crowd [how many live]");
	start_bare();
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd < 0 || rig_new(&rig, NULL, 0, &e) < 0)
		fatal(err_text(&e));
	rig_plan(&plan);
	plan.limits.memory_bytes = UINT64_C(64) << 20;
	plan.limits.pids = 64;
	plan.disk_bytes = UINT64_C(16) << 20;
	plan.disk_inodes = 4096;
	settle();

	took = parallel_us(crowd, &bare);
	row("100 starts at once, until all have run", took, LIMIT_US, "us", 1.0, "the limit");
	row("100 starts at once / 100 vfork+exec, one by one", took, bare, "us", 0,
	    "vfork, execve " COMMAND);

	alone = start_ratio();
	before = available_kib();
	for (uint64_t i = 0; i < n; i++) {
		wait_for(order(&crowd[i]));
		settle();
	}
	each = (before - available_kib()) / (double)n;
	row("idle sandboxes, memory of one with its init", each, LIMIT_KIB, "KiB", 1.0,
	    "the limit, by MemAvailable");
	beside = start_ratio();
	row("a start beside a crowd of idle ones / alone", beside, alone, "x vfork+exec",
	    CROWD_GOAL, "the same start without the crowd");
	for (uint64_t i = 0; i < n; i++)
		end(&crowd[i]);
	rig_free(&rig);
	return 0;
}
