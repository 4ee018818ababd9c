#include "tests/support/relay_rig.h"

#include <fcntl.h>
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/chan.h"
#include "lib/fdio.h"
#include "lib/msg.h"
#include "lib/status.h"
#include "lib/util.h"
#include "pam/run_request.h"

static void fake_core(struct relay_rig *g)
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

static void fake_status(struct relay_rig *g)
{
	int p[2];

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	g->r.status = p[0];
	g->status = p[1];
}

void rr_pipes(struct relay_rig *g, bool sockets)
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
	struct relay_rig *g = arg;

	g->result = relay_run(&g->r, &g->end);
	return NULL;
}

void rr_start(struct relay_rig *g)
{
	assert_int_equal(pthread_create(&g->thread, NULL, run_thread, g), 0);
}

void rr_wait(struct relay_rig *g)
{
	assert_int_equal(pthread_join(g->thread, NULL), 0);
	assert_int_equal(g->result, 0);
}

void rr_done(struct relay_rig *g)
{
	for (int i = 0; i < 3; i++) {
		util_close(&g->client[i]);
		util_close(&g->box[i]);
	}
	util_close(&g->status);
	chan_free(g->core);
	chan_free(g->r.core);
}

void rr_put_status(struct relay_rig *g, uint8_t kind, uint32_t value)
{
	const uint8_t rec[STATUS_LEN] = {kind, 0, 0, 0, (uint8_t)(value >> 24),
	    (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};

	assert_int_equal(write(g->status, rec, sizeof rec), sizeof rec);
}

void rr_put(int fd, const char *s)
{
	assert_int_equal(fd_write_full(fd, s, strlen(s)), 0);
}

void rr_expect(int fd, const char *s, bool end)
{
	char have[256];
	size_t n = strlen(s);

	assert_true(n < sizeof have);
	assert_int_equal(fd_read_full(fd, have, n), 0);
	assert_memory_equal(have, s, n);
	if (end)
		assert_int_equal(read(fd, have, 1), 0);
}

void rr_expect_ended(struct relay_rig *g, int exit_code, const char *signal_name)
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

void rr_pty(struct relay_rig *g, int *ret_client, int *ret_slave)
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
