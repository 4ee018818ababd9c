#include "broker/export/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/audit/body.h"
#include "broker/audit/export_file.h"
#include "broker/audit/logs.h"
#include "broker/audit/record.h"
#include "broker/audit/segment_file.h"
#include "broker/export/archive_check.h"
#include "broker/export/pull.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/msg.h"
#include "lib/util.h"

#define NOTES_BYTES (64u << 20) /* of the checkpoints of one segment, which are held */

struct kept {
	uint64_t size;
	size_t at, len; /* in notes */
};

struct cutting {
	struct pull *p;
	uint64_t id; /* of the core's question */
	struct segment s;
	uint8_t leaf[DIGEST_LEN]; /* of record from - 1, and the tree of all up to it */
	struct merkle tree;
	int directory, fd;
	FILE *f;
	struct export_writer *w;
	struct buf notes;
	struct kept *kept;
	size_t step;        /* of the notes that are asked for */
	size_t nkept, next; /* the checkpoint that comes next */
	uint64_t bytes;     /* of records, and of bodies beside them */
	struct buf record;  /* that names the body which comes next */
	uint64_t at;        /* its number */
	uint64_t bodies_lost;
	struct archive_check *check;
	struct loop_source *slice;
};

/* A core that has come back, or has waited for too long, may ask while one is still being cut: two
 * would write the same file, and the first to end would name what the other has not written yet. */
static bool busy;

static void cutting_free(struct cutting *c)
{
	busy = false;
	export_writer_free(c->w);
	if (c->f)
		(void)fclose(c->f);
	archive_check_free(c->check);
	loop_remove(c->slice);
	buf_done(&c->notes);
	buf_done(&c->record);
	free(c->kept);
	util_close(&c->fd);
	free(c);
}

static void fail(struct cutting *c, int r, const char *why)
{
	char text[200];

	(void)snprintf(text, sizeof text, "%s", why && *why ? why : strerror(-r));
	(void)unlinkat(c->directory, ARCHIVE_TMP, 0);
	if (r != -ECONNRESET) /* else it will be asked for again */
		(void)pull_answer(c->p, c->id, "archive.failed",
		    json_pack("{s:s, s:s}", "log", c->s.log, "reason", text));
	cutting_free(c);
}

/* ---- 4: it has its name ---- */

/* The core never asks for what it has archived: segments that reach into this one are of a log that
 * was set back since, or of a cut whose record was lost. They tell of another history, and nobody
 * is to read them as this one's; nothing is thrown away. */
static int part_others(const struct cutting *c)
{
	struct segment *list = NULL;
	char other[SEGMENT_NAME_MAX + sizeof ARCHIVE_SUPERSEDED];
	size_t n = 0;
	int r = segment_list(c->directory, c->s.log, &list, &n);

	for (size_t i = 0; r == 0 && i < n; i++) {
		if (list[i].to < c->s.from)
			continue;
		(void)snprintf(other, sizeof other, "%s" ARCHIVE_SUPERSEDED, list[i].file);
		log_warn("archive: %s is not of the log as it is now: %s", list[i].file, other);
		if (renameat2(c->directory, list[i].file, c->directory, other, RENAME_NOREPLACE) <
		        0 &&
		    (errno != EEXIST || unlinkat(c->directory, list[i].file, 0) < 0))
			r = -errno;
	}
	free(list);
	return r;
}

static void done(struct cutting *c)
{
	const struct archive_checked *k = archive_check_result(c->check);
	int r;

	if (k->bodies_lost != c->bodies_lost) {
		fail(c, -EBADMSG, "bodies that were written are not read back");
		return;
	}
	if ((r = part_others(c)) < 0) {
		fail(c, r, NULL);
		return;
	}
	if (renameat(c->directory, ARCHIVE_TMP, c->directory, c->s.file) < 0 ||
	    fsync(c->directory) < 0) {
		fail(c, -errno, NULL);
		return;
	}
	log_info("records %llu to %llu of log %s are in the archive: %s",
	    (unsigned long long)c->s.from, (unsigned long long)c->s.to, c->s.log, c->s.file);
	(void)pull_answer(c->p, c->id, "archive.written",
	    json_pack("{s:s, s:I, s:I, s:s, s:I, s:o, s:o, s:I}", "log", c->s.log, "from",
	        (json_int_t)c->s.from, "to", (json_int_t)c->s.to, "file", c->s.file, "bytes",
	        (json_int_t)c->bytes, "digest", msg_json_bytes(k->digest, DIGEST_LEN), "root",
	        msg_json_bytes(k->root, DIGEST_LEN), "bodies_lost", (json_int_t)c->bodies_lost));
	cutting_free(c);
}

/* ---- 3: read back ---- */

static void on_slice(struct loop *l, void *arg)
{
	struct cutting *c = arg;
	struct err e = ERR_INIT;
	int r = archive_check_slice(c->check, &e);

	(void)l;
	if (r < 0)
		fail(c, r, err_text(&e));
	else if (r == 0)
		done(c);
	else
		loop_timer_set(c->slice, 0);
}

static void read_back(struct cutting *c)
{
	int r = export_writer_end(c->w);

	if (fclose(steal_ptr(&c->f)) != 0 && r == 0)
		r = -errno;
	if (r == 0 && fsync(c->fd) < 0)
		r = -errno;
	if (r == 0)
		r = archive_check_new(c->fd, &c->s, &c->tree, &c->check);
	if (r == 0 && !(c->slice = loop_timer(pull_loop(c->p), 0, on_slice, c)))
		r = -ENOMEM;
	if (r < 0)
		fail(c, r, NULL);
}

/* ---- 2: records, each body behind its record, each checkpoint behind what it ends with ---- */

#define BESIDE 2 /* ends a walk: a body comes first */

/* The stream's own reason is the better one. */
static int reason(const struct cutting *c, int r)
{
	return r < 0 && ferror(c->f) && errno ? -errno : r;
}

static int put_checkpoints(struct cutting *c, uint64_t seq)
{
	int r = 0;

	for (; r == 0 && c->next < c->nkept && c->kept[c->next].size <= seq; c->next++)
		r = export_sink.checkpoint(c->w, c->kept[c->next].size,
		    c->notes.data + c->kept[c->next].at, c->kept[c->next].len);
	return reason(c, r);
}

static int on_record(uint64_t seq, const void *data, size_t len, void *arg)
{
	struct cutting *c = arg;
	int r = reason(c, export_sink.record(c->w, seq, data, len));
	uint8_t digest[DIGEST_LEN];
	size_t n;

	c->bytes += len;
	c->at = seq;
	if (r < 0)
		return r;
	if (body_named(data, len, digest, &n) < 0)
		return put_checkpoints(c, seq);
	buf_reset(&c->record);
	buf_put(&c->record, data, len);
	return buf_status(&c->record) < 0 ? buf_status(&c->record) : BESIDE;
}

static void on_records(int r, const char *why, void *arg);

/* It is kept as it is, for others to see; but that it is not what was written is said. */
static void on_body(
    int r, const char *why, const void *data, size_t len, const json_t *private, void *arg)
{
	struct cutting *c = arg;

	(void)private;
	if (r == -ENOENT || (r == 0 && body_check(c->record.data, c->record.len, data, len) < 0)) {
		c->bodies_lost++;
		log_warn("log %s: the body of record %llu is %s", c->s.log,
		    (unsigned long long)c->at, r == 0 ? "not what was written" : "missing");
	}
	c->bytes += len;
	if (r == 0)
		r = reason(c, export_sink.body(c->w, c->at, data, len));
	if (r == -ENOENT)
		r = 0;
	if (r == 0)
		r = put_checkpoints(c, c->at);
	if (r == 0 && c->at < c->s.to)
		r = pull_records(
		    c->p, "archive", c->s.log, c->at + 1, c->s.to, on_record, on_records, c);
	else if (r == 0)
		read_back(c);
	if (r < 0)
		fail(c, r, why);
}

static void on_records(int r, const char *why, void *arg)
{
	struct cutting *c = arg;

	if (r == BESIDE)
		r = pull_body(c->p, "archive", c->s.log, c->at, on_body, c);
	else if (r == 0)
		read_back(c);
	if (r < 0)
		fail(c, r, why);
}

static int on_checkpoint(uint64_t size, const void *note, size_t len, void *arg)
{
	struct cutting *c = arg;

	if ((c->nkept & (c->nkept - 1)) == 0) {
		void *p = reallocarray(c->kept, c->nkept ? 2 * c->nkept : 1, sizeof *c->kept);

		if (!p)
			return -ENOMEM;
		c->kept = p;
	}
	c->kept[c->nkept++] = (struct kept){size, c->notes.len, len};
	buf_put(&c->notes, note, len);
	return buf_status(&c->notes);
}

static void on_checkpoints(int r, const char *why, void *arg)
{
	struct cutting *c = arg;

	if (r == 0 && (c->nkept == 0 || c->kept[c->nkept - 1].size != c->s.to))
		r = -ENODATA;
	if (r == 0 && c->s.from > 1)
		r = export_sink.edge(c->w, c->s.from - 1, c->leaf, &c->tree);
	if (r == 0)
		r = pull_records(
		    c->p, "archive", c->s.log, c->s.from, c->s.to, on_record, on_records, c);
	if (r < 0)
		fail(c, r, why);
}

/* ---- 1: breaks and epochs, in the order of a bundle ---- */

static const struct step {
	const char *kind;
	bool host; /* of the host's log */
} steps[] = {{"break", true}, {"epoch", true}, {"break", false}, {"epoch", false}};

static int on_note(uint64_t number, const void *note, size_t len, void *arg)
{
	struct cutting *c = arg;
	const struct step *s = &steps[c->step];
	bool epoch = strcmp(s->kind, "epoch") == 0;

	(void)number;
	return (epoch     ? s->host ? export_sink.host_epoch : export_sink.epoch
	        : s->host ? export_sink.host_break
	                  : export_sink.own_break)(c->w, note, len);
}

static void on_notes(int r, const char *why, void *arg);

static int ask_notes(struct cutting *c)
{
	bool host = strcmp(c->s.log, LOG_HOST) == 0;

	if (c->step == (host ? 2 : ARRAY_LEN(steps)))
		return pull_notes(c->p, c->s.log, "checkpoint", c->s.from, c->s.to, on_checkpoint,
		    on_checkpoints, c);
	return pull_notes(c->p, steps[c->step].host ? LOG_HOST : c->s.log, steps[c->step].kind, 0,
	    INT64_MAX, on_note, on_notes, c);
}

static void on_notes(int r, const char *why, void *arg)
{
	struct cutting *c = arg;

	c->step++;
	if (r == 0)
		r = ask_notes(c);
	if (r < 0)
		fail(c, r, why);
}

static int begin(struct cutting *c)
{
	int r;

	c->fd = openat(c->directory, ARCHIVE_TMP,
	    O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, ARCHIVE_MODE);
	if (c->fd < 0 || !(c->f = segment_create(c->fd)))
		return -errno;
	/* whatever the umask is */
	if (fchmod(c->fd, ARCHIVE_MODE) < 0)
		return -errno;
	if ((r = export_writer_new(c->f, &c->w)) < 0 ||
	    (r = export_sink.head(c->w, c->s.log, c->s.to)) < 0)
		return r;
	return ask_notes(c);
}

/* leaf, packed tree of the records before. */
static int edge(struct cutting *c, const struct msg *m)
{
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, DIGEST_LEN + MERKLE_PACKED_MAX);
	merkle_init(&c->tree);
	if (c->s.from == 1)
		return 0;
	if ((r = msg_bytes(m, "edge", &b)) < 0)
		return r;
	if (b.len < DIGEST_LEN ||
	    merkle_unpack(b.data + DIGEST_LEN, b.len - DIGEST_LEN, &c->tree) < 0 ||
	    c->tree.size != c->s.from - 1)
		return -EBADMSG;
	memcpy(c->leaf, b.data, DIGEST_LEN);
	return 0;
}

void archive_cut(struct pull *p, int directory, const struct msg *m)
{
	struct cutting *c;
	int r;

	if (busy) {
		(void)pull_answer(p, m->id, "archive.failed",
		    json_pack("{s:s, s:s}", "log", msg_str(m, "log"), "reason",
		        "another segment is being cut"));
		return;
	}
	if (!(c = calloc(1, sizeof *c))) {
		log_error("no memory for a segment");
		return;
	}
	busy = true;
	*c = (struct cutting){.p = p, .id = m->id, .directory = directory, .fd = -1};
	buf_init(&c->notes, NOTES_BYTES);
	buf_init(&c->record, RECORD_MAX);
	c->s.from = (uint64_t)msg_int(m, "from", 0);
	c->s.to = (uint64_t)msg_int(m, "to", 0);
	(void)str_copy(c->s.log, sizeof c->s.log, msg_str(m, "log"));
	if ((r = segment_name(c->s.log, c->s.from, c->s.to, c->s.file)) < 0 ||
	    (r = edge(c, m)) < 0 || (r = begin(c)) < 0)
		fail(c, r, NULL);
}
