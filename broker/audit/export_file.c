#include "broker/audit/export_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/body.h"
#include "broker/audit/logs.h"
#include "broker/audit/record.h"
#include "creds/note.h"
#include "lib/buf.h"
#include "lib/digest.h"
#include "lib/err.h"
#include "lib/reader.h"

#define ITEM_HEAD 5
#define CHUNK     (64u * 1024)
_Static_assert(BODY_MAX + 8 <= EXPORT_ITEM_MAX && RECORD_MAX + 8 <= EXPORT_ITEM_MAX &&
                   NOTE_MAX + 8 <= EXPORT_ITEM_MAX,
    "too small");

enum {
	HEAD = 'H',
	HOST_BREAK = 'B',
	HOST_EPOCH = 'E',
	BREAK = 'b',
	EPOCH = 'e',
	EDGE = 'P',
	RECORD = 'R',
	BODY = 'D',
	CHECKPOINT = 'C',
	END = 'Z'
};

/* ---- writing ---- */

struct export_writer {
	FILE *f;
	struct digest *digest;
	uint64_t records, checkpoints, epochs;
};

int export_writer_new(FILE *f, struct export_writer **ret)
{
	struct export_writer *w = calloc(1, sizeof *w);

	if (!w || !(w->digest = digest_new())) {
		free(w);
		return -ENOMEM;
	}
	w->f = f;
	*ret = w;
	return 0;
}

void export_writer_free(struct export_writer *w)
{
	int saved = errno;

	if (w)
		digest_free(w->digest);
	free(w);
	errno = saved;
}

static int put(struct export_writer *w, const void *data, size_t len)
{
	digest_update(w->digest, data, len);
	return fwrite(data, 1, len, w->f) == len ? 0 : -EIO;
}

/* type, length, number (if there is one), data */
static int item(
    struct export_writer *w, uint8_t type, const uint64_t *number, const void *data, size_t len)
{
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, 64);
	buf_put_u8(&b, type);
	buf_put_u32(&b, (uint32_t)(len + (number ? 8 : 0)));
	if (number)
		buf_put_u64(&b, *number);
	if ((r = buf_status(&b)) < 0 || (r = put(w, b.data, b.len)) < 0)
		return r;
	return put(w, data, len);
}

static int write_head(void *arg, const char *log, uint64_t records)
{
	struct export_writer *w = arg;
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, 64);
	buf_put_cstring(&b, log);
	buf_put_u64(&b, records);
	if ((r = buf_status(&b)) < 0 || (r = put(w, EXPORT_MAGIC, EXPORT_MAGIC_LEN)) < 0)
		return r;
	return item(w, HEAD, NULL, b.data, b.len);
}

static int write_host_epoch(void *arg, const void *note, size_t len)
{
	((struct export_writer *)arg)->epochs++;
	return item(arg, HOST_EPOCH, NULL, note, len);
}

static int write_epoch(void *arg, const void *note, size_t len)
{
	((struct export_writer *)arg)->epochs++;
	return item(arg, EPOCH, NULL, note, len);
}

static int write_host_break(void *arg, const void *note, size_t len)
{
	((struct export_writer *)arg)->epochs++;
	return item(arg, HOST_BREAK, NULL, note, len);
}

static int write_break(void *arg, const void *note, size_t len)
{
	((struct export_writer *)arg)->epochs++;
	return item(arg, BREAK, NULL, note, len);
}

static int write_record(void *arg, uint64_t seq, const void *data, size_t len)
{
	((struct export_writer *)arg)->records++;
	return item(arg, RECORD, &seq, data, len);
}

static int write_checkpoint(void *arg, uint64_t size, const void *note, size_t len)
{
	((struct export_writer *)arg)->checkpoints++;
	return item(arg, CHECKPOINT, &size, note, len);
}

static int write_edge(
    void *arg, uint64_t seq, const uint8_t leaf[DIGEST_LEN], const struct merkle *tree)
{
	const struct export_writer *w = arg;
	uint8_t data[DIGEST_LEN + MERKLE_PACKED_MAX];

	/* one between records says nothing that they do not */
	if (w->records > 0 || w->checkpoints > 0)
		return 0;
	memcpy(data, leaf, DIGEST_LEN);
	return item(arg, EDGE, &seq, data, DIGEST_LEN + merkle_pack(tree, data + DIGEST_LEN));
}

static int write_body(void *arg, uint64_t seq, const void *data, size_t len)
{
	return item(arg, BODY, &seq, data, len);
}

const struct log_sink export_sink = {.head = write_head,
    .host_epoch = write_host_epoch,
    .epoch = write_epoch,
    .host_break = write_host_break,
    .own_break = write_break,
    .record = write_record,
    .checkpoint = write_checkpoint,
    .edge = write_edge,
    .body = write_body};

int export_writer_end(struct export_writer *w)
{
	uint8_t digest[DIGEST_LEN];
	cleanup_buf struct buf b;
	int r;

	digest_final(w->digest, digest);
	buf_init(&b, 128);
	buf_put_u64(&b, w->records);
	buf_put_u64(&b, w->checkpoints);
	buf_put_u64(&b, w->epochs);
	buf_put(&b, digest, sizeof digest);
	if ((r = buf_status(&b)) < 0 || (r = item(w, END, NULL, b.data, b.len)) < 0)
		return r;
	return fflush(w->f) == 0 && !ferror(w->f) ? 0 : -EIO;
}

/* ---- reading ---- */

struct export_reader {
	const struct log_sink *sink;
	void *arg;
	struct buf item; /* the magic, or an item with its head */
	struct digest *digest;
	uint64_t at; /* bytes of the file before the item */
	int stage;   /* the type that came last; 0: nothing yet, 1: the magic */
	int failed;
	char log[NAME_MAX_LEN + 1];
	uint64_t seq, size, records, checkpoints, epochs;
};

int export_reader_new(const struct log_sink *sink, void *arg, struct export_reader **ret)
{
	struct export_reader *r = calloc(1, sizeof *r);

	if (!r || !(r->digest = digest_new())) {
		free(r);
		return -ENOMEM;
	}
	r->sink = sink;
	r->arg = arg;
	buf_init(&r->item, ITEM_HEAD + EXPORT_ITEM_MAX);
	*ret = r;
	return 0;
}

void export_reader_free(struct export_reader *r)
{
	int saved = errno;

	if (r) {
		buf_done(&r->item);
		digest_free(r->digest);
	}
	free(r);
	errno = saved;
}

bool export_complete(const struct export_reader *r)
{
	return r->stage == END && r->item.len == 0 && !r->failed;
}

static int wrong(const struct export_reader *r, struct err *e, const char *what)
{
	return err_set(e, -EBADMSG, "at byte %llu: %s", (unsigned long long)r->at, what);
}

static int read_head(struct export_reader *r, struct reader *in, struct err *e)
{
	uint64_t records;

	if (r->stage != 1 || reader_cstring(in, r->log, sizeof r->log) < 0 ||
	    reader_u64(in, &records) < 0 || reader_end(in) < 0 || records > INT64_MAX ||
	    (strcmp(r->log, LOG_HOST) != 0 && !name_valid(r->log, strlen(r->log))))
		return wrong(r, e, "not the head of a bundle");
	return r->sink->head(r->arg, r->log, records);
}

/* What comes before the records has an order. */
static int place_of(int type)
{
	static const char order[] = {HEAD, HOST_BREAK, HOST_EPOCH, BREAK, EPOCH};
	const char *at = memchr(order, type, sizeof order);

	return at ? (int)(at - order) : (int)sizeof order;
}

static int read_epoch(struct export_reader *r, int type, struct reader *in, struct err *e)
{
	bool host = type == HOST_EPOCH || type == HOST_BREAK;
	int (*fn)(void *arg, const void *note, size_t len) =
	    type == HOST_EPOCH   ? r->sink->host_epoch
	    : type == EPOCH      ? r->sink->epoch
	    : type == HOST_BREAK ? r->sink->host_break
	                         : r->sink->own_break;

	if (in->left > NOTE_MAX || place_of(r->stage) > place_of(type))
		return wrong(r, e, "an epoch note that is too long or out of its place");
	if (!host && strcmp(r->log, LOG_HOST) == 0)
		return wrong(r, e, "the host's log has no other epoch notes than the host's");
	r->epochs++;
	return fn ? fn(r->arg, in->p, in->left) : 0;
}

static int read_edge(struct export_reader *r, struct reader *in, struct err *e)
{
	const uint8_t *leaf;
	struct merkle tree;
	uint64_t seq;

	if (place_of(r->stage) > place_of(EPOCH) || reader_u64(in, &seq) < 0 ||
	    reader_bytes(in, DIGEST_LEN, &leaf) < 0 || merkle_unpack(in->p, in->left, &tree) < 0 ||
	    tree.size != seq || seq == 0 || seq > INT64_MAX)
		return wrong(r, e, "an edge that is damaged or out of its place");
	if (!r->sink->edge)
		return wrong(r, e, "the log's first records are not in it");
	r->seq = seq;
	return r->sink->edge(r->arg, seq, leaf, &tree);
}

static int read_record(struct export_reader *r, struct reader *in, struct err *e)
{
	uint64_t seq;

	if (r->stage == 1 || reader_u64(in, &seq) < 0 || in->left > RECORD_MAX || seq <= r->seq ||
	    seq <= r->size || seq > INT64_MAX)
		return wrong(r, e, "a record that is too long or out of its place");
	r->seq = seq;
	r->records++;
	return r->sink->record(r->arg, seq, in->p, in->left);
}

static int read_body(struct export_reader *r, struct reader *in, struct err *e)
{
	uint64_t seq;

	if (r->stage != RECORD || reader_u64(in, &seq) < 0 || in->left > BODY_MAX || seq != r->seq)
		return wrong(r, e, "a body that is too long or out of its place");
	return r->sink->body ? r->sink->body(r->arg, seq, in->p, in->left) : 0;
}

static int read_checkpoint(struct export_reader *r, struct reader *in, struct err *e)
{
	uint64_t size;

	/* of one size there may be several: who shows them all hides no fork */
	if (r->stage == 1 || reader_u64(in, &size) < 0 || in->left > NOTE_MAX || size < r->seq ||
	    size < r->size || size > INT64_MAX)
		return wrong(r, e, "a checkpoint that is too long or out of its place");
	r->size = size;
	r->checkpoints++;
	return r->sink->checkpoint(r->arg, size, in->p, in->left);
}

static int read_end(struct export_reader *r, struct reader *in, struct err *e)
{
	uint64_t records, checkpoints, epochs;
	uint8_t digest[DIGEST_LEN];
	const uint8_t *said;

	if (r->stage == 1 || reader_u64(in, &records) < 0 || reader_u64(in, &checkpoints) < 0 ||
	    reader_u64(in, &epochs) < 0 || reader_bytes(in, DIGEST_LEN, &said) < 0 ||
	    reader_end(in) < 0)
		return wrong(r, e, "not the end of a bundle");
	digest_final(r->digest, digest);
	if (records != r->records || checkpoints != r->checkpoints || epochs != r->epochs ||
	    memcmp(said, digest, DIGEST_LEN) != 0)
		return wrong(r, e, "the bundle was changed: its end does not fit it");
	return 0;
}

static int read_item(struct export_reader *r, struct err *e)
{
	int type = r->item.data[0], rc;
	struct reader in;

	reader_init(&in, r->item.data + ITEM_HEAD, r->item.len - ITEM_HEAD);
	if (type == HEAD)
		rc = read_head(r, &in, e);
	else if (type == HOST_EPOCH || type == EPOCH || type == HOST_BREAK || type == BREAK)
		rc = read_epoch(r, type, &in, e);
	else if (type == EDGE)
		rc = read_edge(r, &in, e);
	else if (type == RECORD)
		rc = read_record(r, &in, e);
	else if (type == BODY)
		rc = read_body(r, &in, e);
	else if (type == CHECKPOINT)
		rc = read_checkpoint(r, &in, e);
	else if (type == END)
		rc = read_end(r, &in, e);
	else
		rc = wrong(r, e, "an unknown item");
	if (rc == 0)
		r->stage = type;
	return rc;
}

/* How long the item is of which these are the first bytes; 0: not known yet. */
static int length(const struct export_reader *r, size_t *ret, struct err *e)
{
	struct reader in;
	uint32_t len;
	uint8_t type;

	*ret = 0;
	if (r->stage == END)
		return wrong(r, e, "something behind the end");
	if (r->stage == 0) {
		*ret = EXPORT_MAGIC_LEN;
		return 0;
	}
	reader_init(&in, r->item.data, r->item.len);
	if (reader_u8(&in, &type) < 0 || reader_u32(&in, &len) < 0)
		return 0;
	if (len > EXPORT_ITEM_MAX)
		return wrong(r, e, "an item that is too long");
	*ret = ITEM_HEAD + (size_t)len;
	return 0;
}

static int whole(struct export_reader *r, struct err *e)
{
	int rc;

	if (r->stage == 0) {
		if (memcmp(r->item.data, EXPORT_MAGIC, EXPORT_MAGIC_LEN) != 0)
			return wrong(r, e, "not a log bundle");
		r->stage = 1;
	} else if ((rc = read_item(r, e)) != 0) {
		return rc;
	}
	digest_update(r->digest, r->item.data, r->item.len);
	r->at += r->item.len;
	buf_reset(&r->item);
	return 0;
}

int export_read(struct export_reader *r, const void *data, size_t len, struct err *e)
{
	const uint8_t *p = data;

	while (r->failed == 0 && len > 0) {
		size_t want = 0, take;

		if ((r->failed = length(r, &want, e)) != 0)
			break;
		take = (want ? want : ITEM_HEAD) - r->item.len;
		if (take > len)
			take = len;
		buf_put(&r->item, p, take);
		p += take;
		len -= take;
		if ((r->failed = buf_status(&r->item)) < 0) {
			(void)err_set(e, r->failed, "no memory");
			break;
		}
		if (want == 0 && (r->failed = length(r, &want, e)) != 0)
			break;
		if (want && r->item.len == want)
			r->failed = whole(r, e);
	}
	return r->failed;
}

int export_read_file(
    FILE *f, const struct log_sink *sink, void *arg, bool *ret_complete, struct err *e)
{
	struct export_reader *r = NULL;
	uint8_t *chunk = malloc(CHUNK);
	int rc = chunk ? export_reader_new(sink, arg, &r) : -ENOMEM;
	size_t n;

	if (rc < 0)
		(void)err_set(e, rc, "no memory");
	while (rc == 0 && (n = fread(chunk, 1, CHUNK, f)) > 0)
		rc = export_read(r, chunk, n, e);
	/* a compressed file may be whole as a bundle and not as a file: segment_file.h */
	if (rc == 0 && ferror(f) && errno != ENODATA)
		rc = errno == EBADMSG ? err_set(e, -EBADMSG, "it is damaged")
		                      : err_set(e, -EIO, "it cannot be read: %m");
	if (rc == 0 && r->stage <= 1 && !ferror(f))
		rc = err_set(e, -EBADMSG, "not a log bundle");
	if (rc == 0)
		*ret_complete = export_complete(r) && !ferror(f);
	export_reader_free(r);
	free(chunk);
	return rc;
}
