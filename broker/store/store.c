#include "broker/store/store.h"

#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#include "broker/store/store_internal.h"
#include "lib/err.h"

#define FULL_BELOW (UINT64_C(1) << 20)

/* LMDB calls a write that the disk cut short EIO (mdb.c, mdb_page_flush). */
static bool disk_is_full(const struct store *s)
{
	struct statvfs fs;

	return fstatvfs(s->dirfd, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize < FULL_BELOW;
}

int store_error(const struct store *s, int rc, const char *what, struct err *e)
{
	if (rc == EIO && disk_is_full(s))
		rc = ENOSPC;
	switch (rc) {
	case 0:
		return 0;
	case MDB_NOTFOUND:
		return err_set(e, -ENOENT, "%s: not there", what);
	case MDB_MAP_FULL:
		return err_set(e, -ENOSPC,
		    "%s: the store has reached store.map_size (%llu bytes): raise it", what,
		    (unsigned long long)s->config.map_size);
	case ENOSPC:
	case EDQUOT:
		return err_set(e, -ENOSPC, "%s: no space left on the disk under the store", what);
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID:
	case MDB_BAD_DBI:
	case MDB_INCOMPATIBLE:
		return err_set(e, -EUCLEAN, "%s: the store is damaged: %s", what, mdb_strerror(rc));
	case MDB_VERSION_MISMATCH:
		return err_set(e, -EPROTO, "%s: another version of LMDB's format", what);
	default:
		return err_set(e, rc > 0 ? -rc : -EIO, "%s: the store: %s", what, mdb_strerror(rc));
	}
}

/* ---- writing ---- */

int store_begin(struct store *s, struct err *e)
{
	int r;

	if (s->config.read_only)
		return err_set(e, -EROFS, "the store is open for reading only");
	if (s->txn)
		return err_set(e, -EBUSY, "a transaction is under way");
	if (!s->env && (r = store_reopen(s, e)) < 0)
		return r;
	return store_error(s, mdb_txn_begin(s->env, NULL, 0, &s->txn), "begin", e);
}

MDB_val store_val(const void *data, size_t len)
{
	MDB_val v = {.mv_size = len};

	memcpy(&v.mv_data, &data, sizeof data); /* LMDB does not write to it */
	return v;
}

int store_put(struct store *s, enum store_db db, const void *key, size_t klen, const void *value,
    size_t len, struct err *e)
{
	MDB_val k = store_val(key, klen), v = store_val(value, len);

	if (klen == 0 || klen > STORE_KEY_MAX || len > STORE_VALUE_MAX)
		return err_set(e, -EINVAL, "%s: a key or value is too long", store_db_name(db));
	return store_error(s, mdb_put(s->txn, s->dbi[db], &k, &v, 0), store_db_name(db), e);
}

int store_del(struct store *s, enum store_db db, const void *key, size_t klen, struct err *e)
{
	MDB_val k = store_val(key, klen);
	int rc = mdb_del(s->txn, s->dbi[db], &k, NULL);

	return rc == MDB_NOTFOUND ? 0 : store_error(s, rc, store_db_name(db), e);
}

int store_commit(struct store *s, struct err *e)
{
	int r = store_queue_apply(s, e), rc;

	if (r < 0) {
		store_abort(s);
		return r;
	}
	rc = mdb_txn_commit(s->txn);
	s->txn = NULL;
	if (rc != 0) {
		r = store_error(s, rc, "commit", e);
		store_close_env(
		    s); /* what memory says of the disk may be wrong now (mdb.c: MDB_FATAL_ERROR) */
		return r;
	}
	store_queue_clear(s);
	if (s->committed)
		s->committed(s->committed_arg);
	return 0;
}

void store_abort(struct store *s)
{
	if (s->txn)
		mdb_txn_abort(s->txn);
	s->txn = NULL;
}

/* ---- how full it is ---- */

int store_usage(struct store *s, struct store_usage *ret)
{
	struct store_usage u = {.map_size = s->config.map_size};
	struct statvfs fs;
	MDB_envinfo info;
	MDB_stat st;

	if (!s->env || mdb_env_info(s->env, &info) != 0 || mdb_env_stat(s->env, &st) != 0)
		return -EIO;
	u.map_used = (info.me_last_pgno + 1) * st.ms_psize;
	if (fstatvfs(s->dirfd, &fs) < 0)
		return -errno;
	u.disk_size = (uint64_t)fs.f_blocks * fs.f_frsize;
	u.disk_free = (uint64_t)fs.f_bavail * fs.f_frsize;
	u.reserve = s->reserve_disk;
	u.reserve_taken = s->taken;
	*ret = u;
	return 0;
}
