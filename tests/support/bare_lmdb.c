#include "tests/support/bare_lmdb.h"

#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"

static MDB_env *bare;
static MDB_dbi bare_dbi;
static uint64_t bare_key;

static void fatal(const char *what)
{
	(void)fprintf(stderr, "bare LMDB: %s\n", what);
	exit(1);
}

void bare_open(const char *dir)
{
	MDB_txn *txn;

	if (mdb_env_create(&bare) || mdb_env_set_mapsize(bare, BARE_MAP) ||
	    mdb_env_set_maxdbs(bare, 4) || mdb_env_open(bare, dir, 0, 0600) ||
	    mdb_txn_begin(bare, NULL, 0, &txn) ||
	    mdb_dbi_open(txn, "records", MDB_CREATE | MDB_INTEGERKEY, &bare_dbi) ||
	    mdb_txn_commit(txn))
		fatal("bare LMDB does not open");
}

void bare_close(void)
{
	mdb_env_close(bare);
}

size_t bare_command_len(uint64_t i)
{
	return BARE_COMMAND_LEN / 2 + i * 37 % (BARE_COMMAND_LEN + 1);
}

double bare_run(size_t n, size_t group, size_t len)
{
	int64_t begin = clock_mono_ns();
	char value[4096] = {0};
	MDB_txn *txn;

	for (size_t i = 0; i < n; i += group) {
		if (mdb_txn_begin(bare, NULL, 0, &txn))
			fatal("bare begin");
		for (size_t k = 0; k < group; k++) {
			MDB_val key = {sizeof bare_key, &bare_key};
			MDB_val v = {len - BARE_COMMAND_LEN + bare_command_len(bare_key), value};

			bare_key++;
			memcpy(value, &bare_key, sizeof bare_key);
			if (mdb_put(txn, bare_dbi, &key, &v, MDB_APPEND))
				fatal("bare put");
		}
		if (mdb_txn_commit(txn))
			fatal("bare commit");
	}
	return (double)n / ((double)(clock_mono_ns() - begin) / 1e9);
}
