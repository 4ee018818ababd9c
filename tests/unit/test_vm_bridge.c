/*
 * The bridge to a guest, with the test as the guest: each rule that a hostile one breaks ends it.
 */
#include "broker/vm/bridge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/init/proto.h"

struct guest {
	struct bridge b;
	int in[2], out[2], status[2];
};

static int setup(void **state)
{
	static struct guest g;
	struct mux_channel *c;

	assert_int_equal(pipe2(g.in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(g.out, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(pipe2(g.status, O_CLOEXEC | O_NONBLOCK), 0);
	bridge_init(&g.b, -1, -1, false, "cfg", 3);
	c = mux_open(&g.b.mux, 1);
	assert_non_null(c);
	mux_send(&g.b.mux, c, 0, g.in[0]);
	mux_take(&g.b.mux, c, 1, g.out[1]);
	mux_take(&g.b.mux, c, 3, g.status[1]);
	*state = &g;
	return 0;
}

static int teardown(void **state)
{
	struct guest *g = *state;

	bridge_done(&g->b);
	(void)close(g->in[1]);
	(void)close(g->out[0]);
	(void)close(g->status[0]);
	return 0;
}

static int frame(
    struct guest *g, unsigned type, uint32_t channel, unsigned stream, const void *data, size_t len)
{
	struct buf b;
	int r;

	buf_init(&b, 1 << 20);
	buf_put_u32(&b, (uint32_t)(MUX_HEAD + len));
	buf_put_u8(&b, (uint8_t)type);
	buf_put_u32(&b, channel);
	buf_put_u8(&b, (uint8_t)stream);
	buf_put(&b, data, len);
	r = mux_feed(&g->b.mux, b.data, b.len);
	buf_done(&b);
	return r;
}

static void passes_output_and_status(void **state)
{
	struct guest *g = *state;
	uint8_t record[INIT_STATUS_LEN];
	char got[16];

	init_put_status(record, INIT_EXITED, 3);
	assert_int_equal(frame(g, MUX_DATA, 1, 1, "hello", 5), 0);
	assert_int_equal(frame(g, MUX_DATA, 1, 3, record, sizeof record), 0);
	assert_int_equal(read(g->out[0], got, sizeof got), 5);
	assert_int_equal(read(g->status[0], got, sizeof got), INIT_STATUS_LEN);
	assert_int_equal(frame(g, MUX_END, 1, 1, NULL, 0), 0);
	assert_int_equal(read(g->out[0], got, sizeof got), 0);
	assert_int_equal(frame(g, MUX_END, 1, 3, NULL, 0), 0);
	assert_non_null(mux_find(&g->b.mux, 1)); /* its input is open */
	assert_int_equal(frame(g, MUX_GONE, 1, 0, NULL, 0), 0);
	assert_null(mux_find(&g->b.mux, 1));
}

static void refuses_more_than_the_window(void **state)
{
	static const char data[MUX_DATA_MAX];
	struct guest *g = *state;
	int r = 0;
	unsigned n = 0;

	/* nobody reads: the pipe takes 64 KiB, a window is held, and not a byte more */
	while (r == 0 && n < 100) {
		r = frame(g, MUX_DATA, 1, 1, data, sizeof data);
		n++;
	}
	assert_int_equal(r, -EPROTO);
	assert_in_range(n, 5, 2 * MUX_WINDOW / MUX_DATA_MAX + 1);
}

static void refuses_what_no_stream_expects(void **state)
{
	static const char big[MUX_DATA_MAX + 1];
	const struct {
		unsigned type;
		uint32_t channel;
		unsigned stream;
		size_t len;
	} bad[] = {{MUX_DATA, 2, 1, 1}, {MUX_DATA, 1, 0, 1}, {MUX_DATA, 1, 2, 1},
	    {MUX_DATA, 1, 4, 1}, {MUX_DATA, 1, 1, 0}, {MUX_DATA, 1, 1, sizeof big},
	    {MUX_END, 1, 0, 0}, {MUX_END, 7, 1, 0}, {MUX_END, 1, 1, 1}, {MUX_CREDIT, 1, 0, 3},
	    {MUX_GONE, 1, 0, 1}, {MUX_REQUEST, 1, 0, 1}, {MUX_CONFIG, 0, 0, 0},
	    {MUX_RESIZE, 1, 0, 16}, {MUX_READY, 0, 0, 0}, {MUX_OPEN, MUX_GUEST, 0, 0}, {0, 0, 0, 0},
	    {MUX_TYPES, 0, 0, 0}, {255, 0, 0, 0}};
	struct guest *g = *state;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_equal(
		    frame(g, bad[i].type, bad[i].channel, bad[i].stream, big, bad[i].len), -EPROTO);
		buf_reset(&g->b.mux.in);
	}
}

static void refuses_credit_beyond_the_window(void **state)
{
	const uint8_t one[4] = {0, 0, 0, 1};
	struct guest *g = *state;

	assert_int_equal(frame(g, MUX_CREDIT, 1, 0, one, 4), -EPROTO);
}

static void refuses_a_length_that_no_frame_has(void **state)
{
	const uint8_t zero[4] = {0}, huge[4] = {0xff, 0xff, 0xff, 0xff};
	struct guest *g = *state;

	assert_int_equal(mux_feed(&g->b.mux, huge, 4), -EPROTO);
	buf_reset(&g->b.mux.in);
	assert_int_equal(mux_feed(&g->b.mux, zero, 4), -EPROTO);
}

static void is_ready_only_after_hello_and_once(void **state)
{
	const uint8_t hello[] = {0, 0, 0, 1, 0, 0, 0, 1, 'k'}, old[] = {0, 0, 0, 9};
	struct guest *g = *state;

	assert_int_equal(frame(g, MUX_HELLO, 0, 0, old, sizeof old), -EPROTO);
	buf_reset(&g->b.mux.in);
	assert_int_equal(frame(g, MUX_HELLO, 0, 0, hello, sizeof hello), 0);
	assert_int_equal(frame(g, MUX_READY, 0, 0, NULL, 0), 0);
	assert_true(g->b.ready);
	assert_int_equal(frame(g, MUX_READY, 0, 0, NULL, 0), -EPROTO);
}

static void escapes_the_guests_last_words(void **state)
{
	const uint8_t fail[] = {0, 0, 0, 2, 'x', 0x1b};
	struct guest *g = *state;

	assert_int_equal(frame(g, MUX_FAIL, 0, 0, fail, sizeof fail), -EIO);
	assert_null(strchr(g->b.why, 0x1b));
	assert_int_equal(g->b.why[0], 'x');
}

static void ends_when_the_machine_does_or_is_never_ready(void **state)
{
	static struct bridge b;
	int port[2], requests[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, port), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, requests), 0);
	bridge_init(&b, port[0], requests[0], false, "", 0);
	assert_int_equal(bridge_run(&b, false, 20), -ETIMEDOUT);
	assert_int_equal(write(port[1], "garbage of a machine", 20), 20);
	assert_int_equal(bridge_run(&b, false, 5000), -EPROTO);
	bridge_done(&b);
	bridge_init(&b, port[0], requests[0], false, "", 0);
	(void)close(port[1]);
	assert_int_equal(bridge_run(&b, false, 5000), -EPIPE);
	bridge_done(&b);
	(void)close(port[0]);
	(void)close(requests[0]);
	(void)close(requests[1]);
}

int main(void)
{
#define WITH(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
	    WITH(passes_output_and_status),
	    WITH(refuses_more_than_the_window),
	    WITH(refuses_what_no_stream_expects),
	    WITH(refuses_credit_beyond_the_window),
	    WITH(refuses_a_length_that_no_frame_has),
	    WITH(is_ready_only_after_hello_and_once),
	    WITH(escapes_the_guests_last_words),
	    cmocka_unit_test(ends_when_the_machine_does_or_is_never_ready),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
