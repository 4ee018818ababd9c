#include "broker/store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "broker/store/store_internal.h"
#include "lib/err.h"
#include "lib/util.h"

/*
 * The file is made of blocks beyond its end (FALLOC_FL_KEEP_SIZE), so nobody reads zeros of it; its
 * blocks are free as soon as it is unlinked. At most an eighth of the disk's free space and of the
 * map.
 */

#define RESERVE_MIN   (UINT64_C(64) << 10)
#define RESERVE_SHARE 8
#define ROOM_MIN      (UINT64_C(256) << 10)

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static int disk_free(const struct store *s, uint64_t *ret)
{
	struct statvfs fs;

	if (fstatvfs(s->dirfd, &fs) < 0)
		return -errno;
	*ret = (uint64_t)fs.f_bavail * fs.f_frsize;
	return 0;
}

static int make_file(struct store *s, uint64_t size)
{
	cleanup_close int fd = openat(s->dirfd, STORE_RESERVE_FILE,
	    O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);

	if (fd < 0)
		return -errno;
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)size) < 0) {
		int r = -errno;

		(void)unlinkat(s->dirfd, STORE_RESERVE_FILE, 0);
		return r;
	}
	s->reserve_disk = size;
	return 0;
}

void store_reserve_open(struct store *s)
{
	uint64_t want = s->config.reserve ? s->config.reserve : STORE_RESERVE_DEFAULT,
	         free_bytes = 0;

	/* what an earlier process kept back is room for this one's */
	(void)unlinkat(s->dirfd, STORE_RESERVE_FILE, 0);
	s->reserve = least(want, s->config.map_size / RESERVE_SHARE) & ~UINT64_C(0xffff);
	if (disk_free(s, &free_bytes) < 0)
		return;
	want = least(s->reserve, free_bytes / RESERVE_SHARE) & ~UINT64_C(0xffff);
	if (want >= RESERVE_MIN)
		(void)make_file(s, want);
}

uint64_t store_reserve_map(const struct store *s)
{
	return s->config.map_size + (s->taken ? s->reserve : 0);
}

static int resize(struct store *s, struct err *e)
{
	if (s->txn)
		return err_set(e, -EBUSY, "a transaction is under way");
	if (!s->env) /* opened again at the next use, with this size */
		return 0;
	return store_error(s, mdb_env_set_mapsize(s->env, store_reserve_map(s)), "reserve", e);
}

int store_reserve_take(struct store *s, struct err *e)
{
	int r;

	if (s->taken)
		return 0;
	s->taken = true;
	if ((r = resize(s, e)) < 0) {
		s->taken = false;
		return r;
	}
	(void)unlinkat(s->dirfd, STORE_RESERVE_FILE, 0);
	return 0;
}

bool store_reserve_taken(const struct store *s)
{
	return s->taken;
}

/* Bytes of pages that are in the file and hold nothing. The free list's values are lists of page
 * numbers that begin with their length (mdb.c, "Free list"). */
static int free_pages(struct store *s, uint64_t *ret)
{
	MDB_val k, v;
	MDB_cursor *cursor;
	MDB_txn *txn;
	MDB_stat st;
	size_t n;
	int rc;

	*ret = 0;
	if (mdb_env_stat(s->env, &st) != 0 || mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn) != 0)
		return -EIO;
	if ((rc = mdb_cursor_open(txn, 0, &cursor)) == 0) {
		while ((rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0) {
			if (v.mv_size >= sizeof n) {
				n = *(const size_t *)v.mv_data;
				*ret += n * st.ms_psize;
			}
		}
		mdb_cursor_close(cursor);
	}
	mdb_txn_abort(txn);
	return rc == MDB_NOTFOUND ? 0 : -EIO;
}

/* Room for the reserve and as much again, so that it is not given and taken in turn. */
static bool room_again(struct store *s)
{
	struct store_usage u;
	uint64_t unused;

	if (!s->env && store_reopen(s, NULL) < 0)
		return false;
	if (store_usage(s, &u) < 0 || u.disk_free < 2 * s->reserve_disk + ROOM_MIN)
		return false;
	if (u.map_used + 2 * s->reserve <= s->config.map_size)
		return true;
	return free_pages(s, &unused) == 0 && u.map_used <= s->config.map_size + unused &&
	       u.map_used - unused + 2 * s->reserve <= s->config.map_size;
}

int store_reserve_give(struct store *s)
{
	uint64_t free_bytes = 0, want;

	if (!s->taken)
		return 0;
	if (!room_again(s))
		return -ENOSPC;
	s->taken = false;
	if (resize(s, NULL) < 0) {
		s->taken = true;
		return -ENOSPC;
	}
	if (disk_free(s, &free_bytes) == 0) {
		want = least(s->reserve, free_bytes / RESERVE_SHARE) & ~UINT64_C(0xffff);
		if (want >= RESERVE_MIN)
			(void)make_file(s, want);
	}
	return 0;
}
