#include "broker/store/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/err.h"
#include "lib/fdio.h"
#include "lib/util.h"

#define NEW_FILE  "data.new" /* until it is whole */
#define LOCK_FILE "lock.mdb"

/* The heads are in the main database, which has no name: its one page, where the others have their
 * roots, is written with every commit anyway. Their keys, of four bytes below 1024, are no names.
 */
static const char *const db_names[STORE_DBS] = {"meta", "records", "connections", "sessions",
    "leases", "heads", "logrecords", "tiles", "checkpoints", "epochs", "logs", "private", "cursors",
    "edges", "breaks", "bodies"};
static char schema_key[] = "schema";

const char *store_db_name(size_t db)
{
	return db_names[db] ? db_names[db] : "heads";
}

void store_close_env(struct store *s)
{
	if (s->txn)
		mdb_txn_abort(s->txn);
	s->txn = NULL;
	if (s->env)
		mdb_env_close(s->env);
	s->env = NULL;
}

/* ---- what it is written in ---- */

static int put_schema(struct store *s, MDB_txn *txn, uint32_t schema, struct err *e)
{
	uint8_t bytes[4] = {(uint8_t)(schema >> 24), (uint8_t)(schema >> 16),
	    (uint8_t)(schema >> 8), (uint8_t)schema};
	MDB_val key = {sizeof schema_key - 1, schema_key}, value = {sizeof bytes, bytes};

	return store_error(s, mdb_put(txn, s->dbi[STORE_META], &key, &value, 0), "schema", e);
}

/* The schema's version; a fresh store gets ours. */
static int check_schema(struct store *s, MDB_txn *txn, struct err *e)
{
	MDB_val key = {sizeof schema_key - 1, schema_key}, value;
	uint8_t bytes[4];
	uint32_t version;
	int rc = mdb_get(txn, s->dbi[STORE_META], &key, &value);

	if (rc == MDB_NOTFOUND && !s->config.read_only) {
		s->schema = STORE_SCHEMA;
		return put_schema(s, txn, STORE_SCHEMA, e);
	}
	if (rc != 0)
		return store_error(s, rc, "schema", e);
	if (value.mv_size != sizeof bytes)
		return err_set(e, -EUCLEAN, "schema: the store is damaged");
	memcpy(bytes, value.mv_data, sizeof bytes);
	version = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
	          bytes[3];
	if (version > STORE_SCHEMA)
		return err_set(e, -EPROTO,
		    "the store was written by a newer Postern (schema %u, this one knows %d)",
		    version, STORE_SCHEMA);
	if (version < STORE_SCHEMA && s->config.read_only)
		return err_set(e, -EPROTO,
		    "the store was written by an older Postern (schema %u, this one has %d): the "
		    "next start of this one migrates it",
		    version, STORE_SCHEMA);
	s->schema = version;
	return 0;
}

uint32_t store_schema(const struct store *s)
{
	return s->schema;
}

int store_set_schema(struct store *s, uint32_t schema, struct err *e)
{
	int r = put_schema(s, s->txn, schema, e);

	if (r == 0)
		s->schema = schema;
	return r;
}

/* ---- the environment ---- */

static int open_db(struct store *s, MDB_txn *txn, size_t i, struct err *e)
{
	unsigned flags = s->config.read_only || !db_names[i] ? 0 : MDB_CREATE;

	return store_error(
	    s, mdb_dbi_open(txn, db_names[i], flags, &s->dbi[i]), store_db_name(i), e);
}

static int open_dbs(struct store *s, struct err *e)
{
	unsigned ro = s->config.read_only ? MDB_RDONLY : 0;
	MDB_txn *txn;
	int rc = mdb_txn_begin(s->env, NULL, ro, &txn), r;

	if (rc != 0)
		return store_error(s, rc, "opening", e);
	if ((r = open_db(s, txn, STORE_META, e)) == 0)
		r = check_schema(s, txn, e);
	for (size_t i = 0; i < STORE_DBS && r == 0; i++)
		r = open_db(s, txn, i, e);
	if (r < 0) {
		mdb_txn_abort(txn);
		return r;
	}
	return store_error(s, mdb_txn_commit(txn), "opening", e);
}

/* LMDB makes the lock file even for a reader, who may be root: then the core could not open it. One
 * that is not there locks nobody out. */
static unsigned env_flags(const struct store *s)
{
	if (!s->config.read_only)
		return 0;
	return faccessat(s->dirfd, LOCK_FILE, F_OK, AT_SYMLINK_NOFOLLOW) < 0
	           ? MDB_RDONLY | MDB_NOLOCK
	           : MDB_RDONLY;
}

static int open_env(struct store *s, const char *name, unsigned flags, struct err *e)
{
	char path[64];
	int rc, r, dead;

	store_close_env(s);
	/* LMDB knows paths only; this one is the descriptor */
	(void)snprintf(path, sizeof path, "/proc/self/fd/%d/%s", s->dirfd, name);
	if ((rc = mdb_env_create(&s->env)) != 0) {
		s->env = NULL;
		return store_error(s, rc, "opening", e);
	}
	if ((rc = mdb_env_set_mapsize(s->env, store_reserve_map(s))) != 0 ||
	    (rc = mdb_env_set_maxdbs(s->env, STORE_DBS)) != 0 ||
	    (rc = mdb_env_open(s->env, path, flags, 0600)) != 0) {
		store_close_env(s);
		return store_error(s, rc, "opening", e);
	}
	if ((r = fd_set_cloexec(store_fd(s), true)) < 0 || (r = open_dbs(s, e)) < 0) {
		store_close_env(s);
		return r;
	}
	(void)mdb_reader_check(s->env, &dead);
	return 0;
}

int store_reopen(struct store *s, struct err *e)
{
	return open_env(s, "", env_flags(s), e);
}

/* ---- the file ---- */

/* LMDB writes the first pages of a file of its own at once and syncs them with the first commit: a
 * power cut between them leaves what it will not open again. So a file gets its name when it is
 * whole. */
static int make_file(struct store *s, struct err *e)
{
	int r;

	if (unlinkat(s->dirfd, NEW_FILE, 0) < 0 && errno != ENOENT)
		return err_set(e, -errno, "%s: %m", NEW_FILE);
	if ((r = open_env(s, NEW_FILE, MDB_NOSUBDIR | MDB_NOLOCK, e)) < 0)
		return r;
	store_close_env(s);
	if (renameat(s->dirfd, NEW_FILE, s->dirfd, STORE_DATA_FILE) < 0 || fsync(s->dirfd) < 0)
		return err_set(e, -errno, "%s: %m", STORE_DATA_FILE);
	return 0;
}

/* LMDB itself would take any 0 byte file, or garbage, for its own. */
static int check_file(struct store *s, struct err *e)
{
	struct stat st;

	if (fstatat(s->dirfd, STORE_DATA_FILE, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno == ENOENT && !s->config.read_only)
			return make_file(s, e);
		return err_set(e, -errno, "%s: %m", STORE_DATA_FILE);
	}
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EUCLEAN, "%s: not a regular file", STORE_DATA_FILE);
	return 0;
}

int store_open(int dirfd, const struct store_config *c, struct store **ret, struct err *e)
{
	struct store *s = calloc(1, sizeof *s);
	int r;

	if (!s)
		return err_set(e, -ENOMEM, "no memory for the store");
	s->config = *c;
	if (s->config.map_size == 0)
		s->config.map_size = STORE_MAP_DEFAULT;
	s->config.map_size &= ~UINT64_C(0xffff);
	s->queue_end = &s->queue;
	s->dirfd = fcntl(dirfd, F_DUPFD_CLOEXEC, 3);
	if (s->dirfd < 0)
		r = err_set(e, -errno, "the store's directory: %m");
	else if (s->config.map_size < STORE_MAP_MIN)
		r = err_set(e, -EINVAL, "store.map_size is below %llu bytes",
		    (unsigned long long)STORE_MAP_MIN);
	else if ((r = check_file(s, e)) == 0)
		r = store_reopen(s, e);
	if (r < 0) {
		store_close(s);
		return r;
	}
	if (!s->config.read_only)
		store_reserve_open(s);
	*ret = s;
	return 0;
}

void store_close(struct store *s)
{
	int saved = errno;

	if (!s)
		return;
	store_close_env(s);
	store_queue_clear(s);
	util_close(&s->dirfd);
	free(s);
	errno = saved;
}

int store_fd(const struct store *s)
{
	int fd = -1;

	if (s->env)
		(void)mdb_env_get_fd(s->env, &fd);
	return fd;
}
