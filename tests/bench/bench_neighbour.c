/*
 * What a tenant gets done beside another that takes all that it can get of one thing, compared
 * with what it gets done beside another that does the same work as itself: its fair share. In
 * alternation; one JSON line for each kind of hog. Argument: rounds (default 12).
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/str.h"
#include "lib/util.h"
#include "tests/support/hog.h"
#include "tests/support/sandbox_rig.h"

#define ROUNDS_MAX 1000
#define MS         "300" /* of work, to be counted */
#define LONG_MS    "100000"
#define FAIR       HOGS /* the neighbour that is none */
#define PATIENCE   60000

static struct rig rig;
static struct plan plan, bad_plan;
static int null_fd;

static void fatal(const char *what)
{
	(void)fprintf(stderr, "bench_neighbour: %s\n", what);
	exit(1);
}

static void start(struct box *x, const struct plan *p)
{
	struct backend_failure f = {0};
	struct err e = ERR_INIT;

	if (box_start(&rig, x, p, &f, &e) < 0)
		fatal(err_text(&e));
	if (box_install_self(x) < 0)
		fatal("the program cannot be put into a sandbox");
}

/* Runs it; the descriptor is where its output comes. */
static int ask(struct box *x, const char *what, const char *n)
{
	const char *argv[] = {"/tmp/probe", what, n, NULL};
	static uint32_t channel;
	int out[2], status[2];

	if (pipe2(out, O_CLOEXEC) < 0 || pipe2(status, O_CLOEXEC) < 0)
		fatal("pipe");
	const int fds[4] = {null_fd, out[1], null_fd, status[1]};
	if (box_send_exec(x, channel++, 0, argv, fds, 4) < 0)
		fatal("exec request");
	(void)close(out[1]);
	(void)close(status[1]);
	(void)close(status[0]);
	return out[0];
}

/* A neighbour that has begun with what it does. */
static void begin(struct box *x, int kind)
{
	char n[8], text[16];
	int out;

	(void)snprintf(n, sizeof(n), "%d", kind);
	start(x, &bad_plan);
	out = kind == FAIR ? ask(x, "work", LONG_MS) : ask(x, "hog", n);
	if (kind != FAIR)
		(void)!read(out, text, sizeof(text));
	(void)close(out);
}

static void finish(struct box *x)
{
	if (!box_end(x, NULL))
		fatal("a sandbox does not end");
	while (rig.b->ops->idle(rig.b) == 1)
		;
}

/* What the victim gets done. A neighbour that ends has run out of memory: the next one comes. */
static int64_t measure(struct box *victim, int kind, unsigned *ret_ends)
{
	struct box x;
	struct pollfd p[3] = {
	    {-1, POLLIN, 0}, {rig.b->ops->event_fd(rig.b), POLLIN, 0}, {-1, POLLIN, 0}};
	uint64_t done;
	char text[32];
	ssize_t n;

	begin(&x, kind);
	p[0].fd = ask(victim, "work", MS);
	for (;;) {
		p[2].fd = rig.b->ops->pidfd(x.s);
		if (poll(p, 3, PATIENCE) <= 0)
			fatal("nothing comes");
		if (p[1].revents)
			rig.b->ops->event(rig.b);
		if (p[0].revents)
			break;
		if (p[2].revents) {
			++*ret_ends;
			finish(&x);
			begin(&x, kind);
		}
	}
	n = read(p[0].fd, text, sizeof(text) - 1);
	(void)close(p[0].fd);
	finish(&x);
	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	if (str_to_u64(text, 1, UINT32_MAX, &done) < 0)
		fatal("the victim's work failed");
	return (int64_t)done;
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static double median(int64_t *v, size_t n)
{
	qsort(v, n, sizeof(*v), by_value);
	return (double)v[n / 2];
}

int main(int argc, char **argv)
{
	static int64_t done[HOGS + 1][ROUNDS_MAX];
	unsigned ends[HOGS + 1] = {0};
	struct err e = ERR_INIT;
	uint64_t rounds = 12;
	struct box victim;
	double fair;
	int status;

	if (hog_main(argc, argv, &status))
		return status;
	if (argc > 1 && str_to_u64(argv[1], 3, ROUNDS_MAX, &rounds) < 0)
		fatal("usage: bench_neighbour [rounds]");
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (rig_new(&rig, NULL, 0, &e) < 0)
		fatal(err_text(&e));
	rig_plan(&bad_plan);
	hog_limits(&bad_plan);
	plan = bad_plan;
	(void)str_copy(plan.tenant, sizeof(plan.tenant), "other");
	start(&victim, &plan);
	for (size_t i = 0; i < rounds; i++)
		for (size_t k = 0; k <= HOGS; k++) {
			/* each round begins with another kind */
			size_t kind = (i + k) % (HOGS + 1);

			done[kind][i] = measure(&victim, (int)kind, &ends[kind]);
		}
	finish(&victim);
	rig_free(&rig);
	if (ends[HOG_FILLS_MEMORY] == 0)
		fatal("no memory hog has run out of memory");
	fair = median(done[FAIR], rounds);
	for (size_t k = 0; k < HOGS; k++) {
		double got = median(done[k], rounds);

		(void)printf("{\"name\": \"neighbour under %s\", \"ours\": %.0f, \"peer\": %.0f, "
		             "\"unit\": \"rounds\", \"ratio\": %.3f, \"goal\": 0.9, "
		             "\"command\": \"the fair share, beside equal work\"}\n",
		    hog_names[k], got, fair, got / fair);
	}
	return 0;
}
