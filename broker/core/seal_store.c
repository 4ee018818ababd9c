#include "broker/core/seal_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/logs.h"
#include "broker/audit/tree.h"
#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/util.h"

#define NOTE_LEN_MAX (16u * 1024)

struct listing {
	struct log_info log[LOGS_MAX];
	size_t n;
};

static int on_info(const struct log_info *l, void *arg)
{
	struct listing *to = arg;

	if (to->n < LOGS_MAX)
		to->log[to->n++] = *l;
	return 0;
}

/* After the walk: fn looks into the store, which nobody may during one. */
static int list(void *arg, seal_log_fn fn, void *fn_arg)
{
	struct listing *to = calloc(1, sizeof *to);
	int r = to ? logs_list(arg, on_info, to) : -ENOMEM;

	for (size_t i = 0; r == 0 && i < to->n; i++)
		r = fn(to->log[i].number, to->log[i].name, fn_arg);
	free(to);
	return r;
}

static int size(void *arg, uint32_t log, uint64_t *ret)
{
	struct log_head h;
	int r = logs_head(arg, log, &h, NULL);

	if (r == 0)
		*ret = h.seq;
	return r;
}

static int root(void *arg, uint32_t log, uint64_t n, uint8_t ret[DIGEST_LEN])
{
	struct log_head h;

	/* the usual question, and the head has the answer */
	if (logs_head(arg, log, &h, NULL) == 0 && h.seq == n) {
		merkle_root(&h.tree, ret);
		return 0;
	}
	return tree_root(arg, log, n, ret, NULL);
}

static int consistency(
    void *arg, uint32_t log, uint64_t old, uint64_t n, uint8_t (*ret)[DIGEST_LEN], size_t *ret_n)
{
	return tree_consistency(arg, log, old, n, ret, ret_n, NULL);
}

static int put_checkpoint(void *arg, uint32_t log, uint64_t n, const void *note, size_t len)
{
	return logs_checkpoint_put(arg, log, n, note, len);
}

static int put_epoch(void *arg, uint32_t log, uint64_t epoch, const void *note, size_t len)
{
	return logs_epoch_put(arg, log, epoch, note, len);
}

static int last_checkpoint(void *arg, uint32_t log, uint64_t *ret)
{
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, NOTE_LEN_MAX);
	r = logs_checkpoint_latest(arg, log, INT64_MAX, ret, &b);
	if (r == -ENOENT)
		*ret = 0;
	return r == -ENOENT ? 0 : r;
}

static int on_epoch(uint64_t epoch, const void *note, size_t len, void *arg)
{
	uint64_t *newest = arg;

	(void)note;
	(void)len;
	*newest = epoch;
	return 0;
}

/* They begin with 1 and are few: one a day. */
static int last_epoch(void *arg, uint32_t log, uint64_t *ret)
{
	uint64_t newest = 0, from;
	int r;

	do {
		from = newest;
		r = logs_epoch_walk(arg, log, from + 1, STORE_WALK_MAX, on_epoch, &newest);
	} while (r == 0 && newest >= from + STORE_WALK_MAX);
	if (r == 0)
		*ret = newest;
	return r;
}

static int epoch_note(void *arg, uint32_t log, uint64_t epoch, struct buf *ret)
{
	return logs_epoch_get(arg, log, epoch, ret);
}

static int put_break(void *arg, uint32_t log, uint64_t number, const void *note, size_t len)
{
	return logs_break_put(arg, log, number, note, len);
}

static int last_break(void *arg, uint32_t log, uint64_t *ret)
{
	return logs_break_last(arg, log, ret);
}

static int checkpoint(void *arg, uint32_t log, uint64_t most, uint64_t *ret_size, struct buf *ret)
{
	return logs_checkpoint_latest(arg, log, most, ret_size, ret);
}

static int remember(void *arg, const char *key, const char *text)
{
	return store_later(arg, STORE_META, key, text, strlen(text));
}

static int recall(void *arg, const char *key, struct buf *ret)
{
	return store_get(arg, STORE_META, key, strlen(key), ret);
}

const struct seal_logs seal_store_logs = {
    .list = list,
    .size = size,
    .root = root,
    .consistency = consistency,
    .put_checkpoint = put_checkpoint,
    .put_epoch = put_epoch,
    .last_checkpoint = last_checkpoint,
    .last_epoch = last_epoch,
    .epoch_note = epoch_note,
    .put_break = put_break,
    .last_break = last_break,
    .checkpoint = checkpoint,
    .remember = remember,
    .recall = recall,
};
