#include "broker/store/live.h"

#include "broker/store/store_internal.h"

int store_live(struct store *s, uint64_t *ret)
{
	uint64_t pages = 0;
	MDB_txn *txn;
	MDB_stat st;
	int r = 0;

	if (!s->env && (r = store_reopen(s, NULL)) < 0)
		return r;
	if ((r = store_error(s, mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn), "reading", NULL)) <
	    0)
		return r;
	for (size_t i = 0; i < STORE_DBS && r == 0; i++) {
		r = store_error(s, mdb_stat(txn, s->dbi[i], &st), "reading", NULL);
		if (r == 0)
			pages += st.ms_branch_pages + st.ms_leaf_pages + st.ms_overflow_pages;
	}
	mdb_txn_abort(txn);
	if (r == 0)
		*ret = pages * st.ms_psize;
	return r;
}
