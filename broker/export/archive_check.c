#include "broker/export/archive_check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/audit/body.h"
#include "broker/audit/export_file.h"
#include "broker/audit/segment_file.h"
#include "broker/audit/record.h"
#include "creds/note.h"
#include "lib/buf.h"
#include "lib/err.h"

struct archive_check {
	int fd;
	struct segment s;
	struct merkle tree;
	uint64_t edge, sealed; /* record before the first; size of the newest checkpoint */
	uint8_t sealed_root[DIGEST_LEN];
	struct digest *digest;
	FILE *f; /* NULL: the digest is not done yet */
	struct export_reader *reader;
	uint8_t *slice;
	struct buf record; /* whose body has to come next; empty: none */
	struct archive_checked result;
};

static int on_head(void *arg, const char *log, uint64_t records)
{
	const struct archive_check *c = arg;

	return strcmp(log, c->s.log) == 0 && records == c->s.to ? 0 : -EBADMSG;
}

static int any_note(void *arg, const void *note, size_t len)
{
	(void)arg;
	(void)note;
	(void)len;
	return 0;
}

static int on_edge(
    void *arg, uint64_t seq, const uint8_t leaf[DIGEST_LEN], const struct merkle *tree)
{
	struct archive_check *c = arg;
	uint8_t ours[DIGEST_LEN], theirs[DIGEST_LEN];

	(void)leaf;
	merkle_root(&c->tree, ours);
	merkle_root(tree, theirs);
	c->edge = seq;
	return memcmp(ours, theirs, DIGEST_LEN) == 0 ? 0 : -EBADMSG;
}

/* The one that a record named has not come. */
static void no_body(struct archive_check *c)
{
	if (c->record.len > 0)
		c->result.bodies_lost++;
	buf_reset(&c->record);
}

static int on_body(void *arg, uint64_t seq, const void *data, size_t len)
{
	struct archive_check *c = arg;

	(void)seq; /* the reader has seen that it is the record's */
	if (c->record.len == 0)
		return -EBADMSG;
	if (body_check(c->record.data, c->record.len, data, len) == 0)
		buf_reset(&c->record);
	no_body(c);
	return 0;
}

static int on_record(void *arg, uint64_t seq, const void *data, size_t len)
{
	struct archive_check *c = arg;
	uint8_t leaf[DIGEST_LEN], digest[DIGEST_LEN];
	size_t n;

	no_body(c);
	if (body_named(data, len, digest, &n) == 0)
		buf_put(&c->record, data, len);
	if (buf_status(&c->record) < 0)
		return buf_status(&c->record);
	if (seq != c->tree.size + 1 || seq > c->s.to || c->edge != c->s.from - 1)
		return -EBADMSG;
	merkle_leaf(data, len, leaf);
	return merkle_append(&c->tree, leaf);
}

static int on_checkpoint(void *arg, uint64_t size, const void *note, size_t len)
{
	struct archive_check *c = arg;
	struct checkpoint point;
	struct note n;
	int r;

	if (size != c->tree.size || note_parse(note, len, &n, NULL) < 0)
		return -EBADMSG;
	r = checkpoint_parse(n.text, n.text_len, &point, NULL);
	note_done(&n);
	if (r < 0 || point.size != size)
		return -EBADMSG;
	c->sealed = size;
	memcpy(c->sealed_root, point.root, DIGEST_LEN);
	return 0;
}

static const struct log_sink sink = {.head = on_head,
    .host_epoch = any_note,
    .epoch = any_note,
    .record = on_record,
    .checkpoint = on_checkpoint,
    .edge = on_edge,
    .body = on_body};

int archive_check_new(
    int fd, const struct segment *s, const struct merkle *tree, struct archive_check **ret)
{
	struct archive_check *c = calloc(1, sizeof *c);
	int r = 0;

	if (!c)
		return -ENOMEM;
	buf_init(&c->record, RECORD_MAX);
	c->fd = fd;
	c->s = *s;
	c->tree = *tree;
	if (!(c->digest = digest_new()) || !(c->slice = malloc(ARCHIVE_SLICE)))
		r = -ENOMEM;
	if (r == 0)
		r = export_reader_new(&sink, c, &c->reader);
	if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
		r = -errno;
	if (r < 0) {
		archive_check_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

void archive_check_free(struct archive_check *c)
{
	int saved = errno;

	if (c) {
		if (c->f)
			(void)fclose(c->f);
		export_reader_free(c->reader);
		digest_free(c->digest);
		buf_done(&c->record);
		free(c->slice);
	}
	free(c);
	errno = saved;
}

/* First the bytes of the file, then what they mean. */
static int raw(struct archive_check *c, struct err *e)
{
	ssize_t n = read(c->fd, c->slice, ARCHIVE_SLICE);

	if (n < 0 && errno == EINTR)
		return 1;
	if (n < 0)
		return err_set(e, -errno, "it cannot be read back: %m");
	digest_update(c->digest, c->slice, (size_t)n);
	if (n > 0)
		return 1;
	digest_final(c->digest, c->result.digest);
	if (lseek(c->fd, 0, SEEK_SET) < 0 || !(c->f = segment_open(c->fd)))
		return err_set(e, -errno, "it cannot be read back: %m");
	return 1;
}

static int whole(struct archive_check *c, struct err *e)
{
	no_body(c);
	merkle_root(&c->tree, c->result.root);
	if (ferror(c->f) || !export_complete(c->reader) || c->tree.size != c->s.to ||
	    c->sealed != c->s.to || memcmp(c->sealed_root, c->result.root, DIGEST_LEN) != 0)
		return err_set(e, -EBADMSG, "what is read back is not what was written");
	return 0;
}

int archive_check_slice(struct archive_check *c, struct err *e)
{
	size_t n;
	int r;

	if (!c->f)
		return raw(c, e);
	n = fread(c->slice, 1, ARCHIVE_SLICE, c->f);
	if (n == 0)
		return whole(c, e);
	if ((r = export_read(c->reader, c->slice, n, e)) == 0)
		return 1;
	return *e->text ? r : err_set(e, r, "what is read back is not what was written");
}

const struct archive_checked *archive_check_result(const struct archive_check *c)
{
	return &c->result;
}
