/* The supervisor with stub daemons, which log what they were given and told. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/clock.h"
#include "lib/util.h"
#include "tests/support/claim_ids.h"
#include "tests/support/supervisor_stub.h"

static uint32_t base; /* of two blocks of ids */
struct world {
	char dir[64];
	pid_t pid;
	int out; /* the supervisor's stdout */
	char ready[128];
};

static void put(const struct world *w, const char *name, const char *text)
{
	char path[200];
	FILE *f;

	(void)snprintf(path, sizeof path, "%s/%s", w->dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	(void)fputs(text, f);
	(void)fclose(f);
}

static int setup(void **state)
{
	static const char *const stubs[] = {
	    "postern-core", "postern-spawn", "postern-signer", "postern-export", "postern-gateway"};
	struct world *w = calloc(1, sizeof *w);
	const char *build = getenv("BUILD");
	char path[PATH_MAX];

	(void)snprintf(w->dir, sizeof w->dir, "/tmp/postern-sup-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	(void)snprintf(
	    path, sizeof path, "%s/libexec/postern/postern-supervisor", build ? build : "build");
	stub_copy(path, w->dir, "postern-supervisor");
	for (size_t i = 0; i < ARRAY_LEN(stubs); i++)
		stub_copy("/proc/self/exe", w->dir, stubs[i]);
	(void)snprintf(path, sizeof path, "%s/state", w->dir);
	assert_int_equal(mkdir(path, 0755), 0);
	(void)snprintf(path, sizeof path, "%s/state/etc", w->dir);
	assert_int_equal(mkdir(path, 0755), 0);
	(void)snprintf(path, sizeof path,
	    "ids: {base: %u, count: 131072}\ngateway: {spare_workers: 2}\n", base);
	put(w, "state/etc/postern.yaml", path);
	w->out = -1;
	*state = w;
	return 0;
}

static pid_t start(struct world *w, int *ret_out)
{
	char exe[128], state[128];
	int p[2];
	pid_t pid;

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	(void)snprintf(exe, sizeof exe, "%s/postern-supervisor", w->dir);
	(void)snprintf(state, sizeof state, "state=%s/state", w->dir);
	if ((pid = fork()) == 0) {
		char *argv[] = {exe, state, (char *)(uintptr_t) "listen=127.0.0.1:0",
		    (char *)(uintptr_t) "foreground", NULL};

		(void)dup2(p[1], 1);
		execv(exe, argv);
		_exit(127);
	}
	(void)close(p[1]);
	*ret_out = p[0];
	return pid;
}

static void up(struct world *w)
{
	struct pollfd p;
	ssize_t n;

	w->pid = start(w, &w->out);
	p = (struct pollfd){w->out, POLLIN, 0};
	assert_int_equal(poll(&p, 1, 15000), 1);
	n = read(w->out, w->ready, sizeof w->ready - 1);
	assert_true(n > 0);
	w->ready[n] = '\0';
}

/* The status that pid ends with, within ten seconds. */
static int ended(pid_t pid)
{
	int64_t end = clock_mono_ns() + 10 * NSEC_PER_SEC;
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (clock_mono_ns() > end)
			return -1;
		(void)poll(NULL, 0, 20);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int down(struct world *w)
{
	pid_t pid = w->pid;

	w->pid = 0;
	(void)kill(pid, SIGTERM);
	return ended(pid);
}

static int teardown(void **state)
{
	struct world *w = *state;
	pid_t pid;

	if (w->pid > 0 && down(w) < 0)
		(void)kill(w->pid, SIGKILL);
	if (w->out >= 0)
		(void)close(w->out);
	if ((pid = fork()) == 0) {
		execlp("rm", "rm", "-rf", w->dir, NULL);
		_exit(127);
	}
	(void)waitpid(pid, NULL, 0);
	free(w);
	return 0;
}

/* The log's n-th line (from 1) that holds both texts, after waiting for it; NULL after ms. */
static const char *line(const struct world *w, const char *a, const char *b, int nth, int ms)
{
	static char text[512];
	int64_t end = clock_mono_ns() + ms * (NSEC_PER_SEC / 1000);
	char path[128];

	(void)snprintf(path, sizeof path, "%s/log", w->dir);
	do {
		FILE *f = fopen(path, "r");
		int seen = 0;

		while (f && fgets(text, sizeof text, f))
			if (strstr(text, a) && strstr(text, b) && ++seen == nth) {
				(void)fclose(f);
				text[strcspn(text, "\n")] = '\0';
				return text;
			}
		if (f)
			(void)fclose(f);
		(void)poll(NULL, 0, 20);
	} while (clock_mono_ns() < end);
	return NULL;
}
#define assert_line(w, a, b, nth)                                                                  \
	do {                                                                                       \
		if (!line(w, a, b, nth, 5000))                                                     \
			fail_msg("no line %d with \"%s\" and \"%s\"", nth, a, b);                  \
	} while (0)

static pid_t pid_of(const struct world *w, const char *role, int nth)
{
	char start_text[40];
	const char *l;

	(void)snprintf(start_text, sizeof start_text, "%s started", role);
	l = line(w, start_text, "", nth, 5000);
	assert_non_null(l);
	return (pid_t)strtol(strstr(l, "started ") + 8, NULL, 10);
}

static void gives_each_daemon_exactly_its_descriptors_and_arguments(void **state)
{
	struct world *w = *state;
	char want[200];

	up(w);
	assert_line(w, "core fds 0 1 2 3 4 5 stdin /dev/null", "", 1);
	assert_line(w, "spawn fds 0 1 2 3 4 5 6 stdin /dev/null", "", 1);
	assert_line(w, "signer fds 0 1 2 3 4 stdin /dev/null", "", 1);
	assert_line(w, "listener fds 0 1 2 3 4 stdin /dev/null", "", 1);
	assert_line(w, "export fds 0 1 2 3 4 5 6 stdin /dev/null", "", 1);
	assert_line(w, "worker fds 0 1 2 3 4 5 stdin /dev/null", "", 2);
	(void)snprintf(want, sizeof want,
	    " uid=%u gid=%u config=4 state=5 hostkey=SHA256:", base + 1, base + 1);
	assert_line(w, "core started", want, 1);
	(void)snprintf(want, sizeof want, " instance=main idbase=%u idcount=131072", base);
	assert_line(w, "core started", want, 1);
	(void)snprintf(want, sizeof want,
	    " state=4 libexec=5 workspaces=6 instance=main idbase=%u idcount=131072", base);
	assert_line(w, "spawn started", want, 1);
	(void)snprintf(want, sizeof want, " uid=%u gid=%u keys=4", base + 2, base + 2);
	assert_line(w, "signer started", want, 1);
	(void)snprintf(
	    want, sizeof want, " uid=%u gid=%u config=4 export=5 archive=6", base + 4, base + 4);
	assert_line(w, "export started", want, 1);
	(void)snprintf(want, sizeof want, " listener uid=%u gid=%u config=4", base + 3, base + 3);
	assert_line(w, "listener started", want, 1);
	(void)snprintf(want, sizeof want, " worker uid=%u gid=%u hostkeys=4 config=5 slot=1",
	    base + 4097, base + 4097);
	assert_line(w, "worker started", want, 1);
}

static void tells_the_port_it_got_and_accepts_there(void **state)
{
	struct world *w = *state;
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const char *colon;
	int fd;

	up(w);
	assert_memory_equal(w->ready, "ready 127.0.0.1:", 16);
	colon = strrchr(w->ready, ':');
	a.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
	assert_int_not_equal(a.sin_port, 0);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	(void)close(fd);
}

static void makes_directories_and_sockets_with_their_owners(void **state)
{
	const struct {
		const char *name;
		unsigned uid, mode;
	} want[] = {
	    {"core", base + 1, 0700},
	    {"keys", base + 2, 0700},
	    {"spawn", 0, 0700},
	    {"hostkeys", 0, 0700},
	    {"hostkeys/ssh_host_ed25519_key", 0, 0600},
	    {"run/control.sock", 0, 0660},
	    {"run/pam.sock", 0, 0600},
	    {"run/run.sock", 0, 0666},
	};
	struct world *w = *state;
	struct stat st;
	char path[128];

	up(w);
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		(void)snprintf(path, sizeof path, "%s/state/%s", w->dir, want[i].name);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_uid, want[i].uid);
		assert_int_equal(st.st_mode & 07777, want[i].mode);
	}
	assert_int_equal(down(w), 0);
	(void)snprintf(path, sizeof path, "%s/state/run/control.sock", w->dir);
	assert_int_equal(stat(path, &st), -1);
}

static void links_a_daemon_that_died_again(void **state)
{
	struct world *w = *state;
	pid_t first;

	up(w);
	assert_line(w, "core", "heard link spawn", 1);
	assert_line(w, "spawn", "heard core.link", 1);
	first = pid_of(w, "spawn", 1);
	assert_int_equal(kill(first, SIGKILL), 0);
	assert_int_not_equal(pid_of(w, "spawn", 2), first);
	assert_line(w, "core", "heard link spawn", 2);
	assert_line(w, "spawn", "heard core.link", 2);
	/* and when the core dies everybody gets a new one */
	assert_int_equal(kill(pid_of(w, "core", 1), SIGKILL), 0);
	assert_line(w, "core", "heard link signer", 2);
	assert_line(w, "signer", "heard core.link", 2);
	assert_line(w, "listener", "heard core.link", 2);
}

static void gives_stored_descriptors_to_the_core_that_comes_back(void **state)
{
	struct world *w = *state;
	pid_t core;

	up(w);
	core = pid_of(w, "core", 1);
	assert_line(w, "heard store.done", "", 1);
	assert_null(line(w, "store.restore", "", 1, 0));
	assert_int_equal(kill(core, SIGUSR1), 0);
	(void)poll(NULL, 0, 300);
	assert_int_equal(kill(core, SIGKILL), 0);
	assert_line(w, "heard store.restore conn:1", "fd yes", 1);
	assert_line(w, "heard store.done", "", 2);
}

static bool supervisor_holds_zero(const struct world *w)
{
	char path[80], target[64];
	bool found = false;

	for (int fd = 0; fd < 64 && !found; fd++) {
		ssize_t n;

		(void)snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)w->pid, fd);
		n = readlink(path, target, sizeof target - 1);
		found = n == 9 && memcmp(target, "/dev/zero", 9) == 0;
	}
	return found;
}

static void closes_stored_descriptors_when_the_core_stays_away(void **state)
{
	struct world *w = *state;
	pid_t core;

	up(w);
	core = pid_of(w, "core", 1);
	assert_int_equal(kill(core, SIGUSR1), 0);
	(void)poll(NULL, 0, 300);
	assert_true(supervisor_holds_zero(w));
	put(w, "core.silent", "");
	assert_int_equal(kill(core, SIGKILL), 0);
	(void)poll(NULL, 0, 8000);
	assert_true(supervisor_holds_zero(w));
	(void)poll(NULL, 0, 3000);
	assert_false(supervisor_holds_zero(w));
}

static void keeps_spare_workers_each_with_an_id_of_its_own(void **state)
{
	struct world *w = *state;
	pid_t pid;

	put(w, "listener.uses", "");
	up(w);
	assert_line(w, "heard worker.spare", "slot 0 ", 1);
	assert_line(w, "heard worker.spare", "slot 1 ", 1);
	assert_line(w, "heard worker.spare", "slot 2 ", 1); /* for the used one */
	assert_null(line(w, "heard worker.spare", "slot 3 ", 1, 300));
	pid = pid_of(w, "worker", 1);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_line(w, "heard worker.gone", "status 0 signal 9 ", 1);
}

static void starts_workers_again_for_a_new_listener(void **state)
{
	struct world *w = *state;

	up(w);
	assert_line(w, "heard worker.spare", "slot 1 ", 1);
	assert_int_equal(kill(pid_of(w, "listener", 1), SIGKILL), 0);
	assert_line(w, "heard worker.spare", "slot 2 ", 1);
	assert_line(w, "heard worker.spare", "slot 3 ", 1);
	assert_line(w, "listener", "heard listen ssh", 2);
	assert_null(line(w, "heard worker.gone", "", 1, 300)); /* of workers it never knew */
}

static void ends_a_daemon_that_says_what_it_may_not(void **state)
{
	struct world *w = *state;
	pid_t spawn;

	up(w);
	spawn = pid_of(w, "spawn", 1);
	assert_int_equal(kill(spawn, SIGUSR2), 0);
	assert_int_not_equal(pid_of(w, "spawn", 2), spawn);
	assert_null(line(w, "signer started", "", 2, 200)); /* nobody else suffers */
}

static void tells_the_core_which_processes_run(void **state)
{
	struct world *w = *state;

	up(w);
	assert_line(w, "worker started", "", 2);
	assert_int_equal(kill(pid_of(w, "core", 1), SIGUSR2), 0);
	assert_line(w, "heard status.tell", "processes 8", 1);
}

static void passes_a_reload_on(void **state)
{
	struct world *w = *state;

	up(w);
	assert_int_equal(kill(w->pid, SIGHUP), 0);
	assert_line(w, "core", "heard reload", 1);
	assert_line(w, "listener", "heard reload", 1);
}

static void nobody_waits_for_an_exporter(void **state)
{
	struct world *w = *state;

	put(w, "export.refuses", "");
	up(w);
	assert_line(w, "listener started", "", 1);
	assert_line(w, "export started", "", 3);
	assert_null(line(w, "core started", "", 2, 200));
}

static void stops_with_the_reason_when_a_daemon_refuses_to_start(void **state)
{
	struct world *w = *state;

	put(w, "core.refuses", "");
	w->pid = start(w, &w->out);
	assert_int_equal(ended(w->pid), 1);
	w->pid = 0;
	assert_null(line(w, "core started", "", 2, 0));
}

static void a_second_supervisor_of_the_same_state_is_refused(void **state)
{
	struct world *w = *state;
	int out = -1;
	pid_t second;

	up(w);
	second = start(w, &out);
	assert_int_equal(ended(second), 1);
	(void)close(out);
	assert_int_equal(kill(w->pid, 0), 0);
}

static void a_range_in_use_by_a_process_is_refused(void **state)
{
	struct world *w = *state;
	pid_t squatter = fork();

	if (squatter == 0) {
		if (setresuid(base + 70000, base + 70000, base + 70000) == 0)
			(void)pause();
		_exit(1);
	}
	(void)poll(NULL, 0, 100);
	w->pid = start(w, &w->out);
	assert_int_equal(ended(w->pid), 1);
	w->pid = 0;
	(void)kill(squatter, SIGKILL);
	(void)waitpid(squatter, NULL, 0);
	assert_null(line(w, "core started", "", 1, 0));
}

static void a_stop_ends_everybody_in_order_even_the_stubborn(void **state)
{
	struct world *w = *state;
	pid_t pids[5];

	put(w, "signer.stubborn", "");
	up(w);
	pids[0] = pid_of(w, "core", 1);
	pids[1] = pid_of(w, "spawn", 1);
	pids[2] = pid_of(w, "signer", 1);
	pids[3] = pid_of(w, "listener", 1);
	pids[4] = pid_of(w, "worker", 1);
	assert_int_equal(down(w), 0);
	for (size_t i = 0; i < ARRAY_LEN(pids); i++)
		assert_int_equal(kill(pids[i], 0), -1);
	assert_line(w, "core", "heard shutdown", 1);
}

int main(int argc, char **argv)
{
	const char *name = basename(argv[0]);
#define WORLD(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    WORLD(gives_each_daemon_exactly_its_descriptors_and_arguments),
	    WORLD(tells_the_port_it_got_and_accepts_there),
	    WORLD(makes_directories_and_sockets_with_their_owners),
	    WORLD(links_a_daemon_that_died_again),
	    WORLD(gives_stored_descriptors_to_the_core_that_comes_back),
	    WORLD(closes_stored_descriptors_when_the_core_stays_away),
	    WORLD(keeps_spare_workers_each_with_an_id_of_its_own),
	    WORLD(starts_workers_again_for_a_new_listener),
	    WORLD(ends_a_daemon_that_says_what_it_may_not),
	    WORLD(tells_the_core_which_processes_run),
	    WORLD(passes_a_reload_on),
	    WORLD(nobody_waits_for_an_exporter),
	    WORLD(stops_with_the_reason_when_a_daemon_refuses_to_start),
	    WORLD(a_second_supervisor_of_the_same_state_is_refused),
	    WORLD(a_range_in_use_by_a_process_is_refused),
	    WORLD(a_stop_ends_everybody_in_order_even_the_stubborn),
	};

	if (strncmp(name, "postern-", 8) == 0)
		return stub_main(name, argc, argv);
	base = claim_ids();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
