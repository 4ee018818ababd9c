#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/ranges_internal.h"
#include "creds/sealer.h"
#include "lib/err.h"
#include "lib/str.h"

/*
 * What notes are worth: who signed them, and whether that key could.
 */

#define LLU(x) ((unsigned long long)(x))

static const uint8_t unknown[NOTE_KEY_LEN];

/* Of epoch `epoch`; those before it that nobody told are zeros. */
static int set_key(struct ranges *r, uint64_t epoch, const uint8_t key[NOTE_KEY_LEN])
{
	if (epoch >= RANGES_EPOCHS_MAX)
		return -EOVERFLOW;
	if (epoch >= r->keys_max) {
		size_t max = r->keys_max ? r->keys_max : 16;
		void *p;

		while (max <= epoch)
			max *= 2;
		if (!(p = reallocarray(r->key, max, sizeof *r->key)))
			return -ENOMEM;
		r->key = p;
		r->keys_max = max;
	}
	for (; r->nkeys <= epoch; r->nkeys++)
		memset(r->key[r->nkeys], 0, NOTE_KEY_LEN);
	memcpy(r->key[epoch], key, NOTE_KEY_LEN);
	return 0;
}

bool seal_key_is(const struct ranges *r, uint64_t epoch, const uint8_t key[NOTE_KEY_LEN])
{
	return epoch < r->nkeys && memcmp(r->key[epoch], key, NOTE_KEY_LEN) == 0;
}

static bool key_known(const struct ranges *r, uint64_t epoch)
{
	return epoch < r->nkeys && !seal_key_is(r, epoch, unknown);
}

int seal_add_turn(struct ranges *r, uint64_t epoch, uint64_t size, const uint8_t root[DIGEST_LEN])
{
	struct turn *t;

	if (r->nturns == RANGES_EPOCHS_MAX)
		return -EOVERFLOW;
	if (r->nturns == r->turns_max) {
		size_t max = r->turns_max ? 2 * r->turns_max : 16;
		void *p = reallocarray(r->turn, max, sizeof *r->turn);

		if (!p)
			return -ENOMEM;
		r->turn = p;
		r->turns_max = max;
	}
	t = &r->turn[r->nturns++];
	*t = (struct turn){.epoch = epoch, .size = size};
	memcpy(t->root, root, DIGEST_LEN);
	return 0;
}

static int add_turn(struct ranges *r, const struct epoch_note *n)
{
	return seal_add_turn(r, n->epoch, n->last.size, n->last.root);
}

int seal_begin(struct ranges *r)
{
	r->next_note = 1;
	return r->keys.has_epoch ? set_key(r, 0, r->keys.epoch.key) : 0;
}

int seal_jump(struct ranges *r, uint64_t epoch, const uint8_t key[NOTE_KEY_LEN])
{
	if (key_known(r, epoch) && !seal_key_is(r, epoch, key)) {
		ranges_find(r, VERDICT_EPOCH, 0, 0, "epoch %llu has two keys", LLU(epoch));
		return 0;
	}
	return set_key(r, epoch, key);
}

/* By the key of this epoch: 1, 0: not at all, -EBADMSG. */
static int by_epoch(const struct ranges *r, const struct note *n, uint64_t epoch)
{
	struct note_key k;

	if (!key_known(r, epoch) ||
	    sealer_epoch_key(r->keys.host, epoch, r->key[epoch], &k, NULL) < 0)
		return 0;
	return note_verify(n, &k, NULL, NULL);
}

/* ---- epoch notes ---- */

/* The log key as the one of this name. */
static int by_log(const struct ranges *r, const struct note *n, const char *name)
{
	struct note_key k;

	if (note_key_init(&k, name, NOTE_ED25519, r->keys.log.key, NULL) < 0)
		return 0;
	return note_verify(n, &k, NULL, NULL);
}

static void no_epoch(struct ranges *r, uint64_t epoch, const char *how)
{
	r->epochs_broken = true;
	ranges_find(r, VERDICT_EPOCH, 0, 0, "epoch %llu %s", LLU(epoch), how);
}

/* Parsed, of the log with this origin, and signed by the epoch before. */
static bool proved(struct ranges *r, const void *data, size_t len, const char *origin,
    uint64_t expected, struct epoch_note *ret)
{
	struct note n;
	bool fine;

	if (note_parse(data, len, &n, NULL) < 0) {
		no_epoch(r, expected, "has no readable note");
		return false;
	}
	if (epoch_note_parse(n.text, n.text_len, ret, NULL) < 0 ||
	    strcmp(ret->last.origin, origin) != 0 ||
	    strncmp(ret->key.name, r->keys.host, strlen(r->keys.host)) != 0 ||
	    ret->key.name[strlen(r->keys.host)] != '/') {
		no_epoch(r, expected, "has no note of this log");
		note_done(&n);
		return false;
	}
	fine = ret->epoch == expected;
	if (!fine) {
		no_epoch(r, expected, "is missing");
	} else if (by_epoch(r, &n, expected - 1) != 1 ||
	           (r->keys.has_log && by_log(r, &n, origin) != 1)) {
		no_epoch(r, expected, "is not signed by the one before it");
		fine = false;
	}
	note_done(&n);
	return fine;
}

/* The epoch of a note, whatever else it is; 0: none. */
static uint64_t epoch_in(const void *note, size_t len)
{
	struct epoch_note n = {0};
	struct note parsed;

	if (note_parse(note, len, &parsed, NULL) < 0)
		return 0;
	if (epoch_note_parse(parsed.text, parsed.text_len, &n, NULL) < 0)
		n.epoch = 0;
	note_done(&parsed);
	return n.epoch;
}

int ranges_host_epoch(struct ranges *r, const void *note, size_t len)
{
	uint64_t epoch = epoch_in(note, len);
	struct epoch_note n;
	int rc;

	if (r->host)
		r->seen++;
	if (!r->keys.has_epoch || r->epochs_broken)
		return 0;
	/* those between were lost in a break, which told the key that signed this one */
	if (epoch > r->next_note && key_known(r, epoch - 1))
		r->next_note = epoch;
	if (!proved(r, note, len, r->keys.host, r->next_note, &n))
		return 0;
	if (key_known(r, n.epoch) && !seal_key_is(r, n.epoch, n.key.key)) {
		no_epoch(r, n.epoch, "has two keys");
		return 0;
	}
	r->next_note = n.epoch + 1;
	if ((rc = set_key(r, n.epoch, n.key.key)) < 0 || !r->host)
		return rc;
	if ((rc = break_turns(r, n.epoch)) < 0)
		return rc;
	return add_turn(r, &n);
}

int ranges_epoch(struct ranges *r, const void *note, size_t len)
{
	char origin[NOTE_NAME_MAX + 1];
	struct epoch_note n;
	uint64_t expected;
	int rc;

	r->seen++;
	if (!r->keys.has_epoch || r->host || r->epochs_broken)
		return 0;
	if (sealer_origin_of(r->keys.host, r->envelope.log, origin, sizeof origin) < 0)
		return 0;
	if ((rc = break_turns(r, epoch_in(note, len))) < 0)
		return rc;
	expected = r->nturns ? r->turn[r->nturns - 1].epoch + 1 : 0;
	if (expected == 0) { /* a log begins in any epoch */
		if ((expected = epoch_in(note, len)) == 0) {
			no_epoch(r, 0, "has no readable note");
			return 0;
		}
	}
	if (!proved(r, note, len, origin, expected, &n))
		return 0;
	if (n.epoch == r->nkeys) /* the host's comes after it: who reads meanwhile sees this one */
		return 0;
	if (!seal_key_is(r, n.epoch, n.key.key)) {
		no_epoch(r, n.epoch, "has another key than the host's log tells");
		return 0;
	}
	if (r->nturns && n.last.size < r->turn[r->nturns - 1].size) {
		no_epoch(r, n.epoch, "begins at a smaller log than the one before it");
		return 0;
	}
	return add_turn(r, &n);
}

/* ---- checkpoints ---- */

/* ORIGIN/epoch/7. */
static bool epoch_of(const struct ranges *r, const char *name, uint64_t *ret)
{
	size_t n = strlen(r->keys.host);

	return strncmp(name, r->keys.host, n) == 0 && strncmp(name + n, "/epoch/", 7) == 0 &&
	       str_to_u64(name + n + 7, 0, INT64_MAX, ret) == 0;
}

/* The first turn into this epoch or a later one. */
static const struct turn *turn_from(const struct ranges *r, uint64_t epoch)
{
	size_t low = 0, high = r->nturns;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (r->turn[mid].epoch < epoch)
			low = mid + 1;
		else
			high = mid;
	}
	return low < r->nturns ? &r->turn[low] : NULL;
}

/* Whether the epoch was there when the log had this size. */
static bool in_time(struct ranges *r, uint64_t size, uint64_t epoch)
{
	const struct turn *begin = turn_from(r, epoch), *end = turn_from(r, epoch + 1);

	if (begin && begin->epoch != epoch)
		begin = NULL;

	if (!r->any_epoch || epoch < r->first_epoch)
		r->first_epoch = epoch;
	r->any_epoch = true;
	if (begin && size < begin->size) {
		ranges_find(r, VERDICT_RESIGNED, 0, size,
		    "%llu records are sealed by epoch %llu, which began at %llu", LLU(size),
		    LLU(epoch), LLU(begin->size));
		return false;
	}
	if (end && size > end->size) {
		ranges_find(r, VERDICT_RESIGNED, 0, size,
		    "%llu records are sealed by epoch %llu, which ended at %llu", LLU(size),
		    LLU(epoch), LLU(end->size));
		return false;
	}
	return true;
}

static bool bad(struct ranges *r, uint64_t size, const char *why)
{
	ranges_find(
	    r, VERDICT_SIGNATURE, 0, size, "the checkpoint of %llu records %s", LLU(size), why);
	return false;
}

static bool signed_by_epoch(struct ranges *r, const struct note *n, uint64_t size, uint64_t *ret)
{
	bool found = false;

	for (size_t i = 0; i < n->nsignatures; i++) {
		uint64_t epoch;
		int rc;

		if (!epoch_of(r, n->signatures[i].name, &epoch))
			continue;
		if (!key_known(r, epoch)) {
			if (!r->epochs_broken)
				ranges_find(r, VERDICT_EPOCH, 0, size,
				    "%llu records are sealed by epoch %llu, of which no note tells",
				    LLU(size), LLU(epoch));
			return false;
		}
		rc = by_epoch(r, n, epoch);
		if (rc < 0)
			return bad(r, size, "has a signature of its epoch that does not hold");
		if (rc == 1) {
			found = true;
			*ret = epoch;
		}
	}
	return found || bad(r, size, "is signed by no epoch's key");
}

/* For who has no key of a witness, and may not know that there is one. */
static void remember_stranger(struct ranges *r, const struct note *n)
{
	for (size_t i = 0; !*r->stranger && i < n->nsignatures; i++)
		if (n->signatures[i].len == sizeof(uint64_t) + NOTE_SIGNATURE_LEN)
			memcpy(r->stranger, n->signatures[i].name, sizeof r->stranger);
}

static bool cosigned(struct ranges *r, const struct note *n, uint64_t size)
{
	size_t good = 0, quorum = r->keys.quorum ? r->keys.quorum : r->keys.nwitnesses / 2 + 1;

	if (r->keys.nwitnesses == 0)
		remember_stranger(r, n);
	for (size_t i = 0; i < r->keys.nwitnesses; i++) {
		int rc = note_verify(n, &r->keys.witness[i], NULL, NULL);

		if (rc < 0)
			(void)bad(r, size, "has a witness's signature that does not hold");
		good += rc == 1;
	}
	return good >= quorum;
}

static bool judge(struct ranges *r, uint64_t size, const struct note *n, struct claim *ret)
{
	struct checkpoint c;
	int rc;

	if (checkpoint_parse(n->text, n->text_len, &c, NULL) < 0)
		return bad(r, size, "is no checkpoint");
	if (c.size != size)
		return bad(r, size, "is of another size");
	ret->size = c.size;
	memcpy(ret->root, c.root, DIGEST_LEN);
	if (!r->keys.has_log)
		return true;
	if (strcmp(c.origin, r->keys.log.name) != 0)
		return bad(r, size, "is of another log");
	if ((rc = note_verify(n, &r->keys.log, NULL, NULL)) != 1)
		return bad(r, size,
		    rc < 0 ? "has a signature that does not hold"
		           : "is not signed by the log's key");
	if (r->keys.has_epoch &&
	    (!signed_by_epoch(r, n, size, &ret->epoch) || !in_time(r, size, ret->epoch)))
		return false;
	ret->witnessed = cosigned(r, n, size);
	return true;
}

bool seal_judge(struct ranges *r, uint64_t size, const void *note, size_t len, struct claim *ret)
{
	struct note n;
	bool fine;

	if (note_parse(note, len, &n, NULL) < 0)
		return bad(r, size, "is not a signed note");
	fine = judge(r, size, &n, ret);
	note_done(&n);
	return fine;
}

int seal_anchor(struct ranges *r, const void *note, size_t len, struct err *e)
{
	struct checkpoint c;
	struct note n;
	int rc = note_parse(note, len, &n, e);

	if (rc < 0)
		return rc;
	rc = checkpoint_parse(n.text, n.text_len, &c, e);
	if (rc == 0 && r->keys.has_log && strcmp(c.origin, r->keys.log.name) != 0)
		rc = err_set(e, -EBADMSG, "the checkpoint that was kept is of another log");
	if (rc == 0 && r->keys.has_log && note_verify(&n, &r->keys.log, NULL, NULL) != 1)
		rc = err_set(
		    e, -EBADMSG, "the checkpoint that was kept is not signed by the log's key");
	note_done(&n);
	if (rc < 0)
		return rc;
	r->anchor = (struct claim){.size = c.size, .anchor = true, .note = malloc(len)};
	if (!r->anchor.note)
		return err_set(e, -ENOMEM, "no memory");
	memcpy(r->anchor.note, note, len);
	r->anchor.note_len = len;
	r->has_anchor = true;
	memcpy(r->anchor.root, c.root, DIGEST_LEN);
	return 0;
}

bool seal_anchor_epoch(struct ranges *r, uint64_t *ret)
{
	bool found = false;
	struct note n;

	if (!r->has_anchor || note_parse(r->anchor.note, r->anchor.note_len, &n, NULL) < 0)
		return false;
	for (size_t i = 0; i < n.nsignatures; i++) {
		uint64_t epoch;

		if (!epoch_of(r, n.signatures[i].name, &epoch) || !key_known(r, epoch))
			continue;
		if (by_epoch(r, &n, epoch) != 1) {
			ranges_find(r, VERDICT_EPOCH, 0, 0,
			    "epoch %llu has another key than the one that signed the checkpoint "
			    "of %llu records that was %s",
			    LLU(epoch), LLU(r->anchor.size), r->told ? "told" : "kept");
			found = false;
			break;
		}
		found = true;
		*ret = epoch;
	}
	note_done(&n);
	return found;
}

/* Every log is carried over into every epoch. */
void seal_end(struct ranges *r)
{
	uint64_t newest = r->nkeys ? r->nkeys - 1 : 0, have;

	if (!r->keys.has_epoch || r->epochs_broken || (!r->any_epoch && r->nturns == 0))
		return;
	if (r->nturns && r->any_epoch && r->first_epoch + 1 < r->turn[0].epoch)
		ranges_find(r, VERDICT_EPOCH, 0, 0,
		    "sealed in epoch %llu already, but its notes begin with epoch %llu",
		    LLU(r->first_epoch), LLU(r->turn[0].epoch));
	have = r->nturns ? r->turn[r->nturns - 1].epoch : r->first_epoch;
	if (have < newest)
		ranges_find(r, VERDICT_EPOCH, 0, 0,
		    "the notes into epochs %llu to %llu are missing", LLU(have + 1), LLU(newest));
}
