#include "pam/run_relay.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/chan.h"
#include "lib/fdio.h"
#include "lib/msg.h"
#include "lib/status.h"
#include "lib/util.h"
#include "pam/run_request.h"
#include "tests/support/relay_rig.h"

static void three_streams_stay_apart(void **state)
{
	struct relay_rig g;

	(void)state;
	for (int sockets = 0; sockets < 2; sockets++) {
		rr_pipes(&g, sockets);
		rr_start(&g);
		rr_put(g.client[0], "to the command");
		rr_expect(g.box[0], "to the command", false);
		rr_put(g.box[1], "from it");
		rr_put(g.box[2], "complaints");
		rr_expect(g.client[1], "from it", false);
		rr_expect(g.client[2], "complaints", false);
		rr_put_status(&g, STATUS_EXITED, 7);
		rr_wait(&g);
		assert_int_equal(g.end.exit, 7);
		assert_int_equal(g.end.in, 14);
		assert_int_equal(g.end.out, 7);
		assert_int_equal(g.end.err, 10);
		rr_expect_ended(&g, 7, NULL);
		rr_done(&g);
	}
}

static void half_close_goes_both_ways(void **state)
{
	struct relay_rig g;

	(void)state;
	for (int sockets = 0; sockets < 2; sockets++) {
		rr_pipes(&g, sockets);
		rr_start(&g);
		rr_put(g.client[0], "all");
		if (sockets)
			(void)shutdown(g.client[0], SHUT_WR);
		else
			util_close(&g.client[0]);
		rr_expect(g.box[0], "all", true); /* the command sees the end of its input ... */
		rr_put(g.box[1], "still talking");
		rr_expect(g.client[1], "still talking", false);
		util_close(&g.box[1]); /* ... and the client that of the output */
		rr_expect(g.client[1], "", true);
		rr_put(g.box[2], "and here");
		rr_expect(g.client[2], "and here", false);
		rr_put_status(&g, STATUS_EXITED, 0);
		rr_wait(&g);
		assert_int_equal(g.end.exit, 0);
		rr_done(&g);
	}
}

static void output_before_the_exit_is_never_lost(void **state)
{
	static char sent[60000], have[60000];
	struct relay_rig g;

	(void)state;
	rr_pipes(&g, true);
	for (size_t i = 0; i < sizeof sent; i++)
		sent[i] = (char)(i * 7);
	/* all there before the relay looks for the first time */
	assert_int_equal(fd_write_full(g.box[1], sent, sizeof sent), 0);
	rr_put(g.box[2], "error");
	rr_put_status(&g, STATUS_EXITED, 3);
	rr_start(&g);
	assert_int_equal(fd_read_full(g.client[1], have, sizeof have), 0);
	rr_wait(&g);
	assert_memory_equal(sent, have, sizeof sent);
	rr_expect(g.client[2], "error", true);
	assert_int_equal(g.end.exit, 3);
	rr_done(&g);
}

static void children_that_keep_the_output_are_not_waited_for(void **state)
{
	struct relay_rig g;

	(void)state;
	rr_pipes(&g, true);
	rr_start(&g);
	rr_put(g.box[1], "done");
	rr_put_status(&g, STATUS_EXITED, 0);
	rr_wait(&g); /* box[1] and box[2] are still open */
	rr_expect(g.client[1], "done", true);
	rr_done(&g);
}

static void *flood(void *arg)
{
	struct relay_rig *g = arg;
	static const char much[4096];

	while (write(g->box[1], much, sizeof much) > 0) {}
	return NULL;
}

static void *swallow(void *arg)
{
	struct relay_rig *g = arg;
	char some[8192];

	while (read(g->client[1], some, sizeof some) > 0) {}
	return NULL;
}

static void children_that_never_stop_writing_do_not_keep_it(void **state)
{
	struct relay_rig g;
	pthread_t writer, reader;

	(void)state;
	rr_pipes(&g, true);
	rr_start(&g);
	assert_int_equal(pthread_create(&writer, NULL, flood, &g), 0);
	assert_int_equal(pthread_create(&reader, NULL, swallow, &g), 0);
	rr_put_status(&g, STATUS_EXITED, 0);
	rr_wait(&g);
	(void)pthread_join(writer, NULL);
	(void)pthread_join(reader, NULL);
	assert_int_equal(g.end.exit, 0);
	rr_done(&g);
}

static void a_slow_client_stops_the_command_and_loses_nothing(void **state)
{
	static char chunk[4096], have[4096];
	struct relay_rig g;
	size_t sent = 0, got = 0;
	ssize_t n;

	(void)state;
	rr_pipes(&g, false);
	(void)fd_set_nonblock(g.box[1], true);
	rr_start(&g);
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
	rr_put_status(&g, STATUS_EXITED, 0);
	while ((n = read(g.client[1], have, sizeof have)) > 0)
		got += (size_t)n;
	rr_wait(&g);
	assert_int_equal(got, sent);
	assert_int_equal(g.end.out, sent);
	rr_done(&g);
}

static void a_command_that_closes_its_input_goes_on(void **state)
{
	struct relay_rig g;

	(void)state;
	rr_pipes(&g, false);
	util_close(&g.box[0]);
	rr_start(&g);
	rr_put(g.box[1], "out");
	rr_expect(g.client[1], "out", false);
	rr_put_status(&g, STATUS_EXITED, 0);
	rr_wait(&g);
	rr_done(&g);
}

static void a_client_that_is_gone_closes_the_commands_output(void **state)
{
	struct relay_rig g;
	char byte = 'x';

	(void)state;
	rr_pipes(&g, true);
	rr_start(&g);
	for (int i = 0; i < 3; i++)
		util_close(&g.client[i]);
	/* the command gets EPIPE once the relay has seen it */
	while (write(g.box[1], &byte, 1) == 1) {
		struct timespec t = {0, 1000000};

		(void)nanosleep(&t, NULL);
	}
	assert_int_equal(errno, EPIPE);
	rr_put_status(&g, STATUS_SIGNALED, SIGPIPE);
	rr_wait(&g);
	assert_int_equal(g.end.signo, SIGPIPE);
	rr_expect_ended(&g, -1, "PIPE");
	rr_done(&g);
}

static void a_failed_start_says_why_and_its_status_follows(void **state)
{
	struct relay_rig g;

	(void)state;
	rr_pipes(&g, true);
	rr_put_status(&g, STATUS_FAILED, ENOENT);
	rr_put_status(&g, STATUS_EXITED, 127);
	rr_start(&g);
	rr_wait(&g);
	assert_int_equal(g.end.failed, ENOENT);
	assert_int_equal(g.end.exit, 127);
	rr_done(&g);
}

static void a_status_pipe_that_ends_without_a_word_is_a_lost_sandbox(void **state)
{
	struct relay_rig g;

	(void)state;
	rr_pipes(&g, true);
	rr_put(g.box[1], "last words");
	assert_int_equal(write(g.status, "\1\0\0", 3), 3); /* a record that never is whole */
	util_close(&g.status);
	rr_start(&g);
	rr_wait(&g);
	assert_true(g.end.lost);
	assert_int_equal(g.end.exit, -1);
	rr_expect(g.client[1], "last words", true);
	rr_expect_ended(&g, -1, NULL);
	rr_done(&g);
}

static void a_malformed_status_ends_the_channel(void **state)
{
	static const uint8_t bad[][STATUS_LEN] = {{0, 0, 0, 0, 0, 0, 0, 0},
	    {4, 0, 0, 0, 0, 0, 0, 1}, {1, 1, 0, 0, 0, 0, 0, 0}, {1, 0, 0, 9, 0, 0, 0, 0},
	    {1, 0, 0, 0, 0, 0, 1, 0}, {2, 0, 0, 0, 0, 0, 0, 0}, {2, 0, 0, 0, 0, 0, 0, 65},
	    {3, 0, 0, 0, 0, 0, 0, 0}, {3, 0, 0, 0, 0, 0, 0x10, 0}};
	struct relay_rig g;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		rr_pipes(&g, true);
		chan_free(g.core); /* nobody to be waited for */
		g.core = NULL;
		assert_int_equal(write(g.status, bad[i], STATUS_LEN), STATUS_LEN);
		rr_start(&g);
		util_close(&g.status);
		rr_wait(&g);
		assert_true(g.end.lost);
		rr_done(&g);
	}
}

static void the_core_may_take_a_channel_back(void **state)
{
	struct relay_rig g;

	(void)state;
	rr_pipes(&g, true);
	rr_start(&g);
	assert_int_equal(chan_send(g.core, "channel.failed", 0,
	                     json_pack("{s:i, s:s, s:i}", "channel", RUN_CHANNEL, "reason",
	                         "no \x1b[31mroom", "record", 12),
	                     NULL, 0),
	    0);
	rr_wait(&g);
	assert_true(g.end.denied);
	assert_string_equal(g.end.why.text, "no \\x1b[31mroom (record 12)");
	rr_done(&g);
}

static void a_lost_sandbox_is_explained_by_a_core_that_speaks_late(void **state)
{
	struct relay_rig g;
	struct timespec t = {0, 50000000};

	(void)state;
	rr_pipes(&g, true);
	util_close(&g.status);
	rr_start(&g);
	(void)nanosleep(&t, NULL);
	assert_int_equal(
	    chan_send(g.core, "channel.failed", 0,
	        json_pack("{s:i, s:s}", "channel", RUN_CHANNEL, "reason", "no room"), NULL, 0),
	    0);
	rr_wait(&g);
	assert_true(g.end.denied);
	assert_string_equal(g.end.why.text, "no room");
	rr_done(&g);
}

static void bytes_flow_on_without_the_core(void **state)
{
	struct relay_rig g;

	(void)state;
	rr_pipes(&g, true);
	chan_free(g.core);
	g.core = NULL;
	rr_start(&g);
	rr_put(g.client[0], "in");
	rr_expect(g.box[0], "in", false);
	rr_put(g.box[1], "out");
	rr_expect(g.client[1], "out", false);
	rr_put_status(&g, STATUS_EXITED, 0);
	rr_wait(&g);
	assert_int_equal(g.end.exit, 0);
	rr_done(&g);
}

static void signals_go_to_the_core_by_name(void **state)
{
	struct relay_rig g;
	sigset_t set;
	struct msg m = MSG_INIT;

	(void)state;
	rr_pipes(&g, true);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	assert_int_equal(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	cleanup_close int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	g.r.signals = fd;
	rr_start(&g);
	assert_int_equal(kill(getpid(), SIGTERM), 0);
	struct pollfd p = {chan_fd(g.core), POLLIN, 0};
	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_int_equal(chan_recv(g.core, &m, NULL), 1);
	assert_true(msg_is(&m, "channel.signal"));
	assert_string_equal(msg_str(&m, "signal"), "TERM");
	msg_done(&m);
	rr_put_status(&g, STATUS_SIGNALED, SIGTERM);
	rr_wait(&g);
	assert_int_equal(g.end.signo, SIGTERM);
	rr_expect_ended(&g, -1, "TERM");
	assert_int_equal(pthread_sigmask(SIG_UNBLOCK, &set, NULL), 0);
	rr_done(&g);
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
	};

	return cmocka_run_group_tests(tests, ignore_sigpipe, NULL);
}
