#include <string.h>

#include "broker/audit/ranges_internal.h"

/*
 * What shows only when everything was seen.
 */

#define LLU(x) ((unsigned long long)(x))

static void end_missing(struct ranges *r, uint64_t to, const char *who)
{
	if (to <= r->last)
		return;
	ranges_find(r, VERDICT_MISSING, r->last + 1, to,
	    "%s tells of %llu records: %llu are missing", who, LLU(to), LLU(to - r->last));
	ranges_hole(r, r->last + 1, to, true);
}

static void end_anchor(struct ranges *r, uint64_t head)
{
	uint64_t known = r->most > head ? r->most : head, size = r->anchor.size;

	if (!r->has_anchor)
		return;
	if (!r->anchor_held && break_covers(r, size)) {
		if (!r->told && !r->accept_break)
			ranges_find(r, VERDICT_ROLLED_BACK, 0, size,
			    "the checkpoint that was kept tells of %llu records, of which the "
			    "last were lost when the log was set back",
			    LLU(size));
		r->has_anchor = false; /* nothing more is said of it */
		return;
	}
	if (r->anchor_denied) {
		bool both = r->keys.has_log && r->good >= size;

		ranges_find(r, both ? VERDICT_FORK : VERDICT_BROKEN, 1, size,
		    "the checkpoint that was kept has another root at %llu records", LLU(size));
		if (r->denied == 0)
			r->sound = 0;
		if (size > r->denied)
			r->denied = size;
	}
	if (size < r->archived)
		ranges_find(r, VERDICT_ARCHIVED, 1, size,
		    "the checkpoint that was kept tells of %llu records, which are in the archive",
		    LLU(size));
	if (size <= r->last)
		return;
	if (known < size)
		ranges_find(r, VERDICT_ROLLED_BACK, r->last + 1, size,
		    "the checkpoint that was kept tells of %llu records: set back to %llu",
		    LLU(size), LLU(r->last));
	ranges_hole(r, r->last + 1, size, true);
}

/* A seal that was denied, and a later one that holds: both were signed. */
static void end_fork(struct ranges *r)
{
	if (r->denied == 0 || r->anchor_denied || r->good < r->denied)
		return;
	if (r->good_epoch > r->denied_epoch)
		ranges_find(r, VERDICT_RESIGNED, r->sound + 1, r->denied,
		    "epoch %llu signed another log than epoch %llu had signed", LLU(r->good_epoch),
		    LLU(r->denied_epoch));
	else
		ranges_find(r, VERDICT_FORK, r->sound + 1, r->denied,
		    "another log of %llu records was signed as well", LLU(r->denied));
}

static void end_seals(struct ranges *r)
{
	if (r->last == 0 && r->most == 0 && !r->has_anchor)
		ranges_find(r, VERDICT_EMPTY, 0, 0, "there is no record");
	else if (r->seen == 0 && r->nturns == 0)
		ranges_find(r, VERDICT_UNSEALED, 1, r->last, "nothing is sealed");
	else if (!r->keys.has_log)
		ranges_find(
		    r, VERDICT_NO_KEY, 1, r->last, "seals are there, but no key of this log");
	else if (!r->keys.has_epoch)
		ranges_find(r, VERDICT_NO_KEY, 1, r->last,
		    "seals were checked with the log key alone: no key of the first epoch");
	/* else it is anybody's word what is before the first record that is here */
	if (r->keys.has_log && r->good < r->archived)
		ranges_find(r, VERDICT_UNSEALED, 1, r->archived,
		    "no seal proves what the log goes on from behind record %llu",
		    LLU(r->archived));
	if (r->keys.has_log && r->good < r->last)
		ranges_find(r, VERDICT_TAIL, r->good + 1, r->last,
		    "records %llu to %llu are not sealed", LLU(r->good + 1), LLU(r->last));
}

void ranges_end(struct ranges *r, uint64_t head, bool complete)
{
	(void)ranges_flush(r);
	ranges_body_end(r);
	if (head > INT64_MAX)
		head = INT64_MAX; /* numbers of records are smaller: a damaged one */
	if (r->nturns && r->turn[r->nturns - 1].size > r->most)
		r->most = r->turn[r->nturns - 1].size;
	break_end(r);
	end_missing(r, r->most, "a seal");
	if (head > r->most)
		end_missing(r, head, "the log's head");
	if (head > 0 && head < r->last)
		ranges_find(r, VERDICT_BROKEN, head + 1, r->last,
		    "record %llu is newer than the log's head", LLU(head + 1));
	if (!complete)
		ranges_find(r, VERDICT_MISSING, 0, 0, "the source breaks off");
	end_anchor(r, head);
	seal_end(r);
	end_fork(r);
	end_seals(r);
}
