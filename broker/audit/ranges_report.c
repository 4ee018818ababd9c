#include "broker/audit/ranges.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/ranges_internal.h"

/*
 * Findings, holes, and the ranges they leave.
 */

const char *verdict_word(enum verdict v)
{
	static const char *const words[VERDICTS] = {"good", "empty", "tail", "archived", "no-key",
	    "unsealed", "restored", "missing", "epoch-gap", "bad-signature", "rolled-back",
	    "broken", "re-signed", "fork"};

	return (size_t)v < VERDICTS ? words[v] : "?";
}

const char *range_word(enum range_state s)
{
	static const char *const words[] = {
	    "chained only", "signed", "witnessed", "archived", "broken", "missing"};

	return words[s];
}

void ranges_find(struct ranges *r, enum verdict v, uint64_t from, uint64_t to, const char *fmt, ...)
{
	struct finding *f;
	va_list ap;

	if (v > r->verdict)
		r->verdict = v;
	if (r->nfindings == RANGES_FINDINGS_MAX) {
		r->more++;
		return;
	}
	f = &r->finding[r->nfindings++];
	*f = (struct finding){.verdict = v, .from = from, .to = to};
	va_start(ap, fmt);
	(void)vsnprintf(f->text, sizeof f->text, fmt, ap);
	va_end(ap);
}

void ranges_hole(struct ranges *r, uint64_t from, uint64_t to, bool missing)
{
	struct hole *h = r->nholes ? &r->hole[r->nholes - 1] : NULL;

	/* the common ones come in order; beyond the maximum the last one covers all the rest */
	if (h && h->missing == missing && from >= h->from && from <= h->to + 1) {
		if (to > h->to)
			h->to = to;
		return;
	}
	if (r->nholes == RANGES_HOLES_MAX) {
		if (from < h->from)
			h->from = from;
		if (to > h->to)
			h->to = to;
		return;
	}
	r->hole[r->nholes++] = (struct hole){from, to, missing};
}

static enum range_state state_at(const struct ranges *r, uint64_t seq)
{
	uint64_t sealed = r->good > r->denied ? r->good : r->denied;
	bool doubt = r->denied > 0 && seq > r->sound && seq <= sealed;
	/* without keys nothing is known of it but that it is elsewhere */
	bool archived = seq <= r->archived && (!r->keys.has_log || r->good >= r->archived);
	enum range_state s = seq > r->last         ? RANGE_MISSING
	                     : doubt               ? RANGE_BROKEN
	                     : archived            ? RANGE_ARCHIVED
	                     : seq <= r->witnessed ? RANGE_WITNESSED
	                     : seq <= r->good      ? RANGE_SIGNED
	                                           : RANGE_CHAINED;

	for (size_t i = 0; i < r->nholes; i++)
		if (seq >= r->hole[i].from && seq <= r->hole[i].to) {
			if (r->hole[i].missing)
				return RANGE_MISSING;
			s = RANGE_BROKEN;
		}
	return s;
}

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The state changes only at these numbers. */
static void make_ranges(struct ranges *r)
{
	uint64_t edge[2 * RANGES_HOLES_MAX + 8], top = r->last > r->most ? r->last : r->most;
	size_t n = 0;

	if (r->has_anchor && r->anchor.size > top)
		top = r->anchor.size;
	for (size_t i = 0; i < r->nholes; i++)
		if (r->hole[i].to > top)
			top = r->hole[i].to;
	edge[n++] = 1;
	edge[n++] = r->witnessed + 1;
	edge[n++] = r->good + 1;
	edge[n++] = r->denied + 1;
	edge[n++] = r->sound + 1;
	edge[n++] = r->last + 1;
	edge[n++] = r->archived + 1;
	for (size_t i = 0; i < r->nholes; i++) {
		edge[n++] = r->hole[i].from;
		edge[n++] = r->hole[i].to + 1;
	}
	qsort(edge, n, sizeof edge[0], ascending);
	free(r->range);
	r->nranges = 0;
	if (!(r->range = calloc(n, sizeof *r->range)))
		return;
	for (size_t i = 0; i < n; i++) {
		uint64_t from = edge[i], to = i + 1 < n ? edge[i + 1] - 1 : top;
		enum range_state s;

		if (from > top || from > to)
			continue;
		if (to > top)
			to = top;
		s = state_at(r, from);
		if (r->nranges && r->range[r->nranges - 1].state == s)
			r->range[r->nranges - 1].to = to;
		else
			r->range[r->nranges++] = (struct range){from, to, s};
	}
}

void ranges_result(const struct ranges *r, struct ranges_result *ret)
{
	struct ranges *mine = (struct ranges *)(uintptr_t)r;

	make_ranges(mine);
	*ret = (struct ranges_result){
	    .verdict = r->verdict,
	    .records = r->last,
	    .archived = r->archived,
	    .sealed = r->good,
	    .witnessed = r->witnessed,
	    .checkpoints = r->held,
	    .bodies = r->fit,
	    .bodies_missing = r->named - r->fed,
	    .epochs = r->nkeys ? r->nkeys - 1 : 0,
	    .stranger = *r->stranger ? r->stranger : NULL,
	    .note = r->best.note,
	    .note_len = r->best.note_len,
	    .ranges = r->range,
	    .nranges = r->nranges,
	    .findings = r->finding,
	    .nfindings = r->nfindings,
	    .more_findings = r->more,
	};
	memcpy(ret->root, r->best.root, DIGEST_LEN);
	memcpy(ret->newest, r->time, sizeof r->time);
}
