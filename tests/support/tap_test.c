#include "tests/support/tap_test.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/ssh/tap.h"
#include "lib/buf.h"
#include "lib/err.h"

unsigned tap_test_alive;

struct test_tap {
	struct tap tap;
	struct buf held;
	uint8_t byte;
};

static int upper(struct tap *t, const uint8_t *data, size_t len, struct buf *out, struct err *e)
{
	(void)t;
	(void)e;
	for (size_t i = 0; i < len; i++)
		buf_put_u8(out, (uint8_t)toupper(data[i]));
	return 0;
}

static int twice(struct tap *t, const uint8_t *data, size_t len, struct buf *out, struct err *e)
{
	(void)t;
	(void)e;
	buf_put(out, data, len);
	buf_put(out, data, len);
	return 0;
}

static int hold(struct tap *t, const uint8_t *data, size_t len, struct buf *out, struct err *e)
{
	struct test_tap *x = (struct test_tap *)t;

	(void)out;
	buf_put(&x->held, data, len);
	return buf_status(&x->held) < 0 ? err_set(e, -ENOBUFS, "holds too much") : 0;
}

static int hold_end(struct tap *t, struct buf *out, struct err *e)
{
	struct test_tap *x = (struct test_tap *)t;

	(void)e;
	buf_put(out, x->held.data, x->held.len);
	buf_reset(&x->held);
	return 0;
}

static int stop_at(struct tap *t, const uint8_t *data, size_t len, struct buf *out, struct err *e)
{
	struct test_tap *x = (struct test_tap *)t;

	if (memchr(data, x->byte, len))
		return err_set(e, -EPERM, "stopped");
	buf_put(out, data, len);
	return 0;
}

static void release(struct tap *t)
{
	struct test_tap *x = (struct test_tap *)t;

	buf_done(&x->held);
	tap_test_alive--;
	free(x);
}

static const struct tap_ops upper_ops = {.name = "upper", .bytes = upper, .free = release};
static const struct tap_ops double_ops = {.name = "double", .bytes = twice, .free = release};
static const struct tap_ops hold_ops = {
    .name = "hold", .bytes = hold, .end = hold_end, .free = release};
static const struct tap_ops stop_ops = {.name = "stop", .bytes = stop_at, .free = release};

static struct tap *make(const struct tap_ops *ops, uint8_t byte)
{
	struct test_tap *x = calloc(1, sizeof *x);

	if (!x)
		return NULL;
	x->tap.ops = ops;
	x->byte = byte;
	buf_init(&x->held, TAP_HOLD_MAX);
	tap_test_alive++;
	return &x->tap;
}

struct tap *tap_test_upper(void)
{
	return make(&upper_ops, 0);
}

struct tap *tap_test_double(void)
{
	return make(&double_ops, 0);
}

struct tap *tap_test_hold(void)
{
	return make(&hold_ops, 0);
}

struct tap *tap_test_stop_at(uint8_t byte)
{
	return make(&stop_ops, byte);
}
