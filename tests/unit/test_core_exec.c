#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "broker/init/proto.h"
#include "creds/cert.h"
#include "lib/buf.h"
#include "lib/chan.h"
#include "tests/support/core_rig.h"
#include "tests/support/record_memory.h"

/*
 * channel.exec against a whole core: the first channel makes the session, the request lies in
 * init's socket before init is there, the worker gets the other ends.
 */

static int setup(void **state)
{
	*state = core_rig_new(false, NULL);
	return 0;
}

static int teardown(void **state)
{
	core_rig_free(*state);
	return 0;
}

/* What init would read: the request and its descriptors. */
static size_t read_request(int fd, struct init_request *q, int fds[4])
{
	static uint8_t data[INIT_REQUEST_MAX];
	char control[CMSG_SPACE(4 * sizeof(int))] __attribute__((aligned(8)));
	struct iovec iov = {data, sizeof data};
	struct msghdr h = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control,
	    .msg_controllen = sizeof control};
	ssize_t n = recvmsg(fd, &h, MSG_DONTWAIT);
	struct cmsghdr *cm;
	size_t nfds;

	assert_true(n > 0);
	assert_int_equal(init_parse(q, data, (size_t)n), 0);
	cm = CMSG_FIRSTHDR(&h);
	if (!cm)
		return 0;
	nfds = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	memcpy(fds, CMSG_DATA(cm), nfds * sizeof(int));
	return nfds;
}

static const char *env_of(const struct init_request *q, const char *name)
{
	for (size_t i = 0; q->envp[i]; i++)
		if (strncmp(q->envp[i], name, strlen(name)) == 0 && q->envp[i][strlen(name)] == '=')
			return q->envp[i] + strlen(name) + 1;
	return "";
}

static void the_first_channel_makes_the_session(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_agent(r);
	struct msg start = MSG_INIT, m = MSG_INIT;
	struct init_request q;
	int init, fds[4], inner_out;
	char byte;

	rig_exec(w, 1, "echo hello", false);
	rig_expect(r->spawn, "sandbox.start", &start);
	init = msg_take_fd(&start, 0);
	assert_int_equal(read_request(init, &q, fds), 4);
	assert_int_equal(q.type, INIT_EXEC);
	assert_int_equal(q.flags, 0);
	assert_string_equal(q.cwd, "/home/agent");
	assert_string_equal(q.argv[0], "/bin/bash");
	assert_string_equal(q.argv[1], "-c");
	assert_string_equal(q.argv[2], "echo hello");
	assert_null(q.argv[3]);
	assert_string_equal(env_of(&q, "HOME"), "/home/agent");
	assert_string_equal(env_of(&q, "USER"), "agent");
	assert_string_equal(env_of(&q, "POSTERN_TENANT"), "demo");
	assert_string_equal(env_of(&q, "POSTERN_SESSION"), msg_str(&start, "session"));
	assert_string_equal(env_of(&q, "POSTERN_CRED"), "127.0.0.1:4712");
	init_request_done(&q);
	rig_expect(w, "channel.started", &m);
	assert_int_equal(m.nfds, 4);
	/* what the sandbox writes arrives at the worker, and the status by the last */
	inner_out = fds[1];
	assert_int_equal(write(inner_out, "x", 1), 1);
	assert_int_equal(read(m.fds[1], &byte, 1), 1);
	assert_int_equal(write(fds[3], "s", 1), 1);
	assert_int_equal(read(m.fds[3], &byte, 1), 1);
	assert_int_equal(byte, 's');
	for (int i = 0; i < 4; i++) {
		assert_true(fcntl(m.fds[i], F_GETFD) & FD_CLOEXEC);
		(void)close(fds[i]);
	}
	msg_done(&m);
	msg_done(&start);
	/* our end of init's socket is deaf */
	assert_int_equal(send(init, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(record_memory_count(r->log, "session.start"), 1);
	assert_int_equal(record_memory_count(r->log, "channel.exec"), 1);
	assert_string_equal(record_memory_text(r->log, "channel.exec", "command"), "echo hello");
	assert_string_equal(record_memory_text(r->log, "channel.exec", "decision"), "allow");
	assert_non_null(strstr(record_memory_text(r->log, "channel.exec", "rule"), ".allow"));
	assert_int_equal(strlen(record_memory_text(r->log, "channel.exec", "policy")), 64);
	(void)close(init);
	rig_end_free(w);
}

static void both_records_are_durable_before_anything_moves(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_agent(r);

	rig_turns(r);
	record_memory_mode(r->log, RECORD_HOLDS);
	rig_exec(w, 1, "true", false);
	rig_expect_nothing(w);
	rig_expect_nothing(r->spawn);
	record_memory_release(r->log);
	rig_expect(r->spawn, "sandbox.start", NULL);
	rig_expect(w, "channel.started", NULL);
	rig_end_free(w);
}

static void a_log_that_fails_starts_nothing(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_agent(r);

	rig_turns(r);
	record_memory_mode(r->log, RECORD_FAILS);
	rig_exec(w, 1, "true", false);
	rig_denied(w, 1, "log cannot be written");
	rig_expect_nothing(r->spawn);
	assert_null(r->core->sessions);
	/* and when it works again, so does the connection */
	record_memory_mode(r->log, RECORD_COMMITS);
	rig_exec(w, 2, "true", false);
	rig_expect(r->spawn, "sandbox.start", NULL);
	rig_end_free(w);
}

static void a_second_channel_uses_the_same_sandbox(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_agent(r);
	char id[CORE_ID_MAX + 1];
	int init = rig_session(r, w, id), fds[4];
	struct init_request q;
	struct msg m = MSG_INIT;

	for (size_t i = 0, n = read_request(init, &q, fds); i < n; i++)
		(void)close(fds[i]);
	init_request_done(&q);
	rig_exec(w, 2, NULL, false);
	rig_expect(w, "channel.started", &m);
	assert_string_equal(msg_str(&m, "session"), id);
	msg_done(&m);
	for (size_t i = 0, n = read_request(init, &q, fds); i < n; i++)
		(void)close(fds[i]);
	assert_string_equal(q.argv[1], "-l");
	init_request_done(&q);
	rig_expect_nothing(r->spawn);
	assert_int_equal(record_memory_count(r->log, "session.start"), 1);
	(void)close(init);
	rig_end_free(w);
}

static void a_terminal_comes_from_spawn(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_agent(r);
	struct msg start = MSG_INIT, ask = MSG_INIT, m = MSG_INIT;
	int init, master = posix_openpt(O_RDWR | O_NOCTTY), pair[2], fds[4];
	struct init_request q;
	struct winsize size;

	assert_true(master >= 0);
	rig_exec(w, 1, NULL, true);
	rig_expect(r->spawn, "sandbox.start", &start);
	init = msg_take_fd(&start, 0);
	rig_expect(r->spawn, "sandbox.pty", &ask);
	rig_expect_nothing(w);
	pair[0] = master;
	pair[1] = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_equal(chan_send(r->spawn->chan, "sandbox.pty.opened", ask.id,
	                     json_pack("{s:s}", "session", msg_str(&ask, "session")), pair, 2),
	    0);
	rig_expect(w, "channel.started", &m);
	assert_int_equal(m.nfds, 2);
	assert_int_equal(ioctl(master, TIOCGWINSZ, &size), 0);
	assert_int_equal(size.ws_col, 80);
	assert_int_equal(read_request(init, &q, fds), 2);
	assert_int_equal(q.flags, INIT_PTY);
	assert_string_equal(env_of(&q, "TERM"), "xterm");
	init_request_done(&q);
	for (int i = 0; i < 2; i++) {
		(void)close(fds[i]);
		(void)close(pair[i]);
	}
	(void)close(init);
	msg_done(&start);
	msg_done(&ask);
	msg_done(&m);
	rig_end_free(w);
}

static void a_terminal_that_fails_is_denied(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_agent(r);
	struct msg ask = MSG_INIT;

	rig_exec(w, 1, NULL, true);
	rig_expect(r->spawn, "sandbox.start", NULL);
	rig_expect(r->spawn, "sandbox.pty", &ask);
	rig_send(r->spawn, "sandbox.failed", ask.id,
	    json_pack("{s:s, s:s, s:s}", "session", msg_str(&ask, "session"), "step", "pty",
	        "reason", "no terminals left"));
	rig_denied(w, 1, "no terminals left");
	msg_done(&ask);
	rig_end_free(w);
}

static void what_the_role_may_not_is_denied_and_recorded(void **state)
{
	struct rig *r = *state;
	struct rig_cert c = {
	    .principal = "narrow", .from_s = -60, .to_s = 300, .permit = CERT_PERMIT_PTY};
	struct rig_end *w = rig_worker(r, "192.0.2.7");

	rig_auth(w, "narrow", rig_cert(r, &c), true);
	rig_expect(w, "auth.verdict", NULL);
	rig_exec(w, 1, NULL, false);
	rig_denied(w, 1, "shell is not allowed");
	assert_string_equal(record_memory_text(r->log, "channel.denied", "decision"), "deny");
	assert_string_equal(record_memory_text(r->log, "channel.denied", "rule"),
	    "tenants/demo.yaml roles.narrow.allow");
	rig_exec(w, 1, "true", true);
	rig_denied(w, 1, "pty is not allowed");
	rig_expect_nothing(r->spawn);
	rig_end_free(w);
}

static void a_certificate_without_permit_pty_gets_none(void **state)
{
	struct rig *r = *state;
	struct rig_cert c = {.principal = "agent", .from_s = -60, .to_s = 300};
	struct rig_end *w = rig_worker(r, "192.0.2.7");

	rig_auth(w, "agent", rig_cert(r, &c), true);
	rig_expect(w, "auth.verdict", NULL);
	rig_exec(w, 1, NULL, true);
	rig_denied(w, 1, "pty is not allowed");
	rig_end_free(w);
}

static void a_forced_command_replaces_what_was_asked(void **state)
{
	struct rig *r = *state;
	struct rig_cert c = {.principal = "agent", .from_s = -60, .to_s = 300, .command = "backup"};
	struct rig_end *w = rig_worker(r, "192.0.2.7");
	struct msg m = MSG_INIT;
	struct init_request q;
	int init, fds[4];

	rig_auth(w, "agent", rig_cert(r, &c), true);
	rig_expect(w, "auth.verdict", NULL);
	rig_exec(w, 1, "rm -rf /", false);
	rig_expect(r->spawn, "sandbox.start", &m);
	init = msg_take_fd(&m, 0);
	for (size_t i = 0, n = read_request(init, &q, fds); i < n; i++)
		(void)close(fds[i]);
	assert_string_equal(q.argv[2], "backup");
	assert_string_equal(env_of(&q, "SSH_ORIGINAL_COMMAND"), "rm -rf /");
	init_request_done(&q);
	msg_done(&m);
	(void)close(init);
	rig_end_free(w);
}

static void only_listed_environment_gets_in(void **state)
{
	static const char *const sent[] = {"LANG=de_DE", "GIT_AUTHOR_NAME=x y", "LD_PRELOAD=/x",
	    "HOME=/root", "POSTERN_SESSION=s-1", "NOEQUALS", "GIT_=", "=x"};
	struct rig *r = *state;
	struct rig_end *w = rig_agent(r);
	json_t *env = json_array(), *body;
	struct msg m = MSG_INIT;
	struct init_request q;
	int init, fds[4];

	for (size_t i = 0; i < sizeof sent / sizeof sent[0]; i++)
		(void)json_array_append_new(env, msg_json_bytes(sent[i], strlen(sent[i])));
	body = json_pack("{s:i, s:s, s:o, s:o}", "channel", 1, "kind", "exec", "command",
	    msg_json_bytes("true", 4), "env", env);
	rig_send(w, "channel.exec", 101, body);
	rig_expect(r->spawn, "sandbox.start", &m);
	init = msg_take_fd(&m, 0);
	for (size_t i = 0, n = read_request(init, &q, fds); i < n; i++)
		(void)close(fds[i]);
	assert_string_equal(env_of(&q, "LANG"), "de_DE");
	assert_string_equal(env_of(&q, "GIT_AUTHOR_NAME"), "x y");
	assert_string_equal(env_of(&q, "LD_PRELOAD"), "");
	assert_string_equal(env_of(&q, "HOME"), "/home/agent");
	assert_string_equal(env_of(&q, "POSTERN_SESSION"), msg_str(&m, "session"));
	init_request_done(&q);
	msg_done(&m);
	(void)close(init);
	rig_end_free(w);
}

static void one_channel_too_many_is_denied(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_agent(r);
	char id[CORE_ID_MAX + 1];
	int init = rig_session(r, w, id);

	for (int i = 2; i <= 4; i++) {
		rig_exec(w, i, "true", false);
		rig_expect(w, "channel.started", NULL);
	}
	rig_exec(w, 5, "true", false);
	rig_denied(w, 5, "more than 4 channels");
	rig_send(w, "channel.ended", 0,
	    json_pack("{s:i, s:i, s:i, s:i, s:i}", "channel", 2, "exit", 0, "bytes_in", 1,
	        "bytes_out", 2, "bytes_err", 3));
	rig_exec(w, 5, "true", false);
	rig_expect(w, "channel.started", NULL);
	assert_int_equal(record_memory_count(r->log, "channel.end"), 1);
	(void)close(init);
	rig_end_free(w);
}

static void a_channel_number_is_used_once_at_a_time(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_agent(r);

	rig_exec(w, 1, "true", false);
	rig_expect(w, "channel.started", NULL);
	rig_exec(w, 1, "true", false);
	rig_expect_closed(w);
	rig_end_free(w);
}

static void an_unknown_subsystem_is_denied(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_agent(r);

	rig_send(w, "channel.exec", 101,
	    json_pack("{s:i, s:s, s:o}", "channel", 1, "kind", "subsystem", "command",
	        msg_json_bytes("netconf", 7)));
	rig_denied(w, 1, "subsystem");
	rig_end_free(w);
}

static void nul_in_a_command_costs_the_worker_its_link(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_agent(r);

	rig_send(w, "channel.exec", 101,
	    json_pack("{s:i, s:s, s:o}", "channel", 1, "kind", "exec", "command",
	        msg_json_bytes("a\0b", 3)));
	rig_expect_closed(w);
	rig_end_free(w);
}

static void a_signal_goes_to_init(void **state)
{
	struct rig *r = *state;
	struct rig_end *w = rig_agent(r);
	char id[CORE_ID_MAX + 1];
	int init = rig_session(r, w, id), fds[4];
	struct init_request q;

	for (size_t i = 0, n = read_request(init, &q, fds); i < n; i++)
		(void)close(fds[i]);
	init_request_done(&q);
	rig_send(w, "channel.signal", 0, json_pack("{s:i, s:s}", "channel", 1, "signal", "TERM"));
	rig_send(
	    w, "channel.signal", 0, json_pack("{s:i, s:s}", "channel", 1, "signal", "NONSENSE"));
	rig_send(w, "channel.signal", 0, json_pack("{s:i, s:s}", "channel", 9, "signal", "TERM"));
	rig_turns(r);
	assert_int_equal(read_request(init, &q, fds), 0);
	assert_int_equal(q.type, INIT_SIGNAL);
	assert_int_equal(q.value, 15);
	init_request_done(&q);
	assert_int_equal(recv(init, fds, 1, MSG_DONTWAIT), -1);
	(void)close(init);
	rig_end_free(w);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(the_first_channel_makes_the_session),
	    T(both_records_are_durable_before_anything_moves),
	    T(a_log_that_fails_starts_nothing),
	    T(a_second_channel_uses_the_same_sandbox),
	    T(a_terminal_comes_from_spawn),
	    T(a_terminal_that_fails_is_denied),
	    T(what_the_role_may_not_is_denied_and_recorded),
	    T(a_certificate_without_permit_pty_gets_none),
	    T(a_forced_command_replaces_what_was_asked),
	    T(only_listed_environment_gets_in),
	    T(one_channel_too_many_is_denied),
	    T(a_channel_number_is_used_once_at_a_time),
	    T(an_unknown_subsystem_is_denied),
	    T(nul_in_a_command_costs_the_worker_its_link),
	    T(a_signal_goes_to_init),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
