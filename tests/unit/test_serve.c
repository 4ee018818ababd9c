/*
 * Spawn's loop in a child process of its own, with a back end that builds nothing; the test is
 * supervisor and core.
 */
#include "broker/spawn/serve.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/spawn/backend.h"
#include "lib/chan.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/log.h"
#include "lib/msg.h"
#include "lib/util.h"
#include "tests/support/backend_null.h"

#define SECONDS(n) ((n)*NSEC_PER_SEC)
struct system {
	struct chan *supervisor, *core;
	int orders; /* a pipe of letters to the process under test */
	pid_t pid;
};

static struct backend *null_backend;
static int orders_fd;

/* ---- the process under test ---- */

static int lease_start(void *arg, int link, int listener, pid_t *ret_pid, struct err *e)
{
	pid_t pid = fork();

	(void)arg, (void)e;
	if (pid ==
	    0) { /* takes the knock, says a letter over its link, and ends when that is closed */
		struct pollfd p = {3, POLLIN, 0};
		char c;

		if (dup2(link, 100) < 0 || dup2(listener, 101) < 0 || dup2(100, 3) < 0 ||
		    dup2(101, 4) < 0 || close_range(5, ~0u, 0) < 0 || read(4, &c, 1) != 1 ||
		    write(3, "{}", 2) != 2)
			_exit(1);
		(void)poll(&p, 1, -1);
		_exit(0);
	}
	*ret_pid = pid;
	return fd_pidfd_open(pid);
}

static unsigned ties;

static int tie(void *arg, const char *session, char *path, size_t size, struct err *e)
{
	(void)arg;
	(void)e;
	(void)snprintf(path, size, "/ties/%s", session);
	ties++;
	return open("/dev/null", O_WRONLY | O_CLOEXEC);
}

static int untie(void *arg, const char *session)
{
	(void)arg;
	(void)session;
	if (ties > 0)
		ties--;
	return 0;
}

/* Orders are obeyed at the next probe. */
static void obey(struct backend *b)
{
	char c;

	while (read(orders_fd, &c, 1) == 1) {
		if (c == 'f' || c == 'o')
			backend_null_fail(b, c == 'f' ? "rootfs" : NULL);
		else if (c == 'h')
			backend_null_hold(b, 3);
		else if (c == 'x')
			backend_null_exit(b);
		else if (c == 'k')
			backend_null_knock(b);
	}
}

static json_t *probe_and_obey(struct backend *b)
{
	obey(b);
	return json_pack("{s:s,s:I,s:i}", "backend", b->ops->name, "count",
	    (json_int_t)backend_null_count(b), "ties", (int)ties);
}

static int run(int supervisor)
{
	struct backend_ops ops;
	struct serve_config c = {
	    .supervisor = supervisor, .lease_start = lease_start, .tie = tie, .untie = untie};

	null_backend = backend_null_new();
	ops = *null_backend->ops;
	ops.probe = probe_and_obey;
	null_backend->ops = &ops;
	c.b = null_backend;
	log_open("test", LOG_CRIT);

	int r = serve_run(&c);
	return r == 0 && backend_null_count(null_backend) == 0 && ties == 0 ? 0 : 1;
}

/* ---- the test ---- */

static void link_core(struct system *s)
{
	int pair[2];

	assert_int_equal(fd_seqpacket_pair(pair), 0);
	chan_free(s->core);
	s->core = chan_new(pair[0], MSG_CORE, MSG_SPAWN);
	assert_int_equal(chan_send(s->supervisor, "core.link", 0, NULL, &pair[1], 1), 0);
	(void)close(pair[1]);
}

static int setup(void **state)
{
	static struct system s;
	struct msg m = MSG_INIT;
	int pair[2], orders[2];

	s = (struct system){0};
	assert_int_equal(fd_seqpacket_pair(pair), 0);
	assert_int_equal(pipe2(orders, O_CLOEXEC | O_NONBLOCK), 0);
	s.pid = fork();
	if (s.pid == 0) {
		(void)close(pair[0]);
		(void)close(orders[1]);
		orders_fd = orders[0];
		_exit(run(pair[1]));
	}
	(void)close(pair[1]);
	(void)close(orders[0]);
	s.orders = orders[1];
	s.supervisor = chan_new(pair[0], MSG_SUPERVISOR, MSG_SPAWN);
	struct pollfd p = {chan_fd(s.supervisor), POLLIN, 0};
	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_int_equal(chan_recv(s.supervisor, &m, NULL), 1);
	assert_true(msg_is(&m, "ready"));
	msg_done(&m);
	link_core(&s);
	*state = &s;
	return 0;
}

static int teardown(void **state)
{
	struct system *s = *state;
	int status;

	if (s->supervisor)
		(void)chan_send(s->supervisor, "shutdown", 0, NULL, NULL, 0);
	assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
	chan_free(s->supervisor);
	chan_free(s->core);
	util_close(&s->orders);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0); /* nothing was left */
	return 0;
}

static void ask(
    struct system *s, const char *type, json_t *body, const int *fds, size_t n, struct msg *m)
{
	struct err e = ERR_INIT;
	int r = chan_call(s->core, type, body, fds, n, clock_mono_ns() + SECONDS(5), m, &e);

	assert_string_equal(r < 0 ? err_text(&e) : "", "");
}

/* The next message that is no answer. */
static void hear(struct system *s, const char *type, struct msg *m)
{
	struct pollfd p = {chan_fd(s->core), POLLIN, 0};
	struct err e = ERR_INIT;

	if (!chan_pending(s->core))
		assert_int_equal(poll(&p, 1, 5000), 1);
	assert_int_equal(chan_recv(s->core, m, &e), 1);
	if (!msg_is(m, type))
		print_error("heard %s\n", m->type->name);
	assert_true(msg_is(m, type));
}

static long long probe(struct system *s, const char *order, const char *what)
{
	struct msg m = MSG_INIT;
	long long n;

	assert_int_equal(write(s->orders, order, strlen(order)), (ssize_t)strlen(order));
	ask(s, "probe", NULL, NULL, 0, &m);
	n = json_integer_value(json_object_get(msg_obj(&m, "host"), what));
	msg_done(&m);
	return n;
}

static json_t *request(const char *session, bool credentials)
{
	struct plan p = {.tenant = "demo",
	    .role = "agent",
	    .template_name = "default",
	    .credentials = credentials};

	return json_pack("{s:s,s:o}", "session", session, "plan", plan_pack(&p));
}

static void start(struct system *s, const char *session, bool credentials, struct msg *m)
{
	cleanup_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	ask(s, "sandbox.start", request(session, credentials), &null, 1, m);
}

static void started(struct system *s, const char *session, bool credentials)
{
	struct msg m = MSG_INIT;

	start(s, session, credentials, &m);
	assert_true(msg_is(&m, "sandbox.started"));
	assert_string_equal(msg_str(&m, "session"), session);
	msg_done(&m);
}

static void ended(struct system *s, const char *session, const char *reason)
{
	struct msg m = MSG_INIT;

	hear(s, "sandbox.ended", &m);
	assert_string_equal(msg_str(&m, "session"), session);
	assert_string_equal(msg_str(&m, "reason"), reason);
	msg_done(&m);
}

static void end(struct system *s, const char *session)
{
	assert_int_equal(
	    chan_send(s->core, "sandbox.end", 0, json_pack("{s:s}", "session", session), NULL, 0),
	    0);
}

static void starts_and_ends(void **state)
{
	struct system *s = *state;
	struct msg m = MSG_INIT;

	started(s, "one", false);
	started(s, "two", false);
	ask(s, "sandbox.list", NULL, NULL, 0, &m);
	assert_int_equal(json_array_size(msg_obj(&m, "sessions")), 2);
	msg_done(&m);
	end(s, "one");
	hear(s, "sandbox.ended", &m);
	assert_string_equal(msg_str(&m, "session"), "one");
	assert_int_equal(msg_int(&m, "cpu_us", 0), 1);
	assert_int_equal(msg_int(&m, "memory_peak", 0), 2);
	assert_int_equal(msg_int(&m, "oom_kills", 0), 3);
	msg_done(&m);
	assert_int_equal(probe(s, "", "count"), 1);
}

static void a_failed_start_names_the_step(void **state)
{
	struct system *s = *state;
	struct msg m = MSG_INIT;

	(void)probe(s, "f", "count");
	start(s, "one", false, &m);
	assert_string_equal(msg_str(&m, "step"), "rootfs");
	assert_string_equal(msg_str(&m, "reason"), "asked to fail\\xff");
	msg_done(&m);
	json_t *o = request("one", false);
	ask(s, "template.prepare", json_pack("{s:O}", "plan", json_object_get(o, "plan")), NULL, 0,
	    &m);
	json_decref(o);
	assert_string_equal(msg_str(&m, "step"), "rootfs");
	assert_string_equal(msg_str(&m, "reason"), "asked to fail\\xff");
	msg_done(&m);
	(void)probe(s, "o", "count");
	started(s, "one", false); /* the name is free again */
}

static void a_plan_that_is_none_is_refused(void **state)
{
	struct system *s = *state;
	struct msg m = MSG_INIT;
	cleanup_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	json_t *o = request("one", false);

	assert_int_equal(
	    json_object_set_new(json_object_get(o, "plan"), "tenant", json_string("../x")), 0);
	ask(s, "sandbox.start", o, &null, 1, &m);
	assert_true(msg_is(&m, "sandbox.failed"));
	assert_string_equal(msg_str(&m, "step"), "plan");
	msg_done(&m);
}

static void a_session_name_must_be_one_and_free(void **state)
{
	static const char *const bad[] = {"", "../x", "a/b", "A", "a b", "."};
	struct system *s = *state;
	struct msg m = MSG_INIT;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		start(s, bad[i], false, &m);
		assert_true(msg_is(&m, "sandbox.failed"));
		assert_string_equal(msg_str(&m, "step"), "session");
		msg_done(&m);
	}
	started(s, "one", false);
	start(s, "one", false, &m);
	assert_true(msg_is(&m, "sandbox.failed"));
	msg_done(&m);
	assert_int_equal(probe(s, "", "count"), 1);
}

static void an_init_that_exits_is_told(void **state)
{
	struct system *s = *state;

	started(s, "one", false);
	(void)probe(s, "x", "count");
	ended(s, "one", "out of memory");
	assert_int_equal(probe(s, "", "count"), 0);
}

static void what_cannot_be_removed_yet_is_tried_again(void **state)
{
	struct system *s = *state;
	struct msg m = MSG_INIT;

	started(s, "one", false);
	(void)probe(s, "h", "count");
	end(s, "one");
	ended(s, "one", "ended"); /* not held up by it */
	assert_int_equal(probe(s, "", "count"), 1);
	start(s, "one", false, &m); /* its cgroup's name is still taken */
	assert_true(msg_is(&m, "sandbox.failed"));
	msg_done(&m);
	int64_t deadline = clock_mono_ns() + SECONDS(5);
	while (probe(s, "", "count") > 0)
		assert_true(clock_mono_ns() < deadline);
	started(s, "one", false);
}

static void ending_what_is_not_there_is_answered(void **state)
{
	struct system *s = *state;

	end(s, "nobody");
	ended(s, "nobody", "there is no such sandbox");
}

static void gives_terminals(void **state)
{
	struct system *s = *state;
	struct msg m = MSG_INIT;

	ask(s, "sandbox.pty", json_pack("{s:s}", "session", "one"), NULL, 0, &m);
	assert_true(msg_is(&m, "sandbox.failed"));
	msg_done(&m);
	started(s, "one", false);
	ask(s, "sandbox.pty", json_pack("{s:s}", "session", "one"), NULL, 0, &m);
	assert_true(msg_is(&m, "sandbox.pty.opened"));
	assert_int_equal(m.nfds, 2);
	msg_done(&m);
}

static void a_knock_starts_one_lease_process(void **state)
{
	struct system *s = *state;
	struct msg m = MSG_INIT;
	char text[8];

	started(s, "one", true);
	(void)probe(s, "k", "count");
	hear(s, "lease.up", &m);
	assert_string_equal(msg_str(&m, "session"), "one");
	int fd = msg_take_fd(&m, 0);
	msg_done(&m);
	struct pollfd p = {fd, POLLIN, 0};
	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_int_equal(read(fd, text, sizeof text), 2);
	/* while it lives, knocks are its own */
	(void)probe(s, "k", "count");
	struct pollfd quiet = {chan_fd(s->core), POLLIN, 0};
	assert_int_equal(poll(&quiet, 1, 100), 0);
	/* and when it is gone another takes its place */
	(void)close(fd);
	hear(s, "lease.up", &m);
	msg_done(&m);
	end(s, "one");
	ended(s, "one", "ended");
}

static void a_tie_goes_with_its_session(void **state)
{
	struct system *s = *state;
	struct msg m = MSG_INIT;

	ask(s, "tie.make", json_pack("{s:s}", "session", "one"), NULL, 0, &m);
	assert_true(msg_is(&m, "tie.made"));
	assert_string_equal(msg_str(&m, "path"), "/ties/one");
	assert_int_equal(m.nfds, 1);
	msg_done(&m);
	assert_int_equal(probe(s, "", "ties"), 1);
	started(s, "one", false); /* the sandbox of that session */
	end(s, "one");
	ended(s, "one", "ended");
	assert_int_equal(probe(s, "", "ties"), 0);

	/* one that never had a sandbox */
	ask(s, "tie.make", json_pack("{s:s}", "session", "two"), NULL, 0, &m);
	msg_done(&m);
	end(s, "two");
	ended(s, "two", "ended");
	assert_int_equal(probe(s, "", "ties"), 0);
}

static void another_core_finds_the_sandboxes(void **state)
{
	struct system *s = *state;
	struct msg m = MSG_INIT;

	started(s, "one", false);
	link_core(s);
	ask(s, "sandbox.list", NULL, NULL, 0, &m);
	assert_int_equal(json_array_size(msg_obj(&m, "sessions")), 1);
	msg_done(&m);
	end(s, "one");
	ended(s, "one", "ended");
}

static void a_core_that_breaks_the_rules_is_dropped(void **state)
{
	struct system *s = *state;
	struct pollfd p = {chan_fd(s->core), POLLIN, 0};
	char c;

	started(s, "one", false);
	assert_int_equal(write(chan_fd(s->core), "nonsense", 8), 8);
	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_int_equal(read(chan_fd(s->core), &c, 1), 0);
	link_core(s); /* and nothing else has happened */
	assert_int_equal(probe(s, "", "count"), 1);
}

static void without_a_supervisor_it_ends(void **state)
{
	struct system *s = *state;

	started(s, "one", false);
	chan_free(s->supervisor);
	s->supervisor = NULL; /* teardown waits for the end, with nothing left */
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(starts_and_ends),
	    TEST(a_failed_start_names_the_step),
	    TEST(a_plan_that_is_none_is_refused),
	    TEST(a_session_name_must_be_one_and_free),
	    TEST(an_init_that_exits_is_told),
	    TEST(what_cannot_be_removed_yet_is_tried_again),
	    TEST(ending_what_is_not_there_is_answered),
	    TEST(gives_terminals),
	    TEST(a_knock_starts_one_lease_process),
	    TEST(a_tie_goes_with_its_session),
	    TEST(another_core_finds_the_sandboxes),
	    TEST(a_core_that_breaks_the_rules_is_dropped),
	    TEST(without_a_supervisor_it_ends),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
