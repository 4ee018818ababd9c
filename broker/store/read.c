#include "broker/store/store_internal.h"

#include <errno.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/err.h"

static int begin_read(struct store *s, MDB_txn **ret)
{
	int r;

	if (!s->env && (r = store_reopen(s, NULL)) < 0)
		return r;
	return store_error(s, mdb_txn_begin(s->env, NULL, MDB_RDONLY, ret), "reading", NULL);
}

int store_get(struct store *s, enum store_db db, const void *key, size_t klen, struct buf *ret)
{
	MDB_val k = store_val(key, klen), v;
	MDB_txn *txn;
	int r = begin_read(s, &txn);

	if (r < 0)
		return r;
	r = store_error(s, mdb_get(txn, s->dbi[db], &k, &v), "", NULL);
	if (r == 0) {
		buf_put(ret, v.mv_data, v.mv_size);
		r = buf_status(ret);
	}
	mdb_txn_abort(txn);
	return r;
}

int store_walk(struct store *s, enum store_db db, const void *from, size_t flen, size_t max,
    store_fn fn, void *arg)
{
	MDB_val k = store_val(from, flen), v;
	MDB_cursor *cursor;
	MDB_txn *txn;
	int r = begin_read(s, &txn), rc;

	if (r < 0)
		return r;
	if ((rc = mdb_cursor_open(txn, s->dbi[db], &cursor)) != 0) {
		mdb_txn_abort(txn);
		return store_error(s, rc, "", NULL);
	}
	if (max > STORE_WALK_MAX)
		max = STORE_WALK_MAX;
	rc = max == 0 ? MDB_NOTFOUND
	              : mdb_cursor_get(cursor, &k, &v, flen > 0 ? MDB_SET_RANGE : MDB_FIRST);
	for (size_t n = 0; rc == 0; rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
		if ((r = fn(k.mv_data, k.mv_size, v.mv_data, v.mv_size, arg)) != 0 || ++n == max)
			break;
	}
	if (r == 0 && rc != 0 && rc != MDB_NOTFOUND)
		r = store_error(s, rc, "", NULL);
	mdb_cursor_close(cursor);
	mdb_txn_abort(txn);
	return r;
}

static int before(MDB_cursor *cursor, MDB_val *k, MDB_val *v, const MDB_val *most)
{
	int rc = mdb_cursor_get(cursor, k, v, MDB_SET_RANGE);

	if (rc == MDB_NOTFOUND)
		return mdb_cursor_get(cursor, k, v, MDB_LAST);
	if (rc == 0 &&
	    (k->mv_size != most->mv_size || memcmp(k->mv_data, most->mv_data, most->mv_size) != 0))
		return mdb_cursor_get(cursor, k, v, MDB_PREV);
	return rc;
}

int store_before(struct store *s, enum store_db db, const void *key, size_t klen,
    struct buf *ret_key, struct buf *ret_value)
{
	MDB_val most = store_val(key, klen), k = most, v;
	MDB_cursor *cursor;
	MDB_txn *txn;
	int r = begin_read(s, &txn), rc;

	if (r < 0)
		return r;
	if ((rc = mdb_cursor_open(txn, s->dbi[db], &cursor)) != 0) {
		mdb_txn_abort(txn);
		return store_error(s, rc, "", NULL);
	}
	if ((r = store_error(s, before(cursor, &k, &v, &most), "", NULL)) == 0) {
		buf_put(ret_key, k.mv_data, k.mv_size);
		buf_put(ret_value, v.mv_data, v.mv_size);
		if ((r = buf_status(ret_key)) == 0)
			r = buf_status(ret_value);
	}
	mdb_cursor_close(cursor);
	mdb_txn_abort(txn);
	return r;
}

int store_reader_check(struct store *s)
{
	int dead = 0;

	return s->env ? store_error(s, mdb_reader_check(s->env, &dead), "readers", NULL) : -EIO;
}
