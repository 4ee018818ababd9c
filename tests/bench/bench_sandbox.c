/*
 * The sandbox alone, in alternation with its peers: from a plan in hand to the exit of `true`; and
 * a command in a sandbox that already lives. One JSON line for each row. Argument: rounds (default
 * 60).
 *
 * The spare namespaces are made between the rounds, as spawn makes them when nobody waits.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/init/proto.h"
#include "filters.h"
#include "lib/clock.h"
#include "lib/str.h"
#include "lib/util.h"
#include "tests/support/oci_peer.h"
#include "tests/support/sandbox_rig.h"

#define ROUNDS_MAX 2000
#define SUSTAINED  300 /* starts, and how many a second at least */
#define COMMAND    "/usr/bin/true"
/* two changes of context and the reading of arguments for each program */
#define WATCHED_GOAL 1.5

static struct rig rig;
static struct plan plan, warm_plan;
static int null_fd, filter_fd;

static void fatal(const char *what)
{
	(void)fprintf(stderr, "bench_sandbox: %s\n", what);
	exit(1);
}

/* Runs argv to its end. */
static int64_t run_plain(const char *const *argv, int keep_fd)
{
	int64_t begin = clock_mono_ns();
	int status;
	pid_t pid = vfork();

	if (pid == 0) {
		if (keep_fd >= 0)
			(void)dup2(keep_fd, 9);
		(void)execv(argv[0], (char **)(uintptr_t)argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		fatal("a peer failed");
	return clock_mono_ns() - begin;
}

static int64_t run_vfork(void)
{
	static const char *const argv[] = {COMMAND, NULL};

	return run_plain(argv, -1);
}

static int64_t run_bwrap(void)
{
	static const char *const argv[] = {"/usr/bin/bwrap", "--unshare-all", "--ro-bind", "/usr",
	    "/usr", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64", "--symlink",
	    "usr/bin", "/bin", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--seccomp",
	    "9", COMMAND, NULL};

	if (lseek(filter_fd, 0, SEEK_SET) < 0)
		fatal("lseek");
	return run_plain(argv, filter_fd);
}

static int64_t run_peer(char what)
{
	switch (what) {
	case 'b':
		return run_bwrap();
	case 'c':
		return run_plain(oci_peer_crun(), -1);
	case 'r':
		return run_plain(oci_peer_runc(), -1);
	default:
		return run_vfork();
	}
}

/* Queues the command; the descriptor is where its status will come. */
static int ask(struct box *x)
{
	static const char *const argv[] = {COMMAND, NULL};
	static uint32_t channel;
	int status[2];

	if (pipe2(status, O_CLOEXEC) < 0)
		fatal("pipe");
	const int fds[4] = {null_fd, null_fd, null_fd, status[1]};
	if (box_send_exec(x, channel++, 0, argv, fds, 4) < 0)
		fatal("exec request");
	(void)close(status[1]);
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

static int64_t run_live(struct box *x)
{
	int64_t begin = clock_mono_ns();

	wait_for(ask(x));
	return clock_mono_ns() - begin;
}

/* As the core does it: the first request waits in the socket when the sandbox is ordered. */
static int64_t run_start(const struct plan *p, const char *how)
{
	struct backend_failure f = {0};
	struct err e = ERR_INIT;
	int64_t begin = clock_mono_ns(), took;
	int inner, status;
	struct box x;

	if (box_open(&x, &inner) < 0)
		fatal("socketpair");
	status = ask(&x);
	if (box_enter(&rig, &x, p, inner, &f, &e) < 0)
		fatal(err_text(&e));
	(void)close(inner);
	wait_for(status);
	took = clock_mono_ns() - begin;
	if (strcmp(json_string_value(json_object_get(x.enforced, "start")), how) != 0)
		fatal("it was not started as it should");
	if (!box_end(&x, NULL))
		fatal("the sandbox does not end");
	while (rig.b->ops->idle(rig.b) == 1)
		;
	return took;
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static double median_us(int64_t *v, int n)
{
	qsort(v, (size_t)n, sizeof *v, by_value);
	return (double)v[n / 2] / 1e3;
}

static void row(const char *name, double ours, double peer, double goal, const char *command)
{
	(void)printf(
	    "{\"name\": \"%s\", \"ours\": %.1f, \"peer\": %.1f, \"unit\": \"us\", \"ratio\": %.3f, "
	    "\"goal\": %.2f, \"command\": \"%s\"}\n",
	    name, ours, peer, ours / peer, goal, command);
}

int main(int argc, char **argv)
{
	static int64_t cold[ROUNDS_MAX], warm[ROUNDS_MAX], bwrap[ROUNDS_MAX], plain[ROUNDS_MAX],
	    live[ROUNDS_MAX], seen[ROUNDS_MAX], crun[ROUNDS_MAX], runc[ROUNDS_MAX];
	struct backend_failure f = {0};
	struct err e = ERR_INIT;
	uint64_t rounds = 60;
	struct plan seen_plan;
	struct box x, y;

	if (argc > 1 && str_to_u64(argv[1], 3, ROUNDS_MAX, &rounds) < 0)
		fatal("usage: bench_sandbox [rounds]");
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	filter_fd = memfd_create("filter", MFD_CLOEXEC);
	if (write(filter_fd, filter_agent, sizeof filter_agent) != (ssize_t)sizeof filter_agent)
		fatal("memfd");

	/* bwrap needs the host's mounts, the back end leaves them: a process for the peers */
	int ask[2], answer[2];
	if (pipe(ask) < 0 || pipe(answer) < 0)
		fatal("pipe");
	pid_t peers = fork();
	if (peers == 0) {
		char what;
		int64_t took;

		(void)close(ask[1]);
		if (oci_peer_new(COMMAND) < 0)
			fatal("the bundle for the peers");
		while (read(ask[0], &what, 1) == 1) {
			took = run_peer(what);
			if (write(answer[1], &took, sizeof took) != sizeof took)
				break;
		}
		oci_peer_free();
		_exit(0);
	}
	(void)close(ask[0]);
	(void)close(answer[1]);

	if (rig_new(&rig, NULL, 0, &e) < 0)
		fatal(err_text(&e));
	rig_plan(&plan);
	plan.limits.memory_bytes = UINT64_C(1) << 30;
	plan.limits.pids = 256;
	plan.limits.cpu_percent = 200;
	plan.disk_bytes = UINT64_C(256) << 20;
	plan.disk_inodes = 65536;
	plan.open_files = 1024;
	plan.credentials = true;
	warm_plan = plan;
	warm_plan.warm = 2;
	(void)memcpy(warm_plan.template_name, "warm", sizeof "warm");
	if (rig.b->ops->prepare(rig.b, &warm_plan, &f, &e) < 0)
		fatal(err_text(&e));
	while (rig.b->ops->idle(rig.b) == 1)
		;
	if (box_start(&rig, &x, &plan, &f, &e) < 0) {
		(void)fprintf(stderr, "step %s\n", f.step);
		fatal(err_text(&e));
	}
	(void)run_live(&x);
	seen_plan = plan;
	seen_plan.watch = true;
	if (box_start(&rig, &y, &seen_plan, &f, &e) < 0)
		fatal(err_text(&e));
	(void)run_live(&y);

	for (uint64_t i = 0; i < rounds; i++) {
		cold[i] = run_start(&plan, "cold");
		warm[i] = run_start(&warm_plan, "warm");
		const struct {
			const char *what;
			int64_t *took;
		} others[] = {{"b", &bwrap[i]}, {"p", &plain[i]}, {"c", &crun[i]}, {"r", &runc[i]}};

		for (size_t k = 0; k < ARRAY_LEN(others); k++)
			if (write(ask[1], others[k].what, 1) != 1 ||
			    read(answer[0], others[k].took, 8) != 8)
				fatal("the peers' process is gone");
		live[i] = run_live(&x);
		seen[i] = run_live(&y);
	}
	/* one after the other with all that comes between them: the end, and new spares */
	int64_t begin = clock_mono_ns(), each;

	for (int i = 0; i < SUSTAINED; i++)
		(void)run_start(&plan, "cold");
	each = (clock_mono_ns() - begin) / SUSTAINED;
	(void)close(ask[1]);
	(void)waitpid(peers, NULL, 0);
	(void)box_end(&x, NULL);
	(void)box_end(&y, NULL);
	rig_free(&rig);

	int n = (int)rounds;
	double c = median_us(cold, n), b = median_us(bwrap, n), p = median_us(plain, n),
	       l = median_us(live, n), w = median_us(warm, n), s = median_us(seen, n);
	row("sandbox alone / bwrap --unshare-all --seccomp", c, b, 0.5,
	    "bwrap --unshare-all --ro-bind /usr /usr --proc /proc --dev /dev --tmpfs /tmp "
	    "--seccomp 9 " COMMAND);
	row("sandbox alone / crun run", c, median_us(crun, n), 0.1,
	    "crun --root DIR/run --cgroup-manager=disabled run --bundle DIR peer: /usr bound, "
	    "pid, network, ipc, uts, mount; /dev/null over cgroup.controllers; " COMMAND);
	row("sandbox alone / runc run", c, median_us(runc, n), 0.06,
	    "runc --root DIR/run run --bundle DIR peer: the same bundle; " COMMAND);
	row("sandbox alone / vfork+exec", c, p, 2.0, "vfork, execve " COMMAND);
	row("claimed from the pool / vfork+exec", w, p, 1.2, "vfork, execve " COMMAND);
	row("exec in a live sandbox / vfork+exec", l, p, 1.05, "vfork, execve " COMMAND);
	row("exec in a watched live sandbox / in an unwatched one", s, l, WATCHED_GOAL,
	    "the same command in a live sandbox without a watch");
	row("sustained: a start, its end, its spares / a second's 300th part", (double)each / 1e3,
	    1e6 / SUSTAINED, 1.0, "the limit");
	return 0;
}
