#include "pam/run_relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/chan.h"
#include "lib/fdio.h"
#include "lib/msg.h"
#include "lib/util.h"
#include "pam/run_request.h"
#include "pam/run_tty.h"
#include "pam/status.h"

/* A relay between a client's ends and a sandbox's ends, with the test in both places. */
struct rig {
	struct relay r;
	struct relay_end end;
	struct chan *core;     /* the core's side */
	int client[3], box[3]; /* the other ends; -1 once closed */
	int status;
	int result;
	pthread_t thread;
};

static void fake_core(struct rig *g)
{
	int pair[2];

	assert_int_equal(fd_seqpacket_pair(pair), 0);
	g->core = chan_new(pair[0], MSG_CORE, MSG_RUN);
	g->r.core = chan_new(pair[1], MSG_RUN, MSG_CORE);
	assert_non_null(g->core);
	assert_non_null(g->r.core);
	g->r.channel = RUN_CHANNEL;
	g->r.tty = -1;
	g->r.signals = -1;
}

static void fake_status(struct rig *g)
{
	int p[2];

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	g->r.status = p[0];
	g->status = p[1];
}

/* sockets: stdin and stdout are one socket with two descriptors, as sshd's are. */
static void rig_pipes(struct rig *g, bool sockets)
{
	int p[2];

	memset(g, 0, sizeof *g);
	fake_core(g);
	fake_status(g);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(pipe2(p, O_CLOEXEC), 0);
		g->r.box[i] = i == 0 ? p[1] : p[0];
		g->box[i] = i == 0 ? p[0] : p[1];
	}
	for (int i = 0; i < 3; i++) {
		if (sockets && i == 1) {
			g->r.local[1] = fcntl(g->r.local[0], F_DUPFD_CLOEXEC, 3);
			g->client[1] = fcntl(g->client[0], F_DUPFD_CLOEXEC, 3);
			continue;
		}
		assert_int_equal(sockets ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p)
		                         : pipe2(p, O_CLOEXEC),
		    0);
		g->r.local[i] = i == 0 ? p[0] : p[1];
		g->client[i] = i == 0 ? p[1] : p[0];
	}
}

static void *run_thread(void *arg)
{
	struct rig *g = arg;

	g->result = relay_run(&g->r, &g->end);
	return NULL;
}

static void rig_start(struct rig *g)
{
	assert_int_equal(pthread_create(&g->thread, NULL, run_thread, g), 0);
}

static void rig_wait(struct rig *g)
{
	assert_int_equal(pthread_join(g->thread, NULL), 0);
	assert_int_equal(g->result, 0);
}

static void rig_done(struct rig *g)
{
	for (int i = 0; i < 3; i++) {
		util_close(&g->client[i]);
		util_close(&g->box[i]);
	}
	util_close(&g->status);
	chan_free(g->core);
	chan_free(g->r.core);
}

static void put_status(struct rig *g, uint8_t kind, uint32_t value)
{
	const uint8_t rec[STATUS_LEN] = {kind, 0, 0, 0, (uint8_t)(value >> 24),
	    (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};

	assert_int_equal(write(g->status, rec, sizeof rec), sizeof rec);
}

static void put(int fd, const char *s)
{
	assert_int_equal(fd_write_full(fd, s, strlen(s)), 0);
}

/* Exactly s, then (end) the end of file. */
static void expect(int fd, const char *s, bool end)
{
	char have[256];
	size_t n = strlen(s);

	assert_true(n < sizeof have);
	assert_int_equal(fd_read_full(fd, have, n), 0);
	assert_memory_equal(have, s, n);
	if (end)
		assert_int_equal(read(fd, have, 1), 0);
}

static void expect_ended(struct rig *g, int exit_code, const char *signal_name)
{
	struct msg m = MSG_INIT;

	assert_int_equal(chan_recv(g->core, &m, NULL), 1);
	assert_true(msg_is(&m, "channel.ended"));
	assert_int_equal(msg_int(&m, "exit", -9), exit_code);
	if (signal_name)
		assert_string_equal(msg_str(&m, "signal"), signal_name);
	else
		assert_null(msg_str(&m, "signal"));
	assert_int_equal(msg_int(&m, "bytes_in", -1), (int64_t)g->end.in);
	assert_int_equal(msg_int(&m, "bytes_out", -1), (int64_t)g->end.out);
	assert_int_equal(msg_int(&m, "bytes_err", -1), (int64_t)g->end.err);
	msg_done(&m);
}

static void three_streams_stay_apart(void **state)
{
	struct rig g;

	(void)state;
	for (int sockets = 0; sockets < 2; sockets++) {
		rig_pipes(&g, sockets);
		rig_start(&g);
		put(g.client[0], "to the command");
		expect(g.box[0], "to the command", false);
		put(g.box[1], "from it");
		put(g.box[2], "complaints");
		expect(g.client[1], "from it", false);
		expect(g.client[2], "complaints", false);
		put_status(&g, STATUS_EXITED, 7);
		rig_wait(&g);
		assert_int_equal(g.end.exit, 7);
		assert_int_equal(g.end.in, 14);
		assert_int_equal(g.end.out, 7);
		assert_int_equal(g.end.err, 10);
		expect_ended(&g, 7, NULL);
		rig_done(&g);
	}
}

static void half_close_goes_both_ways(void **state)
{
	struct rig g;

	(void)state;
	for (int sockets = 0; sockets < 2; sockets++) {
		rig_pipes(&g, sockets);
		rig_start(&g);
		put(g.client[0], "all");
		if (sockets)
			(void)shutdown(g.client[0], SHUT_WR);
		else
			util_close(&g.client[0]);
		expect(g.box[0], "all", true); /* the command sees the end of its input ... */
		put(g.box[1], "still talking");
		expect(g.client[1], "still talking", false);
		util_close(&g.box[1]); /* ... and the client that of the output */
		expect(g.client[1], "", true);
		put(g.box[2], "and here");
		expect(g.client[2], "and here", false);
		put_status(&g, STATUS_EXITED, 0);
		rig_wait(&g);
		assert_int_equal(g.end.exit, 0);
		rig_done(&g);
	}
}

static void output_before_the_exit_is_never_lost(void **state)
{
	static char sent[60000], have[60000];
	struct rig g;

	(void)state;
	rig_pipes(&g, true);
	for (size_t i = 0; i < sizeof sent; i++)
		sent[i] = (char)(i * 7);
	/* all there before the relay looks for the first time */
	assert_int_equal(fd_write_full(g.box[1], sent, sizeof sent), 0);
	put(g.box[2], "error");
	put_status(&g, STATUS_EXITED, 3);
	rig_start(&g);
	assert_int_equal(fd_read_full(g.client[1], have, sizeof have), 0);
	rig_wait(&g);
	assert_memory_equal(sent, have, sizeof sent);
	expect(g.client[2], "error", true);
	assert_int_equal(g.end.exit, 3);
	rig_done(&g);
}

static void children_that_keep_the_output_are_not_waited_for(void **state)
{
	struct rig g;

	(void)state;
	rig_pipes(&g, true);
	rig_start(&g);
	put(g.box[1], "done");
	put_status(&g, STATUS_EXITED, 0);
	rig_wait(&g); /* box[1] and box[2] are still open */
	expect(g.client[1], "done", true);
	rig_done(&g);
}

static void *flood(void *arg)
{
	struct rig *g = arg;
	static const char much[4096];

	while (write(g->box[1], much, sizeof much) > 0) {}
	return NULL;
}

static void *swallow(void *arg)
{
	struct rig *g = arg;
	char some[8192];

	while (read(g->client[1], some, sizeof some) > 0) {}
	return NULL;
}

static void children_that_never_stop_writing_do_not_keep_it(void **state)
{
	struct rig g;
	pthread_t writer, reader;

	(void)state;
	rig_pipes(&g, true);
	rig_start(&g);
	assert_int_equal(pthread_create(&writer, NULL, flood, &g), 0);
	assert_int_equal(pthread_create(&reader, NULL, swallow, &g), 0);
	put_status(&g, STATUS_EXITED, 0);
	rig_wait(&g);
	(void)pthread_join(writer, NULL);
	(void)pthread_join(reader, NULL);
	assert_int_equal(g.end.exit, 0);
	rig_done(&g);
}

static void a_slow_client_stops_the_command_and_loses_nothing(void **state)
{
	static char chunk[4096], have[4096];
	struct rig g;
	size_t sent = 0, got = 0;
	ssize_t n;

	(void)state;
	rig_pipes(&g, false);
	(void)fd_set_nonblock(g.box[1], true);
	rig_start(&g);
	/* the client reads nothing: pipe, buffer and pipe fill up, and no more is taken */
	for (int idle = 0; idle < 20;) {
		struct timespec t = {0, 5000000};

		n = write(g.box[1], chunk, sizeof chunk);
		sent += n > 0 ? (size_t)n : 0;
		idle = n > 0 ? 0 : idle + 1;
		if (n <= 0)
			(void)nanosleep(&t, NULL);
		assert_true(sent <= 512 * 1024);
	}
	put_status(&g, STATUS_EXITED, 0);
	while ((n = read(g.client[1], have, sizeof have)) > 0)
		got += (size_t)n;
	rig_wait(&g);
	assert_int_equal(got, sent);
	assert_int_equal(g.end.out, sent);
	rig_done(&g);
}

static void a_command_that_closes_its_input_goes_on(void **state)
{
	struct rig g;

	(void)state;
	rig_pipes(&g, false);
	util_close(&g.box[0]);
	rig_start(&g);
	put(g.box[1], "out");
	expect(g.client[1], "out", false);
	put_status(&g, STATUS_EXITED, 0);
	rig_wait(&g);
	rig_done(&g);
}

static void a_client_that_is_gone_closes_the_commands_output(void **state)
{
	struct rig g;
	char byte = 'x';

	(void)state;
	rig_pipes(&g, true);
	rig_start(&g);
	for (int i = 0; i < 3; i++)
		util_close(&g.client[i]);
	/* the command gets EPIPE once the relay has seen it */
	while (write(g.box[1], &byte, 1) == 1) {
		struct timespec t = {0, 1000000};

		(void)nanosleep(&t, NULL);
	}
	assert_int_equal(errno, EPIPE);
	put_status(&g, STATUS_SIGNALED, SIGPIPE);
	rig_wait(&g);
	assert_int_equal(g.end.signo, SIGPIPE);
	expect_ended(&g, -1, "PIPE");
	rig_done(&g);
}

static void a_failed_start_says_why_and_its_status_follows(void **state)
{
	struct rig g;

	(void)state;
	rig_pipes(&g, true);
	put_status(&g, STATUS_FAILED, ENOENT);
	put_status(&g, STATUS_EXITED, 127);
	rig_start(&g);
	rig_wait(&g);
	assert_int_equal(g.end.failed, ENOENT);
	assert_int_equal(g.end.exit, 127);
	rig_done(&g);
}

static void a_status_pipe_that_ends_without_a_word_is_a_lost_sandbox(void **state)
{
	struct rig g;

	(void)state;
	rig_pipes(&g, true);
	put(g.box[1], "last words");
	assert_int_equal(write(g.status, "\1\0\0", 3), 3); /* a record that never is whole */
	util_close(&g.status);
	rig_start(&g);
	rig_wait(&g);
	assert_true(g.end.lost);
	assert_int_equal(g.end.exit, -1);
	expect(g.client[1], "last words", true);
	expect_ended(&g, -1, NULL);
	rig_done(&g);
}

static void a_malformed_status_ends_the_channel(void **state)
{
	static const uint8_t bad[][STATUS_LEN] = {{0, 0, 0, 0, 0, 0, 0, 0},
	    {4, 0, 0, 0, 0, 0, 0, 1}, {1, 1, 0, 0, 0, 0, 0, 0}, {1, 0, 0, 9, 0, 0, 0, 0},
	    {1, 0, 0, 0, 0, 0, 1, 0}, {2, 0, 0, 0, 0, 0, 0, 0}, {2, 0, 0, 0, 0, 0, 0, 65},
	    {3, 0, 0, 0, 0, 0, 0, 0}, {3, 0, 0, 0, 0, 0, 0x10, 0}};
	struct rig g;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		rig_pipes(&g, true);
		chan_free(g.core); /* nobody to be waited for */
		g.core = NULL;
		assert_int_equal(write(g.status, bad[i], STATUS_LEN), STATUS_LEN);
		rig_start(&g);
		util_close(&g.status);
		rig_wait(&g);
		assert_true(g.end.lost);
		rig_done(&g);
	}
}

static void the_core_may_take_a_channel_back(void **state)
{
	struct rig g;

	(void)state;
	rig_pipes(&g, true);
	rig_start(&g);
	assert_int_equal(chan_send(g.core, "channel.failed", 0,
	                     json_pack("{s:i, s:s, s:i}", "channel", RUN_CHANNEL, "reason",
	                         "no \x1b[31mroom", "record", 12),
	                     NULL, 0),
	    0);
	rig_wait(&g);
	assert_true(g.end.denied);
	assert_string_equal(g.end.why.text, "no \\x1b[31mroom (record 12)");
	rig_done(&g);
}

static void a_lost_sandbox_is_explained_by_a_core_that_speaks_late(void **state)
{
	struct rig g;
	struct timespec t = {0, 50000000};

	(void)state;
	rig_pipes(&g, true);
	util_close(&g.status);
	rig_start(&g);
	(void)nanosleep(&t, NULL);
	assert_int_equal(
	    chan_send(g.core, "channel.failed", 0,
	        json_pack("{s:i, s:s}", "channel", RUN_CHANNEL, "reason", "no room"), NULL, 0),
	    0);
	rig_wait(&g);
	assert_true(g.end.denied);
	assert_string_equal(g.end.why.text, "no room");
	rig_done(&g);
}

static void bytes_flow_on_without_the_core(void **state)
{
	struct rig g;

	(void)state;
	rig_pipes(&g, true);
	chan_free(g.core);
	g.core = NULL;
	rig_start(&g);
	put(g.client[0], "in");
	expect(g.box[0], "in", false);
	put(g.box[1], "out");
	expect(g.client[1], "out", false);
	put_status(&g, STATUS_EXITED, 0);
	rig_wait(&g);
	assert_int_equal(g.end.exit, 0);
	rig_done(&g);
}

static void signals_go_to_the_core_by_name(void **state)
{
	struct rig g;
	sigset_t set;
	struct msg m = MSG_INIT;

	(void)state;
	rig_pipes(&g, true);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	assert_int_equal(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	cleanup_close int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	g.r.signals = fd;
	rig_start(&g);
	assert_int_equal(kill(getpid(), SIGTERM), 0);
	struct pollfd p = {chan_fd(g.core), POLLIN, 0};
	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_int_equal(chan_recv(g.core, &m, NULL), 1);
	assert_true(msg_is(&m, "channel.signal"));
	assert_string_equal(msg_str(&m, "signal"), "TERM");
	msg_done(&m);
	put_status(&g, STATUS_SIGNALED, SIGTERM);
	rig_wait(&g);
	assert_int_equal(g.end.signo, SIGTERM);
	expect_ended(&g, -1, "TERM");
	assert_int_equal(pthread_sigmask(SIG_UNBLOCK, &set, NULL), 0);
	rig_done(&g);
}

/* sshd's terminal on one side, the sandbox's on the other. */
static void rig_pty(struct rig *g, int *ret_client, int *ret_slave)
{
	struct winsize w = {.ws_row = 31, .ws_col = 101};
	int slave, master;

	memset(g, 0, sizeof *g);
	fake_core(g);
	fake_status(g);
	assert_int_equal(openpty(ret_client, &slave, NULL, NULL, &w), 0);
	assert_int_equal(openpty(&master, ret_slave, NULL, NULL, NULL), 0);
	g->r.pty = true;
	g->r.tty = fcntl(slave, F_DUPFD_CLOEXEC, 3);
	g->r.local[0] = slave;
	g->r.local[1] = fcntl(slave, F_DUPFD_CLOEXEC, 3);
	g->r.local[2] = fcntl(slave, F_DUPFD_CLOEXEC, 3);
	g->r.box[0] = master;
	g->r.box[1] = fcntl(master, F_DUPFD_CLOEXEC, 3);
	g->r.box[2] = -1;
	g->client[0] = g->client[1] = g->client[2] = -1;
	g->box[0] = g->box[1] = g->box[2] = -1;
}

static void a_terminal_is_raw_meanwhile_and_as_before_afterwards(void **state)
{
	struct rig g;
	struct run_tty tty;
	struct termios before, during, after;
	int client, slave, flag;

	(void)state;
	rig_pty(&g, &client, &slave);
	assert_int_equal(tcgetattr(g.r.tty, &before), 0);
	assert_int_equal(run_tty_raw(&tty, g.r.tty), 0);
	assert_int_equal(tcgetattr(g.r.tty, &during), 0);
	flag = (int)during.c_lflag & (ECHO | ICANON | ISIG);
	assert_int_equal(flag, 0);
	rig_start(&g);
	put(client, "x\x03\r"); /* a control C is the sandbox's, not ours */
	put(slave, "prompt$ ");
	/* the sandbox's terminal echoes what was typed before it showed the prompt, or after */
	char have[64] = "";
	size_t n = 0;
	while (n < sizeof have - 1 && !strstr(have, "prompt$ ")) {
		ssize_t k = read(client, have + n, sizeof have - 1 - n);

		assert_true(k > 0);
		n += (size_t)k;
		have[n] = '\0';
	}
	put(slave, "last");
	put_status(&g, STATUS_EXITED, 4);
	rig_wait(&g); /* the slave is still open, as by a child in the background */
	expect(client, "last", false);
	run_tty_restore(&tty);
	assert_int_equal(tcgetattr(g.r.tty, &after), 0);
	assert_int_equal(before.c_lflag, after.c_lflag);
	assert_int_equal(before.c_oflag, after.c_oflag);
	assert_int_equal(g.end.exit, 4);
	util_close(&client);
	util_close(&slave);
	util_close(&g.r.tty);
	rig_done(&g);
}

static void a_changed_size_reaches_the_sandbox(void **state)
{
	struct rig g;
	struct winsize w = {.ws_row = 50, .ws_col = 150}, have = {0};
	sigset_t set;
	int client, slave;

	(void)state;
	rig_pty(&g, &client, &slave);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGWINCH);
	assert_int_equal(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	cleanup_close int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	g.r.signals = fd;
	assert_int_equal(run_tty_copy_size(g.r.tty, g.r.box[0]), 0);
	assert_int_equal(ioctl(slave, TIOCGWINSZ, &have), 0);
	assert_int_equal(have.ws_col, 101);
	rig_start(&g);
	assert_int_equal(ioctl(client, TIOCSWINSZ, &w), 0);
	assert_int_equal(kill(getpid(), SIGWINCH), 0);
	for (int i = 0; i < 1000 && have.ws_col != 150; i++) {
		struct timespec t = {0, 1000000};

		(void)nanosleep(&t, NULL);
		assert_int_equal(ioctl(slave, TIOCGWINSZ, &have), 0);
	}
	assert_int_equal(have.ws_col, 150);
	assert_int_equal(have.ws_row, 50);
	put_status(&g, STATUS_EXITED, 0);
	rig_wait(&g);
	assert_int_equal(pthread_sigmask(SIG_UNBLOCK, &set, NULL), 0);
	util_close(&client);
	util_close(&slave);
	util_close(&g.r.tty);
	rig_done(&g);
}

/* ---- what is asked for ---- */

static const char *kind_of(const char *original, char *command, size_t size)
{
	static char kind[16];
	json_t *body = NULL;
	const char *b64;

	assert_int_equal(run_request(original, -1, NULL, &body, NULL), 0);
	assert_null(json_object_get(body, "pty"));
	assert_null(json_object_get(body, "env"));
	(void)snprintf(kind, sizeof kind, "%s", json_string_value(json_object_get(body, "kind")));
	b64 = json_string_value(json_object_get(body, "command"));
	(void)snprintf(command, size, "%s", b64 ? b64 : "");
	json_decref(body);
	return kind;
}

static void no_command_is_a_shell(void **state)
{
	char command[256];

	(void)state;
	assert_string_equal(kind_of(NULL, command, sizeof command), "shell");
	assert_string_equal(command, "");
}

static void a_command_is_passed_on_as_bytes(void **state)
{
	char command[256];

	(void)state;
	assert_string_equal(kind_of("echo \xff", command, sizeof command), "exec");
	assert_string_equal(command, "ZWNobyD/");
	assert_string_equal(kind_of("", command, sizeof command), "exec");
}

static void only_the_exact_sftp_servers_are_the_subsystem(void **state)
{
	char command[256];

	(void)state;
	assert_string_equal(kind_of("internal-sftp", command, sizeof command), "subsystem");
	assert_string_equal(command, "c2Z0cA==");
	assert_string_equal(
	    kind_of("/usr/lib/openssh/sftp-server", command, sizeof command), "subsystem");
	assert_string_equal(kind_of("internal-sftp -e", command, sizeof command), "exec");
	assert_string_equal(kind_of("/tmp/sftp-server", command, sizeof command), "exec");
	assert_string_equal(kind_of("internal-sftp\n", command, sizeof command), "exec");
}

static void the_longest_command_is_taken_and_one_byte_more_is_not(void **state)
{
	char *s = calloc(1, RUN_COMMAND_MAX + 2);
	json_t *body = NULL;

	(void)state;
	assert_non_null(s);
	memset(s, 'a', RUN_COMMAND_MAX);
	assert_int_equal(run_request(s, -1, NULL, &body, NULL), 0);
	json_decref(body);
	s[RUN_COMMAND_MAX] = 'a';
	assert_int_equal(run_request(s, -1, NULL, &body, NULL), -E2BIG);
	free(s);
}

static void a_terminal_goes_along_and_its_name_is_looked_at(void **state)
{
	struct winsize w = {.ws_row = 24, .ws_col = 80};
	json_t *body = NULL, *pty;
	int master, slave;

	(void)state;
	assert_int_equal(openpty(&master, &slave, NULL, NULL, &w), 0);
	assert_int_equal(run_request(NULL, slave, "xterm-256color", &body, NULL), 0);
	pty = json_object_get(body, "pty");
	assert_string_equal(json_string_value(json_object_get(pty, "term")), "xterm-256color");
	assert_int_equal(json_integer_value(json_object_get(pty, "cols")), 80);
	assert_int_equal(json_integer_value(json_object_get(pty, "rows")), 24);
	json_decref(body);
	assert_int_equal(run_request(NULL, slave, "x\x1b[2J", &body, NULL), 0);
	pty = json_object_get(body, "pty");
	assert_string_equal(json_string_value(json_object_get(pty, "term")), "dumb");
	json_decref(body);
	util_close(&master);
	util_close(&slave);
}

static int ignore_sigpipe(void **state)
{
	(void)state;
	(void)signal(SIGPIPE, SIG_IGN);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(three_streams_stay_apart),
	    cmocka_unit_test(half_close_goes_both_ways),
	    cmocka_unit_test(output_before_the_exit_is_never_lost),
	    cmocka_unit_test(children_that_keep_the_output_are_not_waited_for),
	    cmocka_unit_test(children_that_never_stop_writing_do_not_keep_it),
	    cmocka_unit_test(a_slow_client_stops_the_command_and_loses_nothing),
	    cmocka_unit_test(a_command_that_closes_its_input_goes_on),
	    cmocka_unit_test(a_client_that_is_gone_closes_the_commands_output),
	    cmocka_unit_test(a_failed_start_says_why_and_its_status_follows),
	    cmocka_unit_test(a_status_pipe_that_ends_without_a_word_is_a_lost_sandbox),
	    cmocka_unit_test(a_malformed_status_ends_the_channel),
	    cmocka_unit_test(the_core_may_take_a_channel_back),
	    cmocka_unit_test(a_lost_sandbox_is_explained_by_a_core_that_speaks_late),
	    cmocka_unit_test(bytes_flow_on_without_the_core),
	    cmocka_unit_test(signals_go_to_the_core_by_name),
	    cmocka_unit_test(a_terminal_is_raw_meanwhile_and_as_before_afterwards),
	    cmocka_unit_test(a_changed_size_reaches_the_sandbox),
	    cmocka_unit_test(no_command_is_a_shell),
	    cmocka_unit_test(a_command_is_passed_on_as_bytes),
	    cmocka_unit_test(only_the_exact_sftp_servers_are_the_subsystem),
	    cmocka_unit_test(the_longest_command_is_taken_and_one_byte_more_is_not),
	    cmocka_unit_test(a_terminal_goes_along_and_its_name_is_looked_at),
	};

	return cmocka_run_group_tests(tests, ignore_sigpipe, NULL);
}
