#include "tests/baddays/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static struct disk_op *ops;
static size_t nops, max_ops;
static bool recording;
static struct disk_fault fault;
static unsigned failed, writes, syncs;

static void *need(void *p)
{
	if (!p)
		abort();
	return p;
}

static bool watched(int fd)
{
	char link[48], path[512];
	ssize_t n;

	(void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	if ((n = readlink(link, path, sizeof path - 1)) < 0)
		return false;
	path[n] = '\0';
	return n > 9 &&
	       (strcmp(path + n - 9, "/data.mdb") == 0 || strcmp(path + n - 9, "/data.new") == 0);
}

static struct disk_op *add(enum disk_kind kind, uint64_t off)
{
	if (!recording)
		return NULL;
	if (nops == max_ops) {
		max_ops = max_ops * 2 + 256;
		ops = need(realloc(ops, max_ops * sizeof *ops));
	}
	ops[nops] = (struct disk_op){.kind = kind, .off = off};
	return &ops[nops++];
}

static void add_write(int fd, const struct iovec *v, int n, uint64_t off, size_t len)
{
	struct disk_op *o = len > 0 ? add(DISK_WRITE, off) : NULL;

	if (!o)
		return;
	o->durable = (fcntl(fd, F_GETFL) & O_DSYNC) != 0;
	o->data = need(malloc(len));
	for (int i = 0; i < n && o->len < len; i++) {
		size_t part = v[i].iov_len < len - o->len ? v[i].iov_len : len - o->len;

		memcpy(o->data + o->len, v[i].iov_base, part);
		o->len += part;
	}
}

/* ---- faults ---- */

void disk_fail(const struct disk_fault *f)
{
	fault = *f;
	failed = writes = syncs = 0;
}

unsigned disk_failed(void)
{
	return failed;
}

unsigned disk_writes(void)
{
	return writes;
}

unsigned disk_syncs(void)
{
	return syncs;
}

static bool fails(bool sync)
{
	unsigned n = sync ? ++syncs : ++writes;

	if (fault.n == 0 || fault.sync != sync || n < fault.n || n >= fault.n + fault.count)
		return false;
	failed++;
	return true;
}

/* ---- what liblmdb calls ---- */

static ssize_t put(int fd, const struct iovec *v, int n, off_t off)
{
	size_t len = 0, left;
	ssize_t r = 0;
	bool bad;

	for (int i = 0; i < n; i++)
		len += v[i].iov_len;
	left = len;
	bad = fails(false);
	if (bad && fault.effect == DISK_NOTHING) {
		errno = fault.error;
		return -1;
	}
	if (bad && fault.effect == DISK_HALF)
		left = len / 2;
	len = 0;
	for (int i = 0; i < n && left > 0 && r >= 0; i++) {
		size_t part = v[i].iov_len < left ? v[i].iov_len : left;

		r = syscall(SYS_pwrite64, fd, v[i].iov_base, part, off + (off_t)len);
		if (r > 0) {
			len += (size_t)r;
			left -= (size_t)r;
		}
	}
	add_write(fd, v, n, (uint64_t)off, len);
	if (bad && fault.effect == DISK_LANDS) {
		errno = fault.error;
		return -1;
	}
	return r < 0 ? r : (ssize_t)len;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t off)
{
	struct iovec v = {.iov_len = len};

	if (!watched(fd))
		return syscall(SYS_pwrite64, fd, data, len, off);
	memcpy(&v.iov_base, &data, sizeof data);
	return put(fd, &v, 1, off);
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
	off_t off;
	ssize_t r;

	if (!watched(fd))
		return syscall(SYS_writev, fd, v, n);
	off = lseek(fd, 0, SEEK_CUR);
	if ((r = put(fd, v, n, off)) > 0)
		(void)lseek(fd, off + r, SEEK_SET);
	return r;
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t off)
{
	if (!watched(fd))
		return syscall(SYS_pwritev, fd, v, n, (long)off, 0L);
	return put(fd, v, n, off);
}

ssize_t write(int fd, const void *data, size_t len)
{
	struct iovec v = {.iov_len = len};

	if (!watched(fd))
		return syscall(SYS_write, fd, data, len);
	memcpy(&v.iov_base, &data, sizeof data);
	return writev(fd, &v, 1);
}

static int sync_of(int fd, long call)
{
	if (watched(fd)) {
		if (fails(true)) {
			(void)add(DISK_UNSYNC, 0);
			errno = fault.error;
			return -1;
		}
		(void)add(DISK_SYNC, 0);
	}
	return (int)syscall(call, fd);
}

int fdatasync(int fd)
{
	return sync_of(fd, SYS_fdatasync);
}

int fsync(int fd)
{
	return sync_of(fd, SYS_fsync);
}

int ftruncate(int fd, off_t len)
{
	if (watched(fd))
		(void)add(DISK_SIZE, (uint64_t)len);
	return (int)syscall(SYS_ftruncate, fd, len);
}

int renameat(int from, const char *old, int to, const char *new)
{
	int r = (int)syscall(SYS_renameat2, from, old, to, new, 0);

	if (r == 0 && strcmp(new, "data.mdb") == 0)
		(void)add(DISK_NAME, 0);
	return r;
}

/* A store that writes through its map would pass by all of this. */
int msync(void *p, size_t len, int flags)
{
	(void)p;
	(void)len;
	(void)flags;
	abort();
}

/* ---- the record, and what is made of it ---- */

void disk_record(void)
{
	for (size_t i = 0; i < nops; i++)
		free(ops[i].data);
	nops = 0;
	recording = true;
}

void disk_stop(void)
{
	recording = false;
}

void disk_mark(uint64_t n)
{
	(void)add(DISK_MARK, n);
}

const struct disk_op *disk_ops(size_t *ret_n)
{
	*ret_n = nops;
	return ops;
}

void image_write(struct disk_image *m, uint64_t off, const void *data, size_t len)
{
	size_t end = (size_t)off + len;

	if (end > m->max) {
		m->max = end * 2;
		m->data = need(realloc(m->data, m->max));
	}
	if (end > m->len) {
		memset(m->data + m->len, 0, end - m->len);
		m->len = end;
	}
	if (len > 0)
		memcpy(m->data + off, data, len);
}

void image_copy(struct disk_image *dst, const struct disk_image *src)
{
	dst->len = 0;
	image_write(dst, 0, src->data, src->len);
}

void image_done(struct disk_image *m)
{
	free(m->data);
	*m = (struct disk_image){0};
}

void disk_durable(size_t end, struct disk_image *ret)
{
	size_t from = 0; /* of what is not durable yet */

	ret->len = 0;
	for (size_t i = 0; i < end; i++) {
		const struct disk_op *o = &ops[i];

		if (o->kind == DISK_WRITE && o->durable && i + 1 < end)
			image_write(ret, o->off, o->data, o->len);
		if (o->kind == DISK_UNSYNC)
			from = i + 1;
		if (o->kind != DISK_SYNC)
			continue;
		for (; from < i; from++)
			if (ops[from].kind == DISK_WRITE)
				image_write(ret, ops[from].off, ops[from].data, ops[from].len);
	}
}

int image_store(const struct disk_image *m, int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int r = 0;

	if (fd < 0)
		return -errno;
	for (size_t done = 0; done < m->len && r == 0;) {
		long n = syscall(SYS_pwrite64, fd, m->data + done, m->len - done, (off_t)done);

		if (n <= 0)
			r = n < 0 ? -errno : -EIO;
		else
			done += (size_t)n;
	}
	(void)close(fd);
	return r;
}
