#include "tests/support/hog.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/spawn/plan.h"
#include "lib/clock.h"
#include "lib/str.h"
#include "lib/util.h"

#define PROCESSES 2 /* as many as there are processors to compete for */
#define PIECE     (64 << 10)

const char *const hog_names[HOGS] = {
    "fork bomb", "memory hog", "disk filler", "fd hog", "inode filler"};

static char piece[PIECE];

void hog_limits(struct plan *p)
{
	p->limits.memory_bytes = HOG_MEMORY;
	p->limits.pids = HOG_PIDS;
	p->disk_bytes = HOG_DISK;
	p->disk_inodes = HOG_INODES;
	p->open_files = HOG_FILES;
}

/* ---- bad ---- */

/* The first refusal, for whoever waits; each later one is nobody's news. */
static void tell(int *to, int error)
{
	if (*to < 0)
		return;
	(void)!write(*to, &error, sizeof(error));
	util_close(to);
}

static void forks(int to)
{
	for (;;)
		if (fork() < 0)
			tell(&to, errno);
}

static void fills_memory(int to)
{
	tell(&to, 0);
	for (;;) {
		char *p =
		    mmap(NULL, PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p != MAP_FAILED)
			memset(p, 1, PIECE);
	}
}

static void fills_disk(const char *mine, int to)
{
	int fd;

	for (;;) {
		fd = open(mine, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		while (fd >= 0 && write(fd, piece, sizeof(piece)) > 0)
			;
		tell(&to, errno);
		util_close(&fd);
	}
}

static void opens(int to)
{
	for (;;) {
		while (open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0)
			;
		tell(&to, errno);
		(void)close_range((unsigned)(to < 0 ? 0 : to + 1), ~0u, 0);
	}
}

static void makes_files(const char *mine, int to)
{
	char name[64];

	for (;;) {
		for (int i = 0, fd = 0; fd >= 0; i++) {
			(void)snprintf(name, sizeof(name), "%s%d", mine, i);
			if ((fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)) >= 0)
				(void)close(fd);
			else
				tell(&to, errno);
		}
		for (int i = 0;; i++) {
			(void)snprintf(name, sizeof(name), "%s%d", mine, i);
			if (unlink(name) < 0)
				break;
		}
	}
}

static _Noreturn void take(enum hog what, int to)
{
	char mine[32];

	(void)snprintf(mine, sizeof(mine), "/tmp/hog%d-", (int)getpid());
	if (what == HOG_FORKS)
		forks(to);
	else if (what == HOG_FILLS_MEMORY)
		fills_memory(to);
	else if (what == HOG_FILLS_DISK)
		fills_disk(mine, to);
	else if (what == HOG_OPENS)
		opens(to);
	else
		makes_files(mine, to);
	_exit(1);
}

static int hog(enum hog what)
{
	int pipes[2], error = -1;

	if (pipe(pipes) < 0)
		return 1;
	for (int i = 0; i < PROCESSES; i++)
		if (fork() == 0) {
			(void)setsid();
			for (int fd = 0; fd < 3; fd++)
				(void)close(fd);
			(void)dup2(pipes[1], 3);
			(void)close_range(4, ~0u, 0);
			take(what, 3);
		}
	(void)close(pipes[1]);
	if (read(pipes[0], &error, sizeof(error)) != sizeof(error))
		return 1;
	return printf("%d\n", error) < 0;
}

/* ---- good ---- */

static bool work_once(const char *mine)
{
	static volatile uint64_t sum;
	pid_t pid = fork();
	int status, fd;
	bool fine;

	if (pid == 0)
		_exit(0);
	for (unsigned i = 0; i < 200000; i++)
		sum += i ^ sum << 1;
	fd = open(mine, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	fine = write(fd, piece, sizeof(piece)) == sizeof(piece) &&
	       pread(fd, piece, sizeof(piece), 0) == sizeof(piece);
	(void)close(fd);
	return unlink(mine) == 0 && fine && waitpid(pid, &status, 0) == pid && status == 0;
}

static int work(int64_t ms)
{
	int64_t until = clock_mono_ns() + ms * (NSEC_PER_SEC / 1000);
	uint64_t done = 0, one;
	char mine[32];
	int pipes[2];

	if (pipe(pipes) < 0)
		return 1;
	for (int i = 0; i < PROCESSES; i++)
		if (fork() == 0) {
			(void)snprintf(mine, sizeof(mine), "/tmp/work%d", (int)getpid());
			for (one = 0; clock_mono_ns() < until; one++)
				if (!work_once(mine))
					_exit(1);
			_exit(write(pipes[1], &one, sizeof(one)) != sizeof(one));
		}
	(void)close(pipes[1]);
	for (int i = 0; i < PROCESSES; i++) {
		if (read(pipes[0], &one, sizeof(one)) != sizeof(one))
			return 1;
		done += one;
	}
	return printf("%llu\n", (unsigned long long)done) < 0;
}

bool hog_main(int argc, char **argv, int *ret_status)
{
	uint64_t n;

	if (argc != 3 || str_to_u64(argv[2], 0, 100000, &n) < 0)
		return false;
	if (strcmp(argv[1], "hog") == 0 && n < HOGS)
		*ret_status = hog((enum hog)n);
	else if (strcmp(argv[1], "work") == 0)
		*ret_status = work((int64_t)n);
	else
		return false;
	return true;
}
