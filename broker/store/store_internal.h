/*
 * What the files of the store share. Nobody else includes it.
 *
 *   store.c     writing, and what LMDB's errors mean
 *   open.c      the file, its environment and its schema
 *   read.c      reading
 *   queue.c     what waits for the next commit
 *   reserve.c   room that is kept back
 *   copy.c      a backup
 */
#ifndef POSTERN_STORE_INTERNAL_H
#define POSTERN_STORE_INTERNAL_H

#include <lmdb.h>

#include "broker/store/store.h"

struct queued {
	struct queued *next;
	enum store_db db;
	size_t klen, len;
	bool remove;
	uint8_t *value;
	char key[STORE_KEY_MAX];
};

struct store {
	int dirfd;
	struct store_config config;
	MDB_env *env; /* NULL: a commit has failed, to be opened again */
	MDB_dbi dbi[STORE_DBS];
	MDB_txn *txn;
	uint32_t schema;
	uint64_t reserve, reserve_disk; /* bytes of the map and of the file */
	bool taken;
	struct queued *queue, **queue_end;
	size_t nqueued;
	void (*dirty)(void *arg);
	void *dirty_arg;
	void (*committed)(void *arg);
	void *committed_arg;
};

/* 0 or -errno, and what it means for the operator. */
int store_error(const struct store *s, int rc, const char *what, struct err *e);
/* A key or value as LMDB takes it: it does not write to it. */
MDB_val store_val(const void *data, size_t len);

/* open.c */
int store_reopen(struct store *s, struct err *e);
void store_close_env(struct store *s);
const char *store_db_name(size_t db);

/* After the environment is open. That there is no room for a reserve is no error. */
void store_reserve_open(struct store *s);
uint64_t store_reserve_map(const struct store *s); /* the map's size now */

/* queue.c: what waits goes into the transaction, in order; 0 or -errno. */
int store_queue_apply(struct store *s, struct err *e);
void store_queue_clear(struct store *s);

#endif
