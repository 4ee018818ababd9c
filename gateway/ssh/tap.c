#include "gateway/ssh/tap.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/buf.h"
#include "lib/err.h"

int tap_chain_add(struct tap_chain *c, struct tap *t)
{
	if (!t)
		return -ENOMEM;
	if (c->n == TAP_CHAIN_MAX) {
		t->ops->free(t);
		return -ENOSPC;
	}
	c->taps[c->n++] = t;
	return 0;
}

static int transparent(const struct tap *t)
{
	return t->ops->transparent && t->ops->transparent(t);
}

/* One block, or the end (data NULL), through the taps from `first` on, into scratch. The output of
 * one tap is the input of the next: they alternate between scratch and a buffer of ours. */
static int run(struct tap_chain *c, const uint8_t *data, size_t len, int at_end,
    struct buf *scratch, const uint8_t **ret_out, size_t *ret_len, struct err *e)
{
	cleanup_buf struct buf other;
	struct buf *out = &other, *spare = scratch;
	int r;

	buf_init(&other, scratch->max);
	for (size_t i = 0; i < c->n; i++) {
		struct tap *t = c->taps[i];

		if (transparent(t)) {
			if (len)
				t->ops->seen(t, data, len);
			continue;
		}
		buf_reset(out);
		r = len ? t->ops->bytes(t, data, len, out, e) : 0;
		if (r == 0 && at_end && t->ops->end)
			r = t->ops->end(t, out, e);
		if (r < 0)
			return r;
		if (buf_status(out) < 0)
			return err_set(e, buf_status(out), "%s: more bytes than fit", t->ops->name);
		data = out->data;
		len = out->len;
		out = spare;
		spare = spare == scratch ? &other : scratch;
	}
	if (len && data == other.data) { /* must outlive us */
		buf_reset(scratch);
		buf_put(scratch, data, len);
		if (buf_status(scratch) < 0)
			return err_set(e, buf_status(scratch), "taps: more bytes than fit");
		data = scratch->data;
	}
	*ret_out = data;
	*ret_len = len;
	return 0;
}

int tap_chain_bytes(struct tap_chain *c, const uint8_t *data, size_t len, struct buf *scratch,
    const uint8_t **ret_out, size_t *ret_len, struct err *e)
{
	return run(c, data, len, 0, scratch, ret_out, ret_len, e);
}

int tap_chain_end(struct tap_chain *c, struct buf *scratch, const uint8_t **ret_out,
    size_t *ret_len, struct err *e)
{
	return run(c, NULL, 0, 1, scratch, ret_out, ret_len, e);
}

void tap_chain_done(struct tap_chain *c)
{
	while (c->n) {
		struct tap *t = c->taps[--c->n];

		t->ops->free(t);
	}
}

/* ---- the tap that counts ---- */

struct tap_count {
	struct tap tap;
	uint64_t *counter;
};

static int count_bytes(
    struct tap *t, const uint8_t *data, size_t len, struct buf *out, struct err *e)
{
	(void)e;
	*((struct tap_count *)t)->counter += len;
	buf_put(out, data, len);
	return 0;
}

static int count_transparent(const struct tap *t)
{
	(void)t;
	return 1;
}

static void count_seen(struct tap *t, const uint8_t *data, size_t len)
{
	(void)data;
	*((struct tap_count *)t)->counter += len;
}

static void count_free(struct tap *t)
{
	free(t);
}

static const struct tap_ops count_ops = {
    .name = "count",
    .bytes = count_bytes,
    .end = NULL,
    .transparent = count_transparent,
    .seen = count_seen,
    .free = count_free,
};

struct tap *tap_count_new(uint64_t *counter)
{
	struct tap_count *t = calloc(1, sizeof *t);

	if (!t)
		return NULL;
	t->tap.ops = &count_ops;
	t->counter = counter;
	return &t->tap;
}
