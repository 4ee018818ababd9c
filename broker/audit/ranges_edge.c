#include <string.h>

#include "broker/audit/ranges_internal.h"

/*
 * Where records were taken into an archive, and the tree goes on from what is left of them.
 */

#define LLU(x) ((unsigned long long)(x))

void ranges_whole(struct ranges *r)
{
	r->whole = true;
}

/* Everything up to it was fed. */
static void compare(struct ranges *r, uint64_t seq, const uint8_t leaf[DIGEST_LEN])
{
	if (memcmp(leaf, r->leaf, DIGEST_LEN) == 0)
		return;
	ranges_find(r, VERDICT_BROKEN, seq, seq,
	    "record %llu is not the one that the archive goes on from", LLU(seq));
	ranges_hole(r, seq, seq, false);
}

int ranges_edge(
    struct ranges *r, uint64_t seq, const uint8_t leaf[DIGEST_LEN], const struct merkle *tree)
{
	uint64_t from = r->last + 1;
	int rc;

	if (seq == 0 || seq > INT64_MAX || tree->size != seq || seq < r->last) {
		ranges_find(r, VERDICT_BROKEN, 0, 0, "an edge at record %llu is out of its place",
		    LLU(seq));
		return 0;
	}
	if (seq == r->last) {
		compare(r, seq, leaf);
		if (!r->lost)
			return 0;
	} else if (r->whole || r->last > 0) {
		ranges_find(r, VERDICT_MISSING, from, seq,
		    "records %llu to %llu are missing: the log goes on behind them", LLU(from),
		    LLU(seq));
		ranges_hole(r, from, seq, true);
	} else {
		ranges_find(r, VERDICT_ARCHIVED, 1, seq,
		    "records 1 to %llu are in the archive and were not looked at", LLU(seq));
		r->archived = seq;
	}
	if ((rc = ranges_flush(r)) < 0)
		return rc;
	r->npending = 0;
	r->tree = *tree;
	r->lost = false;
	r->last = r->edge_last = seq;
	r->version = 2;
	memcpy(r->leaf, leaf, DIGEST_LEN);
	ranges_settle(r);
	return 0;
}
