#include "broker/ctl/audit_archive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/audit/export_file.h"
#include "broker/audit/segment_file.h"
#include "broker/ctl/ctl.h"
#include "lib/err.h"
#include "lib/util.h"

#define FILES_LEFT 64 /* descriptors for everything else */

struct audit_archive {
	bool named;
	struct segment *list;
	int *fd; /* of each */
	size_t n;
};

void audit_archive_close(struct audit_archive *a)
{
	if (!a)
		return;
	for (size_t i = 0; a->fd && i < a->n; i++)
		util_close(&a->fd[i]);
	free(a->fd);
	free(a->list);
	free(a);
}

/* As many files as there are segments. */
static void raise_limit(size_t n)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_cur >= n + FILES_LEFT)
		return;
	l.rlim_cur = n + FILES_LEFT < l.rlim_max ? n + FILES_LEFT : l.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &l);
}

static int open_all(struct audit_archive *a, int dir, const char *path)
{
	raise_limit(a->n);
	if (a->n > 0 && !(a->fd = malloc(a->n * sizeof *a->fd)))
		return ctl_fail(EXIT_FAILED, "no memory");
	for (size_t i = 0; i < a->n; i++)
		a->fd[i] = -1;
	for (size_t i = 0; i < a->n; i++) {
		struct stat st;

		/* the directory is the exporter's: a pipe in it would hold us for ever */
		a->fd[i] =
		    openat(dir, a->list[i].file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
		if (a->fd[i] < 0 || fstat(a->fd[i], &st) < 0)
			return ctl_fail(EXIT_UNREADABLE, "%s/%s: %m", path, a->list[i].file);
		if (!S_ISREG(st.st_mode))
			return ctl_fail(
			    EXIT_UNREADABLE, "%s/%s: not a file", path, a->list[i].file);
	}
	return EXIT_OK;
}

int audit_archive_open(
    const struct ctl *c, bool standard, const char *log, struct audit_archive **ret)
{
	const char *named = ctl_opt(c, "archive");
	struct audit_archive *a;
	char path[PATH_MAX];
	cleanup_close int dir = -1;
	int code, r;

	*ret = NULL;
	if (!named && !standard)
		return EXIT_OK;
	if (named)
		(void)snprintf(path, sizeof path, "%s", named);
	else
		ctl_path(c, "archive", "/var/lib/postern/archive", path);
	if ((dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return named ? ctl_fail(EXIT_UNREADABLE, "%s: %m", path) : EXIT_OK;
	if (!(a = calloc(1, sizeof *a)))
		return ctl_fail(EXIT_FAILED, "no memory");
	a->named = named != NULL;
	if ((r = segment_list(dir, log, &a->list, &a->n)) < 0)
		code = ctl_fail(EXIT_UNREADABLE, "%s: %s", path, strerror(-r));
	else
		code = open_all(a, dir, path);
	if (code != EXIT_OK) {
		audit_archive_close(a);
		return code;
	}
	*ret = a;
	return EXIT_OK;
}

bool audit_archive_of(const struct audit_archive *a, const char *log)
{
	if (!a || a->named)
		return a != NULL;
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(a->list[i].log, log) == 0)
			return true;
	return false;
}

uint64_t audit_archive_last(const struct audit_archive *a, const char *log)
{
	uint64_t last = 0;

	for (size_t i = 0; a && i < a->n; i++)
		if (strcmp(a->list[i].log, log) == 0 && a->list[i].to > last)
			last = a->list[i].to;
	return last;
}

bool audit_archive_again(const struct ctl *c, const char *log, struct audit_archive **a)
{
	struct audit_archive *now = NULL;

	if (audit_archive_open(c, true, ctl_opt(c, "log"), &now) != EXIT_OK)
		return false;
	if (audit_archive_last(now, log) <= audit_archive_last(*a, log)) {
		audit_archive_close(now);
		return false;
	}
	audit_archive_close(*a);
	*a = now;
	return true;
}

const struct segment *audit_archive_segments(const struct audit_archive *a, size_t *ret_n)
{
	*ret_n = a->n;
	return a->list;
}

void audit_archive_stat(const struct audit_archive *a, size_t i, struct stat *ret)
{
	if (fstat(a->fd[i], ret) < 0)
		*ret = (struct stat){0};
}

FILE *audit_archive_stream(const struct audit_archive *a, size_t i)
{
	return lseek(a->fd[i], 0, SEEK_SET) < 0 ? NULL : segment_open(a->fd[i]);
}

/* ---- one segment ---- */

static int torn(struct audit_joined *j, bool broken, const char *how)
{
	uint64_t from = j->last + 1 > j->segment->from ? j->last + 1 : j->segment->from;
	uint64_t to = j->segment->to < j->upto ? j->segment->to : j->upto;
	char text[200];

	if (from > to)
		from = to;
	(void)snprintf(text, sizeof text, "%s: %s", j->segment->file, how);
	return j->to->torn ? j->to->torn(j->to_arg, from, to, broken, text) : -EBADMSG;
}

static int seg_head(void *arg, const char *log, uint64_t records)
{
	const struct audit_joined *j = arg;

	return strcmp(log, j->log) == 0 && records == j->segment->to ? 0 : -EBADMSG;
}

static int seg_note(void *arg, const void *note, size_t len)
{
	(void)arg;
	(void)note;
	(void)len;
	return 0; /* the log has them all */
}

static int seg_edge(
    void *arg, uint64_t seq, const uint8_t leaf[DIGEST_LEN], const struct merkle *tree)
{
	struct audit_joined *j = arg;

	if (seq + 1 != j->segment->from)
		return -EBADMSG;
	if (seq < j->last)
		return 0;
	j->last = seq;
	return j->to->edge ? j->to->edge(j->to_arg, seq, leaf, tree) : 0;
}

static int seg_record(void *arg, uint64_t seq, const void *data, size_t len)
{
	struct audit_joined *j = arg;

	/* in a damaged file numbers may be anything, even what would end this */
	if (seq != j->next || seq > j->segment->to)
		return -EBADMSG;
	j->next++;
	if (seq > j->upto)
		return 1;
	if (seq <= j->last)
		return 0;
	j->last = seq;
	return j->to->record(j->to_arg, seq, data, len);
}

static int seg_checkpoint(void *arg, uint64_t size, const void *note, size_t len)
{
	struct audit_joined *j = arg;

	if (size + 1 != j->next)
		return -EBADMSG;
	return size < j->last ? 0 : j->to->checkpoint(j->to_arg, size, note, len);
}

static int seg_body(void *arg, uint64_t seq, const void *data, size_t len)
{
	struct audit_joined *j = arg;

	return j->to->body && seq == j->last ? j->to->body(j->to_arg, seq, data, len) : 0;
}

static const struct log_sink segment_sink = {.head = seg_head,
    .host_epoch = seg_note,
    .epoch = seg_note,
    .record = seg_record,
    .checkpoint = seg_checkpoint,
    .edge = seg_edge,
    .body = seg_body};

static int feed_segment(struct audit_joined *j, size_t i)
{
	FILE *f = audit_archive_stream(j->archive, i);
	struct err e = ERR_INIT;
	bool complete = false;
	int r;

	if (!f)
		return -errno;
	j->next = j->segment->from;
	r = export_read_file(f, &segment_sink, j, &complete, &e);
	(void)fclose(f);
	if (r == 1) /* the edge lies in it */
		return 0;
	if (r == -EBADMSG)
		return torn(j, true, *e.text ? err_text(&e) : "it is not the segment of its name");
	return r == 0 && !complete ? torn(j, false, "it breaks off") : r;
}

/* ---- before an edge ---- */

static int join_edge(
    void *arg, uint64_t seq, const uint8_t leaf[DIGEST_LEN], const struct merkle *tree)
{
	struct audit_joined *j = arg;
	int r = 0;

	j->last = 0;
	j->upto = seq;
	for (size_t i = 0; r == 0 && i < j->archive->n; i++) {
		j->segment = &j->archive->list[i];
		if (strcmp(j->segment->log, j->log) == 0 && j->segment->from <= seq &&
		    j->segment->to > j->last)
			r = feed_segment(j, i);
	}
	if (r != 0 || j->to->edge)
		return r != 0 ? r : j->to->edge(j->to_arg, seq, leaf, tree);
	return j->last == seq ? 0 : -EBADMSG;
}

/* ---- the rest is handed on ---- */

static int join_head(void *arg, const char *log, uint64_t records)
{
	const struct audit_joined *j = arg;

	return j->to->head(j->to_arg, log, records);
}

static int join_host_epoch(void *arg, const void *note, size_t len)
{
	const struct audit_joined *j = arg;

	return j->to->host_epoch(j->to_arg, note, len);
}

static int join_epoch(void *arg, const void *note, size_t len)
{
	const struct audit_joined *j = arg;

	return j->to->epoch(j->to_arg, note, len);
}

static int join_host_break(void *arg, const void *note, size_t len)
{
	const struct audit_joined *j = arg;

	return j->to->host_break(j->to_arg, note, len);
}

static int join_own_break(void *arg, const void *note, size_t len)
{
	const struct audit_joined *j = arg;

	return j->to->own_break(j->to_arg, note, len);
}

static int join_record(void *arg, uint64_t seq, const void *data, size_t len)
{
	const struct audit_joined *j = arg;

	return j->to->record(j->to_arg, seq, data, len);
}

static int join_checkpoint(void *arg, uint64_t size, const void *note, size_t len)
{
	const struct audit_joined *j = arg;

	return j->to->checkpoint(j->to_arg, size, note, len);
}

static int join_body(void *arg, uint64_t seq, const void *data, size_t len)
{
	const struct audit_joined *j = arg;

	return j->to->body(j->to_arg, seq, data, len);
}

void audit_archive_join(struct audit_joined *j, const struct audit_archive *a, const char *log,
    const struct log_sink *to, void *to_arg)
{
	*j = (struct audit_joined){.archive = a, .log = log, .to = to, .to_arg = to_arg};
	j->sink = (struct log_sink){.head = join_head,
	    .host_epoch = join_host_epoch,
	    .epoch = join_epoch,
	    .host_break = to->host_break ? join_host_break : NULL,
	    .own_break = to->own_break ? join_own_break : NULL,
	    .record = join_record,
	    .checkpoint = join_checkpoint,
	    .edge = join_edge,
	    .body = to->body ? join_body : NULL};
}
