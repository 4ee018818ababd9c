/*
 * What must survive: the only user of LMDB. One environment for each process, one thread.
 *
 * Invariants: an acknowledged commit is on disk (no NOSYNC, NOMETASYNC, WRITEMAP); the data file's
 * descriptor is CLOEXEC (liblmdb 0.9.24 forgets it); reads are short transactions of at most
 * STORE_WALK_MAX entries, so that no reader pins pages; after a commit that failed the environment
 * is opened again before the next use. A full map or disk is -ENOSPC: what was there before is
 * there still.
 *
 * Must not know what its values mean.
 */
#ifndef POSTERN_STORE_STORE_H
#define POSTERN_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;
struct store;

#define STORE_SCHEMA 3 /* of what is in it; a newer one is refused */
#define STORE_MAP_DEFAULT                                                                          \
	(UINT64_C(16) << 30) /* address space only: the file is as large as its content */
#define STORE_MAP_MIN   (UINT64_C(1) << 20)
#define STORE_KEY_MAX   64
#define STORE_VALUE_MAX (128u * 1024)
#define STORE_WALK_MAX  4096
#define STORE_QUEUE_MAX 8192 /* changes waiting for the next commit */

/* What there is and what it means: broker/audit/logs.h. Numbers are big endian; log is u32. */
enum store_db {
	STORE_META,        /* "schema" -> u32; and what belongs to the whole store */
	STORE_RECORDS_1,   /* schema 1: u64 -> record; empty since */
	STORE_CONNECTIONS, /* id -> JSON */
	STORE_SESSIONS,    /* id -> JSON */
	STORE_LEASES,      /* id -> JSON */
	STORE_HEADS_2,     /* up to schema 2: heads; empty since */
	STORE_RECORDS,     /* log, u64 number -> record as hashed */
	STORE_TILES,       /* log, u8 level, u64 index -> hashes */
	STORE_CHECKPOINTS, /* log, u64 size -> note */
	STORE_EPOCHS,      /* log, u64 epoch -> note */
	STORE_LOGS,        /* log -> JSON */
	STORE_PRIVATE,     /* broker/audit/private.h */
	STORE_CURSORS,     /* sink NUL log -> u64 record, u64 checkpoint: broker/core/export.h */
	STORE_EDGES,       /* log -> what is left of records that are in the archive */
	STORE_BREAKS,      /* log, u64 number -> break note: creds/sealer.h */
	STORE_BODIES,      /* log, u64 number -> that record's body: broker/audit/body.h */
	STORE_HEADS,       /* log -> head; in the file's main database: open.c */
	STORE_DBS
};

struct store_config {
	uint64_t map_size; /* 0: STORE_MAP_DEFAULT */
	uint64_t reserve;  /* 0: STORE_RESERVE_DEFAULT, less for a small map or disk */
	bool read_only;    /* for the offline verifier: nothing is created or migrated */
};

/* dirfd (kept as a duplicate) is the directory that holds data.mdb. The caller owns *ret. -EPROTO:
 * made by a newer Postern, or read only and made by an older one; -EUCLEAN: damaged; -ENOENT: none
 * there (read only). */
int store_open(int dirfd, const struct store_config *c, struct store **ret, struct err *e);
void store_close(
    struct store *s); /* an open transaction is aborted, the queue dropped; NULL is fine */

/* What the content is written in: STORE_SCHEMA, or less for one of an older Postern that somebody
 * who knows its content still has to migrate, and then says so (inside a transaction). */
uint32_t store_schema(const struct store *s);
int store_set_schema(struct store *s, uint32_t schema, struct err *e);

/* One write transaction at a time. store_put() replaces; store_del() of what is not there is 0.
 * After an error of put or del the caller aborts. store_commit() first applies the queue; when it
 * fails nothing of the transaction is there and the queue is as before. */
int store_begin(struct store *s, struct err *e);
int store_put(struct store *s, enum store_db db, const void *key, size_t klen, const void *value,
    size_t len, struct err *e);
int store_del(struct store *s, enum store_db db, const void *key, size_t klen, struct err *e);
int store_commit(struct store *s, struct err *e);
void store_abort(struct store *s);

/* Changes that ride along with the next commit, the newest for a key winning. value NULL: delete.
 * -ENOBUFS beyond STORE_QUEUE_MAX keys. dirty() is called so that somebody commits soon. */
int store_later(struct store *s, enum store_db db, const char *key, const void *value, size_t len);
int store_later_key(
    struct store *s, enum store_db db, const void *key, size_t klen, const void *value, size_t len);
void store_on_later(struct store *s, void (*dirty)(void *arg), void *arg);
bool store_waiting(const struct store *s);
/* Called after each commit that held; it must not use the store. NULL: nobody is any more. */
void store_on_commit(struct store *s, void (*committed)(void *arg), void *arg);

/* Appends the value; -ENOENT. Sees committed state only. */
int store_get(struct store *s, enum store_db db, const void *key, size_t klen, struct buf *ret);
/* The entries from `from` on (flen 0: the first), in order, at most max and STORE_WALK_MAX. fn
 * answers 0 to go on, else the walk ends and returns that. key and value are valid during the call
 * only; fn must not use the store. */
typedef int (*store_fn)(const void *key, size_t klen, const void *value, size_t len, void *arg);
int store_walk(struct store *s, enum store_db db, const void *from, size_t flen, size_t max,
    store_fn fn, void *arg);
/* Appends key and value of the last entry whose key is at most this one; -ENOENT. */
int store_before(struct store *s, enum store_db db, const void *key, size_t klen,
    struct buf *ret_key, struct buf *ret_value);
/* Forgets readers that died: at start and every minute. */
int store_reader_check(struct store *s);

/* Everything that is committed now, without free pages, from fd's position on: a data.mdb. Writers
 * go on. */
int store_copy(struct store *s, int fd, struct err *e);
#define STORE_DATA_FILE "data.mdb"

struct store_usage {
	uint64_t map_size, map_used, disk_size,
	    disk_free;    /* bytes; the disk is the file system's */
	uint64_t reserve; /* bytes kept back on the disk */
	bool reserve_taken;
};
int store_usage(struct store *s, struct store_usage *ret);

/*
 * Room for what has to be written when there is none: a preallocated file beside the data, and as
 * much of the map beyond map_size. take() gives both to the data: what is written from then on eats
 * of it. give() keeps them back again once there is room enough, else -ENOSPC. No transaction may
 * be under way.
 */
#define STORE_RESERVE_DEFAULT (UINT64_C(16) << 20)
#define STORE_RESERVE_FILE    "reserve"
int store_reserve_take(struct store *s, struct err *e);
int store_reserve_give(struct store *s);
bool store_reserve_taken(const struct store *s);
/* The data file's descriptor, borrowed: for tests of its flags. */
int store_fd(const struct store *s);

static inline void store_cleanup(struct store **s)
{
	store_close(*s);
}
#define cleanup_store __attribute__((cleanup(store_cleanup)))

#endif
