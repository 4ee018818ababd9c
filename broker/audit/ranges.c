#include "broker/audit/ranges.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/logs.h"
#include "broker/audit/ranges_internal.h"
#include "lib/err.h"
#include "lib/util.h"

#define LLU(x) ((unsigned long long)(x))

int ranges_new(const char *log, const struct ranges_keys *keys, const void *anchor,
    size_t anchor_len, struct ranges **ret, struct err *e)
{
	struct ranges *r = calloc(1, sizeof *r);
	int rc = 0;

	if (!r)
		return err_set(e, -ENOMEM, "no memory");
	merkle_init(&r->tree);
	r->keys = *keys;
	r->host = strcmp(log, LOG_HOST) == 0;
	r->version = 2;
	if (envelope_init(&r->envelope, log) < 0)
		rc = err_set(e, -EINVAL, "no log has such a name");
	else if ((rc = seal_begin(r)) < 0)
		(void)err_set(e, rc, "no memory");
	else if (anchor)
		rc = seal_anchor(r, anchor, anchor_len, e);
	if (rc < 0) {
		ranges_free(r);
		return rc;
	}
	*ret = r;
	return 0;
}

static void claim_done(struct claim *c)
{
	free(c->note);
	*c = (struct claim){0};
}

void ranges_free(struct ranges *r)
{
	int saved = errno;

	if (!r)
		return;
	for (size_t i = 0; i < r->nwaiting; i++)
		claim_done(&r->waiting[i]);
	claim_done(&r->best);
	claim_done(&r->anchor);
	free(r->other);
	free(r->key);
	free(r->turn);
	free(r->cut);
	free(r->range);
	free(r);
	errno = saved;
}

/* ---- roots that were claimed ---- */

static void hold(struct ranges *r, struct claim *c)
{
	if (!r->keys.has_log) /* nobody's seal */
		return;
	r->held += c->note != NULL;
	if (c->size >= r->good) {
		r->good = c->size;
		if (!c->anchor && c->epoch > r->good_epoch)
			r->good_epoch = c->epoch;
	}
	if (c->witnessed && c->size > r->witnessed)
		r->witnessed = c->size;
	if (c->note && c->size >= r->best.size) {
		claim_done(&r->best);
		r->best = *c;
		c->note = NULL;
	}
}

void claim_deny(struct ranges *r, const struct claim *c)
{
	if (c->anchor) {
		r->anchor_denied = true;
		return; /* whose fault that is shows at the end */
	}
	if (r->denied == 0)
		r->sound = r->good;
	if (r->denied == 0 || c->epoch < r->denied_epoch)
		r->denied_epoch = c->epoch;
	if (c->size > r->denied)
		r->denied = c->size;
	ranges_find(r, VERDICT_BROKEN, r->sound + 1, c->size,
	    "what was sealed at %llu records is not what they are now", LLU(c->size));
}

void claim_settle(struct ranges *r, struct claim *c, const uint8_t root[DIGEST_LEN])
{
	if (memcmp(root, c->root, DIGEST_LEN) == 0)
		hold(r, c);
	else
		claim_deny(r, c);
}

/* What turns, the anchor and waiting checkpoints say of the tree as it is now. */
void ranges_settle(struct ranges *r)
{
	uint8_t root[DIGEST_LEN];
	bool have = false;

	for (; r->next_turn < r->nturns && r->turn[r->next_turn].size <= r->tree.size;
	     r->next_turn++) {
		struct turn *t = &r->turn[r->next_turn];
		struct claim c = {.size = t->size, .epoch = t->epoch - 1};

		if (t->size != r->tree.size)
			continue;
		merkle_root(&r->tree, root);
		memcpy(c.root, t->root, DIGEST_LEN);
		claim_settle(r, &c, root);
	}
	break_settle(r);
	told_settle(r);
	if (r->has_anchor && r->anchor.size == r->tree.size) {
		struct claim c = r->anchor;

		merkle_root(&r->tree, root);
		c.note = NULL;
		r->anchor_held = memcmp(root, c.root, DIGEST_LEN) == 0;
		claim_settle(r, &c, root);
	}
	for (size_t i = 0; i < r->nwaiting;) {
		if (r->waiting[i].size != r->tree.size) {
			i++;
			continue;
		}
		if (!have)
			merkle_root(&r->tree, root);
		have = true;
		claim_settle(r, &r->waiting[i], root);
		claim_done(&r->waiting[i]);
		r->waiting[i] = r->waiting[--r->nwaiting];
		r->waiting[r->nwaiting] = (struct claim){0};
	}
}

/* ---- records ---- */

static int grow(struct ranges *r, const uint8_t leaf[DIGEST_LEN])
{
	int rc = merkle_append(&r->tree, leaf);

	if (rc == 0)
		ranges_settle(r);
	return rc;
}

/* The oldest pending record's leaf is settled. */
static int commit(struct ranges *r, bool by_claim)
{
	struct pending p = r->pending[0];

	if (by_claim && !p.told) {
		ranges_find(r, VERDICT_BROKEN, p.seq, p.seq,
		    "record %llu was changed: the next record holds another digest of it",
		    LLU(p.seq));
		ranges_hole(r, p.seq, p.seq, false);
	}
	r->pending[0] = r->pending[1];
	r->npending--;
	return grow(r, by_claim ? p.claim : p.leaf);
}

/* Nothing more is known of what is pending: who is denied is wrong. */
int ranges_flush(struct ranges *r)
{
	int rc = 0;

	while (rc == 0 && r->npending > 0)
		rc = commit(r, r->pending[0].denied);
	return rc;
}

static void push(struct ranges *r, uint64_t seq, const uint8_t leaf[DIGEST_LEN], bool told)
{
	struct pending *p = &r->pending[r->npending++];

	*p = (struct pending){.seq = seq, .told = told};
	memcpy(p->leaf, leaf, DIGEST_LEN);
}

/* Records from..to are not there; the one behind them says what the last of them was. */
static int gap(struct ranges *r, uint64_t from, uint64_t to, const struct envelope *next)
{
	int rc;

	if (from == to)
		ranges_find(r, VERDICT_MISSING, from, to, "record %llu is missing", LLU(from));
	else
		ranges_find(r, VERDICT_MISSING, from, to, "records %llu to %llu are missing",
		    LLU(from), LLU(to));
	ranges_hole(r, from, to, true);
	if ((rc = ranges_flush(r)) < 0)
		return rc;
	if (from == to && next && next->version == 2)
		push(r, from, next->prev, true);
	else
		r->lost = true;
	return 0;
}

/* What the new record says of the one before it. */
static int link_back(struct ranges *r, uint64_t seq, const struct envelope *now, bool adjacent)
{
	static const uint8_t zero[DIGEST_LEN];
	const uint8_t *have = !adjacent ? NULL : now->version == 1 ? r->plain : r->leaf;
	struct pending *p;
	bool fits;

	if (seq == 1) {
		if (memcmp(now->prev, zero, DIGEST_LEN) == 0)
			return 0;
		ranges_find(r, VERDICT_BROKEN, 1, 1, "record 1 is not the first of a log");
		ranges_hole(r, 1, 1, false);
		return 0;
	}
	if (!have) /* what was before is missing */
		return 0;
	/* an edge has the leaf hash alone; that the records fit, the next seal says */
	if (now->version == 1 && r->edge_last == seq - 1)
		return 0;
	fits = memcmp(now->prev, have, DIGEST_LEN) == 0;
	if (now->version == 1 && r->version == 2)
		fits = false;
	if (r->lost || r->npending == 0) {
		/* the one before has just been sealed; or nothing can be said of either */
		uint64_t who = r->lost ? seq - 1 : seq;

		if (fits)
			return 0;
		ranges_find(r, VERDICT_BROKEN, who, who,
		    r->lost ? "record %llu was changed: the next record holds another digest of it"
		            : "record %llu holds another digest of the one before it",
		    LLU(who));
		ranges_hole(r, who, who, false);
		return 0;
	}
	if (fits) {
		int rc = r->npending == 2 ? commit(r, r->pending[0].denied) : 0;

		return rc < 0 ? rc : commit(r, false);
	}
	/* one who is denied himself accuses nobody */
	if (r->npending == 2) {
		int rc = commit(r, false);

		if (rc < 0)
			return rc;
	}
	p = &r->pending[0];
	p->denied = now->version == 2;
	memcpy(p->claim, now->prev, DIGEST_LEN);
	if (!p->denied && !p->told) { /* a plain digest is of no use to the tree */
		p->told = true;
		ranges_find(r, VERDICT_BROKEN, p->seq, p->seq,
		    "record %llu was changed: the next record holds another digest of it",
		    LLU(p->seq));
		ranges_hole(r, p->seq, p->seq, false);
		return commit(r, false);
	}
	return 0;
}

static void check_time(
    struct ranges *r, uint64_t seq, const struct envelope *now, const void *data, size_t len)
{
	/* the time of one who is not what he was accuses nobody */
	bool doubtful = r->npending > 0 && r->pending[r->npending - 1].denied;

	if (!doubtful && memcmp(now->time, r->time, ENVELOPE_TIME) < 0 &&
	    !envelope_clock(data, len)) {
		ranges_find(r, VERDICT_BROKEN, seq, seq,
		    "record %llu is older than the one before it", LLU(seq));
		ranges_hole(r, seq, seq, false);
	}
	memcpy(r->time, now->time, sizeof r->time);
}

int ranges_record(struct ranges *r, uint64_t seq, const void *data, size_t len)
{
	struct envelope now = {0};
	struct err why = ERR_INIT;
	bool adjacent = seq == r->last + 1, good;
	int rc;

	if (seq > INT64_MAX) {
		ranges_find(r, VERDICT_BROKEN, 0, 0, "record %llu cannot be", LLU(seq));
		return 0;
	}
	if (seq <= r->last) {
		ranges_find(r, VERDICT_BROKEN, seq, seq, "record %llu comes twice", LLU(seq));
		ranges_hole(r, seq, seq, false);
		return 0;
	}
	if ((rc = break_turns(r, UINT64_MAX)) < 0)
		return rc;
	good = envelope_read(&r->envelope, seq, data, len, &now, &why) == 0;
	if (!adjacent && (rc = gap(r, r->last + 1, seq - 1, good ? &now : NULL)) < 0)
		return rc;
	if (good) {
		if ((rc = link_back(r, seq, &now, adjacent)) < 0)
			return rc;
		check_time(r, seq, &now, data, len);
		break_record(r, data, len);
	} else {
		ranges_find(
		    r, VERDICT_BROKEN, seq, seq, "record %llu %s", LLU(seq), err_text(&why));
		ranges_hole(r, seq, seq, false);
		if ((rc = ranges_flush(r)) < 0)
			return rc;
	}
	if (r->npending == 2 && (rc = commit(r, r->pending[0].denied)) < 0)
		return rc;
	ranges_body_named(r, seq, data, len);
	merkle_leaf(data, len, r->leaf);
	if (!good || now.version == 1)
		digest_sha256(data, len, r->plain);
	r->version = good ? now.version : 0;
	r->last = seq;
	if (r->lost)
		return 0;
	if (r->npending == 1 && !r->pending[0].denied && (rc = commit(r, false)) < 0)
		return rc;
	push(r, seq, r->leaf, !good);
	return 0;
}

/* ---- checkpoints ---- */

/* The root with what is pending; the first as its successor has it if by_claim. */
static void root_with(const struct ranges *r, bool by_claim, uint8_t ret[DIGEST_LEN])
{
	struct merkle m = r->tree;

	for (size_t i = 0; i < r->npending; i++)
		(void)merkle_append(
		    &m, i == 0 && by_claim ? r->pending[i].claim : r->pending[i].leaf);
	merkle_root(&m, ret);
}

/* A seal over the newest record says at once which of the pending are what they were. */
static int settle_now(struct ranges *r, const struct claim *c, bool *ret_done)
{
	uint8_t root[DIGEST_LEN];
	int rc = 0;

	*ret_done = false;
	root_with(r, false, root);
	if (memcmp(root, c->root, DIGEST_LEN) == 0) {
		if (r->npending == 2) {
			uint64_t seq = r->pending[1].seq;

			ranges_find(r, VERDICT_BROKEN, seq, seq,
			    "record %llu holds another digest of the one before it", LLU(seq));
			ranges_hole(r, seq, seq, false);
		}
		*ret_done = true;
		while (rc == 0 && r->npending > 0)
			rc = commit(r, false);
		return rc;
	}
	if (r->npending < 2)
		return 0;
	root_with(r, true, root);
	if (memcmp(root, c->root, DIGEST_LEN) != 0)
		return 0;
	*ret_done = true;
	return ranges_flush(r);
}

static int wait_for(struct ranges *r, struct claim *c)
{
	if (r->nwaiting == WAITING_MAX) { /* of records that will not come any more */
		claim_done(&r->waiting[0]);
		r->waiting[0] = r->waiting[--r->nwaiting];
	}
	r->waiting[r->nwaiting++] = *c;
	return 0;
}

/* Two sealed roots of one size. */
static void look_for_fork(struct ranges *r, const struct claim *c)
{
	bool anchored = r->has_anchor && r->anchor.size == c->size && !break_covers(r, c->size);
	const struct claim *other = r->before.size == c->size ? &r->before
	                            : anchored                ? &r->anchor
	                                                      : NULL;

	if (r->keys.has_log && other && memcmp(other->root, c->root, DIGEST_LEN) != 0)
		ranges_find(r,
		    other->epoch == c->epoch || other->anchor ? VERDICT_FORK : VERDICT_RESIGNED, 0,
		    c->size, "two different logs of %llu records were signed", LLU(c->size));
	r->before = *c;
}

int ranges_checkpoint(struct ranges *r, uint64_t size, const void *note, size_t len)
{
	uint8_t root[DIGEST_LEN];
	struct claim c = {0};
	bool done;
	int rc;

	r->seen++;
	if ((rc = break_turns(r, UINT64_MAX)) < 0)
		return rc;
	if (!seal_judge(r, size, note, len, &c))
		return 0;
	if (c.size > r->most)
		r->most = c.size;
	look_for_fork(r, &c);
	if (r->lost)
		return 0;
	if (c.size < r->tree.size) {
		ranges_find(r, VERDICT_SIGNATURE, 0, c.size,
		    "the checkpoint of %llu records is not in its place", LLU(c.size));
		return 0;
	}
	if (!(c.note = malloc(len)))
		return -ENOMEM;
	memcpy(c.note, note, len);
	c.note_len = len;
	if (c.size == r->tree.size + r->npending && r->npending > 0) {
		if ((rc = settle_now(r, &c, &done)) < 0) {
			claim_done(&c);
			return rc;
		}
		if (!done)
			return wait_for(r, &c);
	}
	if (c.size > r->tree.size)
		return wait_for(r, &c);
	merkle_root(&r->tree, root);
	claim_settle(r, &c, root);
	claim_done(&c);
	return 0;
}
