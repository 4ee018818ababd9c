#include "broker/audit/logs.h"

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <string.h>

#include "broker/store/store.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/msg.h"
#include "lib/reader.h"

void log_number_key(uint32_t log, uint8_t out[4])
{
	for (size_t i = 0; i < 4; i++)
		out[i] = (uint8_t)(log >> (24 - 8 * i));
}

void log_key(uint32_t log, uint64_t n, uint8_t out[LOG_KEY_LEN])
{
	log_number_key(log, out);
	for (size_t i = 0; i < 8; i++)
		out[4 + i] = (uint8_t)(n >> (56 - 8 * i));
}

static void put_u64(uint8_t *out, uint64_t v)
{
	for (size_t i = 0; i < 8; i++)
		out[i] = (uint8_t)(v >> (56 - 8 * i));
}

size_t log_head_pack(const struct log_head *h, uint8_t out[LOG_HEAD_MAX])
{
	put_u64(out, h->seq);
	put_u64(out + 8, (uint64_t)h->time_ns);
	put_u64(out + 16, h->bytes);
	memcpy(out + 24, h->leaf, DIGEST_LEN);
	return 24 + DIGEST_LEN + merkle_pack(&h->tree, out + 24 + DIGEST_LEN);
}

int log_head_parse(const void *data, size_t len, struct log_head *ret)
{
	const uint8_t *leaf, *tree;
	struct log_head h;
	struct reader r;
	uint64_t time;

	reader_init(&r, data, len);
	if (reader_u64(&r, &h.seq) < 0 || reader_u64(&r, &time) < 0 ||
	    reader_u64(&r, &h.bytes) < 0 || reader_bytes(&r, DIGEST_LEN, &leaf) < 0 ||
	    len - 24 - DIGEST_LEN > MERKLE_PACKED_MAX ||
	    reader_bytes(&r, len - 24 - DIGEST_LEN, &tree) < 0 || time > INT64_MAX ||
	    merkle_unpack(tree, len - 24 - DIGEST_LEN, &h.tree) < 0 || h.tree.size != h.seq)
		return -EBADMSG;
	h.time_ns = (int64_t)time;
	memcpy(h.leaf, leaf, DIGEST_LEN);
	*ret = h;
	return 0;
}

int logs_head(struct store *s, uint32_t log, struct log_head *ret, struct err *e)
{
	cleanup_buf struct buf b;
	uint8_t key[4];
	int r;

	buf_init(&b, LOG_HEAD_MAX);
	log_number_key(log, key);
	r = store_get(s, STORE_HEADS, key, sizeof key, &b);
	if (r == -ENOENT) {
		memset(ret, 0, sizeof *ret);
		return 0;
	}
	if (r < 0)
		return err_set(e, r, "log %u: its head cannot be read", log);
	if (log_head_parse(b.data, b.len, ret) < 0)
		return err_set(e, -EUCLEAN, "log %u: its head is damaged", log);
	return 0;
}

/* ---- which there are ---- */

static const struct msg_field log_fields[] = {
    {"name", MSG_STRING, NAME_MAX_LEN, false},
    {"created", MSG_STRING, 31, false},
    {NULL, MSG_INT, 0, false},
};

struct list {
	logs_fn fn;
	void *arg;
};

static int on_log(const void *key, size_t klen, const void *value, size_t len, void *arg)
{
	const struct list *l = arg;
	struct log_info info = {0};
	json_auto_t *o = NULL;
	struct reader r;

	reader_init(&r, key, klen);
	if (reader_u32(&r, &info.number) < 0 || reader_end(&r) < 0 ||
	    msg_json_parse(value, len, &o, NULL) < 0 ||
	    msg_check_fields("log", o, log_fields, NULL) < 0)
		return -EUCLEAN;
	(void)str_copy(info.name, sizeof info.name, json_string_value(json_object_get(o, "name")));
	(void)str_copy(
	    info.created, sizeof info.created, json_string_value(json_object_get(o, "created")));
	return l->fn(&info, l->arg);
}

int logs_list(struct store *s, logs_fn fn, void *arg)
{
	struct list l = {fn, arg};

	return store_walk(s, STORE_LOGS, "", 0, LOGS_MAX, on_log, &l);
}

struct find {
	const char *name;
	struct log_info *ret;
};

static int on_find(const struct log_info *l, void *arg)
{
	const struct find *f = arg;

	if (strcmp(l->name, f->name) != 0)
		return 0;
	*f->ret = *l;
	return 1;
}

int logs_find(struct store *s, const char *name, struct log_info *ret)
{
	struct find f = {name, ret};
	int r = logs_list(s, on_find, &f);

	return r == 1 ? 0 : r == 0 ? -ENOENT : r;
}

/* ---- entries of one log ---- */

struct walk {
	uint32_t log;
	logs_record_fn fn;
	void *arg;
	bool end; /* another log's entry was met */
};

static int on_entry(const void *key, size_t klen, const void *value, size_t len, void *arg)
{
	struct walk *w = arg;
	struct reader r;
	uint32_t log;
	uint64_t n;

	reader_init(&r, key, klen);
	if (reader_u32(&r, &log) < 0 || reader_u64(&r, &n) < 0 || reader_end(&r) < 0)
		return -EUCLEAN;
	if ((w->end = log != w->log))
		return 1;
	return w->fn(n, value, len, w->arg);
}

static int walk(struct store *s, enum store_db db, uint32_t log, uint64_t from, size_t max,
    logs_record_fn fn, void *arg)
{
	struct walk w = {log, fn, arg, false};
	uint8_t key[LOG_KEY_LEN];
	int r;

	log_key(log, from, key);
	r = store_walk(s, db, key, sizeof key, max, on_entry, &w);
	return w.end ? 0 : r;
}

static int get(struct store *s, enum store_db db, uint32_t log, uint64_t n, struct buf *ret)
{
	uint8_t key[LOG_KEY_LEN];

	log_key(log, n, key);
	return store_get(s, db, key, sizeof key, ret);
}

static int put(
    struct store *s, enum store_db db, uint32_t log, uint64_t n, const void *data, size_t len)
{
	uint8_t key[LOG_KEY_LEN];

	log_key(log, n, key);
	return store_later_key(s, db, key, sizeof key, data, len);
}

int logs_walk(
    struct store *s, uint32_t log, uint64_t from, size_t max, logs_record_fn fn, void *arg)
{
	return walk(s, STORE_RECORDS, log, from, max, fn, arg);
}

int logs_get(struct store *s, uint32_t log, uint64_t seq, struct buf *ret)
{
	return get(s, STORE_RECORDS, log, seq, ret);
}

int logs_body_get(struct store *s, uint32_t log, uint64_t seq, struct buf *ret)
{
	return get(s, STORE_BODIES, log, seq, ret);
}

int logs_checkpoint_put(struct store *s, uint32_t log, uint64_t size, const void *note, size_t len)
{
	return put(s, STORE_CHECKPOINTS, log, size, note, len);
}

int logs_checkpoint_get(struct store *s, uint32_t log, uint64_t size, struct buf *ret)
{
	return get(s, STORE_CHECKPOINTS, log, size, ret);
}

int logs_checkpoint_latest(
    struct store *s, uint32_t log, uint64_t most, uint64_t *ret_size, struct buf *ret)
{
	uint8_t key[LOG_KEY_LEN];
	cleanup_buf struct buf found, note;
	struct reader r;
	uint32_t number;
	uint64_t size;
	int rc;

	buf_init(&found, STORE_KEY_MAX);
	buf_init(&note, STORE_VALUE_MAX);
	log_key(log, most, key);
	if ((rc = store_before(s, STORE_CHECKPOINTS, key, sizeof key, &found, &note)) < 0)
		return rc;
	reader_init(&r, found.data, found.len);
	if (reader_u32(&r, &number) < 0 || reader_u64(&r, &size) < 0 || reader_end(&r) < 0)
		return -EUCLEAN;
	if (number != log)
		return -ENOENT;
	buf_put(ret, note.data, note.len);
	if ((rc = buf_status(ret)) == 0)
		*ret_size = size;
	return rc;
}

int logs_checkpoint_walk(
    struct store *s, uint32_t log, uint64_t from, size_t max, logs_note_fn fn, void *arg)
{
	return walk(s, STORE_CHECKPOINTS, log, from, max, fn, arg);
}

int logs_epoch_put(struct store *s, uint32_t log, uint64_t epoch, const void *note, size_t len)
{
	return put(s, STORE_EPOCHS, log, epoch, note, len);
}

int logs_epoch_get(struct store *s, uint32_t log, uint64_t epoch, struct buf *ret)
{
	return get(s, STORE_EPOCHS, log, epoch, ret);
}

int logs_epoch_walk(
    struct store *s, uint32_t log, uint64_t from, size_t max, logs_note_fn fn, void *arg)
{
	return walk(s, STORE_EPOCHS, log, from, max, fn, arg);
}

int logs_break_put(struct store *s, uint32_t log, uint64_t number, const void *note, size_t len)
{
	return put(s, STORE_BREAKS, log, number, note, len);
}

int logs_break_walk(
    struct store *s, uint32_t log, uint64_t from, size_t max, logs_note_fn fn, void *arg)
{
	return walk(s, STORE_BREAKS, log, from, max, fn, arg);
}

int logs_break_last(struct store *s, uint32_t log, uint64_t *ret)
{
	uint8_t key[LOG_KEY_LEN];
	cleanup_buf struct buf found, note;
	struct reader r;
	uint32_t number;
	uint64_t n = 0;
	int rc;

	buf_init(&found, STORE_KEY_MAX);
	buf_init(&note, STORE_VALUE_MAX);
	log_key(log, INT64_MAX, key);
	rc = store_before(s, STORE_BREAKS, key, sizeof key, &found, &note);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	reader_init(&r, found.data, found.len);
	if (rc == 0 &&
	    (reader_u32(&r, &number) < 0 || reader_u64(&r, &n) < 0 || reader_end(&r) < 0))
		return -EUCLEAN;
	*ret = rc == 0 && number == log ? n : 0;
	return 0;
}
