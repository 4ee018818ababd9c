/*
 * A file of OCSF events, one a line: STATE/export/NAME.jsonl, appended to, durable before the
 * cursor moves. A line that a crash tore is cut off before the next is written.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/export/sink.h"
#include "lib/fdio.h"
#include "lib/util.h"

#define OUT_MAX    (288u * 1024 * 1024)
#define CHUNK      4096
#define NAME_EXTRA 8 /* ".jsonl" */

struct jsonl {
	int fd;
	struct buf out;
};

/* Cuts at the last newline. */
static int repair(int fd, off_t size)
{
	char bytes[CHUNK];
	off_t at = size;

	while (at > 0) {
		size_t n = at < CHUNK ? (size_t)at : CHUNK;
		ssize_t got = pread(fd, bytes, n, at - (off_t)n);
		const char *nl;

		if (got != (ssize_t)n)
			return got < 0 ? -errno : -EIO;
		nl = memrchr(bytes, '\n', n);
		at -= (off_t)n;
		if (nl) {
			at += nl - bytes + 1;
			break;
		}
	}
	if (at != size && ftruncate(fd, at) < 0)
		return -errno;
	return 0;
}

static int open_file(struct sink *s)
{
	struct jsonl *j = s->impl;
	char name[EXPORT_PATH_MAX + NAME_EXTRA];
	cleanup_close int fd = -1;
	struct stat st;
	int r;

	if (j->fd >= 0)
		return 0;
	(void)snprintf(name, sizeof name, "%s.jsonl", s->config.file);
	fd = openat(s->x->export_dir, name,
	    O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0640);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if ((r = repair(fd, st.st_size)) < 0)
		return r;
	if (st.st_size == 0 && fsync(s->x->export_dir) < 0) /* its name is durable, too */
		return -errno;
	j->fd = steal_fd(&fd);
	return 0;
}

static int append(struct jsonl *j)
{
	struct stat before;
	int r;

	if (fstat(j->fd, &before) < 0)
		return -errno;
	r = fd_write_full(j->fd, j->out.data, j->out.len);
	if (r == 0 && fdatasync(j->fd) < 0)
		r = -errno;
	if (r < 0 && ftruncate(j->fd, before.st_size) < 0)
		return -errno; /* the next open cuts it */
	return r;
}

static void stop(struct sink *s)
{
	struct jsonl *j = s->impl;

	util_close(&j->fd); /* whatever is wrong with it: the next batch opens it anew */
}

static void send_batch(struct sink *s, const struct sink_batch *b)
{
	struct jsonl *j = s->impl;
	int r = open_file(s);

	buf_reset(&j->out);
	for (size_t i = 0; i < b->n; i++) {
		buf_put(&j->out, b->events[i].line.data, b->events[i].line.len);
		buf_put(&j->out, "\n", 1);
	}
	if (r == 0)
		r = buf_status(&j->out);
	if (r == 0)
		r = append(j);
	if (r < 0) {
		sink_failed(s, 0, strerror(-r));
		return;
	}
	sink_taken(s);
	sink_settled(s, 1);
}

static int open_jsonl(struct sink *s, struct err *e)
{
	struct jsonl *j = calloc(1, sizeof *j);

	if (!j)
		return err_set(e, -ENOMEM, "no memory for a sink");
	j->fd = -1;
	buf_init(&j->out, OUT_MAX);
	s->impl = j;
	return 0;
}

static void free_jsonl(struct sink *s)
{
	struct jsonl *j = s->impl;

	util_close(&j->fd);
	buf_done(&j->out);
	free(j);
	s->impl = NULL;
}

const struct sink_ops sink_jsonl = {open_jsonl, send_batch, NULL, stop, stop, free_jsonl};
