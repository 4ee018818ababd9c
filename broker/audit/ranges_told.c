#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/ranges_internal.h"

/*
 * What another log tells of this one. The host's log holds the tenants' checkpoints, and who has
 * stolen today's keys cannot take one out of it: so a tenant's log has each root that it had.
 */

void ranges_told(struct ranges *r)
{
	r->told = true;
}

void ranges_shrunk(struct ranges *r, uint64_t from, uint64_t to)
{
	if (r->nshrunk == RANGES_SHRUNK_MAX)
		return;
	r->shrunk[r->nshrunk].from = from;
	r->shrunk[r->nshrunk++].to = to;
}

int ranges_tell(struct ranges *r, const struct ranges_told *told, size_t n)
{
	void *p = n > 0 ? reallocarray(r->other, r->nother + n, sizeof *told) : r->other;

	if (n == 0)
		return 0;
	if (!p)
		return -ENOMEM;
	r->other = p;
	memcpy(r->other + r->nother, told, n * sizeof *told);
	r->nother += n;
	return 0;
}

static int by_size(const void *a, const void *b)
{
	const struct ranges_told *x = a, *y = b;

	return x->size < y->size ? -1 : x->size > y->size;
}

void told_settle(struct ranges *r)
{
	uint8_t root[DIGEST_LEN];

	if (!r->keys.has_log || !r->keys.has_epoch) /* breaks are not known */
		return;
	if (!r->other_sorted && r->nother > 0)
		qsort(r->other, r->nother, sizeof *r->other, by_size);
	r->other_sorted = true;
	for (; r->next_other < r->nother && r->other[r->next_other].size <= r->tree.size;
	     r->next_other++) {
		const struct ranges_told *t = &r->other[r->next_other];
		struct claim c = {.size = t->size, .epoch = t->epoch};

		if (t->size != r->tree.size || t->size == 0 || break_covers(r, t->size))
			continue;
		merkle_root(&r->tree, root);
		if (memcmp(root, t->root, DIGEST_LEN) != 0)
			claim_deny(r, &c);
	}
}
