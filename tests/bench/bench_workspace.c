/*
 * A fork of a workspace with a gigabyte in it, beside what a durable change of a directory costs at
 * least: mkdir and fsync of its parent. One JSON line.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/workspace/store.h"
#include "lib/clock.h"
#include "lib/err.h"

#define ROUNDS   20
#define BYTES    (INT64_C(1) << 30)
#define FILES    64
#define LIMIT_MS 5.0

static void fatal(const char *what)
{
	(void)fprintf(stderr, "bench_workspace: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int allot(void *arg, uint32_t *ret, struct err *e)
{
	(void)arg;
	(void)e;
	*ret = 2700000000u;
	return 0;
}

static void hold(void *arg, uint32_t ids)
{
	(void)arg;
	(void)ids;
}

static void fill(struct work_store *s)
{
	static char block[1 << 20];
	struct err e = ERR_INIT;
	struct work_view v;

	if (work_acquire(s, "t", "big", true, "bench", &v, &e) < 0)
		fatal(err_text(&e));
	memset(block, 'x', sizeof block);
	for (int i = 0; i < FILES; i++) {
		char path[64];
		int fd;

		(void)snprintf(path, sizeof path, "%u/d/f%d", v.top, i);
		fd = openat(v.layers, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
		for (int64_t n = 0; n < BYTES / FILES; n += (int64_t)sizeof block)
			if (write(fd, block, sizeof block) != (ssize_t)sizeof block)
				fatal("write");
		if (fsync(fd) < 0) /* what a session wrote long ago */
			fatal("fsync");
		(void)close(fd);
	}
	work_view_done(&v);
	(void)work_release(s, "bench");
}

static int by_value(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double median_ms(int64_t *v)
{
	qsort(v, ROUNDS, sizeof *v, by_value);
	return (double)v[ROUNDS / 2] / 1e6;
}

static int forget(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

int main(void)
{
	const char *build = getenv("BUILD");
	struct work_config c = {.allot = allot, .hold = hold};
	int64_t ours[ROUNDS], peer[ROUNDS], at;
	struct work_store *s = NULL;
	struct err e = ERR_INIT;
	char dir[4096], name[32];

	(void)snprintf(
	    dir, sizeof dir, "%s/bench-workspace-%d", build ? build : ".", (int)getpid());
	if (mkdir(dir, 0700) < 0 || (c.dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		fatal(dir);
	if (work_open(&c, &s, &e) < 0 || work_create(s, "t", "big", &e) < 0)
		fatal(err_text(&e));
	fill(s);
	for (int i = 0; i < ROUNDS; i++) {
		(void)snprintf(name, sizeof name, "f%d", i);
		at = clock_mono_ns();
		if (work_fork(s, "t", "big", NULL, name, &e) < 0)
			fatal(err_text(&e));
		ours[i] = clock_mono_ns() - at;
		(void)snprintf(name, sizeof name, "Peer%d", i);
		at = clock_mono_ns();
		if (mkdirat(c.dir, name, 0700) < 0 || fsync(c.dir) < 0)
			fatal("mkdir");
		peer[i] = clock_mono_ns() - at;
	}
	double o = median_ms(ours), p = median_ms(peer);

	(void)printf("{\"name\": \"fork of a workspace of 1 GB / the limit\", \"ours\": %.3f, "
	             "\"peer\": %.1f, \"unit\": \"ms\", \"ratio\": %.4f, \"goal\": 1.0, "
	             "\"peer_name\": \"5 ms; mkdir and fsync take %.3f ms here\", \"n\": %d}\n",
	    o, LIMIT_MS, o / LIMIT_MS, p, ROUNDS);
	work_close(s);
	(void)nftw(dir, forget, 16, FTW_DEPTH | FTW_PHYS);
	return 0;
}
