#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "broker/audit/ranges_internal.h"
#include "creds/sealer.h"
#include "lib/clock.h"
#include "lib/msg.h"

/*
 * Where a log was set back and goes on: each such place is a signed note, or it is an attack. What
 * is lost is named; the epochs that were lost with it are passed over, as the note has the key of
 * the epoch that goes on.
 */

#define LLU(x) ((unsigned long long)(x))

static void bad(struct ranges *r, const char *how)
{
	ranges_find(r, VERDICT_SIGNATURE, 0, 0, "a note of a break %s", how);
}

/* Signed by the log key under this name, and by the key that it carries. */
static bool read_note(
    struct ranges *r, const void *data, size_t len, const char *origin, struct break_note *ret)
{
	size_t host = strlen(r->keys.host);
	struct note_key log;
	struct note n;
	bool fine = false;

	if (note_parse(data, len, &n, NULL) < 0) {
		bad(r, "cannot be read");
		return false;
	}
	if (break_note_parse(n.text, n.text_len, ret, NULL) < 0 ||
	    strcmp(ret->origin, origin) != 0 || strncmp(ret->key.name, r->keys.host, host) != 0 ||
	    ret->key.name[host] != '/')
		bad(r, "is of another log, or says nothing");
	else if (note_key_init(&log, origin, NOTE_ED25519, r->keys.log.key, NULL) < 0 ||
	         note_verify(&n, &log, NULL, NULL) != 1 ||
	         note_verify(&n, &ret->key, NULL, NULL) != 1)
		bad(r, "is not signed by the log's key and its epoch's");
	else
		fine = true;
	note_done(&n);
	return fine;
}

static int add(struct ranges *r, const struct break_note *n)
{
	struct cut *c = r->ncuts ? &r->cut[r->ncuts - 1] : NULL;

	if (c && (n->number <= c->number || n->size < c->size || n->epoch < c->epoch)) {
		bad(r, "is out of its place");
		return 0;
	}
	if (r->ncuts == RANGES_BREAKS_MAX)
		return -EOVERFLOW;
	if (r->ncuts == r->cuts_max) {
		size_t max = r->cuts_max ? 2 * r->cuts_max : 8;
		void *p = reallocarray(r->cut, max, sizeof *r->cut);

		if (!p)
			return -ENOMEM;
		r->cut = p;
		r->cuts_max = max;
	}
	c = &r->cut[r->ncuts++];
	*c = (struct cut){.number = n->number,
	    .old_size = n->old_size,
	    .size = n->size,
	    .epoch = n->epoch,
	    .time_s = n->time_s};
	memcpy(c->root, n->root, DIGEST_LEN);
	if (c->size > r->most)
		r->most = c->size;
	return 0;
}

int ranges_host_break(struct ranges *r, const void *note, size_t len)
{
	struct break_note n;
	int rc;

	if (r->host)
		r->seen++;
	if (!r->keys.has_epoch || !r->keys.has_log)
		return 0;
	if (!read_note(r, note, len, r->keys.host, &n))
		return 0;
	if ((rc = seal_jump(r, n.epoch, n.key.key)) < 0 || !r->host)
		return rc;
	return add(r, &n);
}

int ranges_break(struct ranges *r, const void *note, size_t len)
{
	struct break_note n;

	r->seen++;
	if (!r->keys.has_epoch || !r->keys.has_log || r->host)
		return 0;
	if (!read_note(r, note, len, r->keys.log.name, &n))
		return 0;
	if (!seal_key_is(r, n.epoch, n.key.key)) {
		bad(r, "has another key than the host's log tells");
		return 0;
	}
	return add(r, &n);
}

void ranges_accept_break(struct ranges *r)
{
	r->accept_break = true;
}

int break_turns(struct ranges *r, uint64_t before)
{
	int rc = 0;

	for (; rc == 0 && r->next_cut_turn < r->ncuts; r->next_cut_turn++) {
		const struct cut *c = &r->cut[r->next_cut_turn];

		if (c->epoch >= before)
			break;
		if (c->epoch > 0 && (r->nturns == 0 || r->turn[r->nturns - 1].epoch < c->epoch))
			rc = seal_add_turn(r, c->epoch, c->size, c->root);
	}
	return rc;
}

void break_settle(struct ranges *r)
{
	uint8_t root[DIGEST_LEN];

	for (; r->next_cut < r->ncuts && r->cut[r->next_cut].size <= r->tree.size; r->next_cut++) {
		const struct cut *k = &r->cut[r->next_cut];
		struct claim c = {.size = k->size, .epoch = k->epoch};

		if (k->size != r->tree.size || k->size == 0)
			continue;
		merkle_root(&r->tree, root);
		memcpy(c.root, k->root, DIGEST_LEN);
		claim_settle(r, &c, root);
	}
}

bool break_covers(const struct ranges *r, uint64_t size)
{
	for (size_t i = 0; i < r->ncuts; i++)
		if (size > r->cut[i].size && size <= r->cut[i].old_size)
			return true;
	return false;
}

/* A record of a break: its note has to be there. */
void break_record(struct ranges *r, const void *data, size_t len)
{
	static const char word[] = "\"class\":\"log.break\"";
	json_auto_t *o = NULL;
	const char *log;
	json_t *body;

	if (!memmem(data, len, word, sizeof word - 1) || msg_json_parse(data, len, &o, NULL) < 0)
		return;
	if (!(log = json_string_value(json_object_get(o, "class"))) ||
	    strcmp(log, "log.break") != 0)
		return;
	body = json_object_get(o, "body");
	log = json_string_value(json_object_get(body, "log"));
	if (log && strcmp(log, r->envelope.log) == 0 && r->nsaid < RANGES_SAID_MAX)
		r->said[r->nsaid++] = (uint64_t)json_integer_value(json_object_get(body, "number"));
}

static bool have(const struct ranges *r, uint64_t number)
{
	for (size_t i = 0; i < r->ncuts; i++)
		if (r->cut[i].number == number)
			return true;
	return false;
}

/* Who kept a checkpoint of what came after a break knows of it. That it holds is not enough: what
 * was set back may have kept the records up to it. A later epoch than the break's is behind it, and
 * so is what is larger than all that was lost. */
static bool known(const struct ranges *r, const struct cut *c, bool has_epoch, uint64_t epoch)
{
	return !r->told && r->anchor_held && has_epoch && r->anchor.size > c->size &&
	       (epoch > c->epoch || (epoch == c->epoch && r->anchor.size > c->old_size));
}

static bool signed_away(const struct ranges *r, uint64_t from, uint64_t to)
{
	for (size_t i = 0; i < r->ncuts; i++)
		if (r->cut[i].old_size >= from && r->cut[i].size <= to)
			return true;
	return false;
}

void break_end(struct ranges *r)
{
	uint64_t epoch = 0;
	bool has_epoch;

	if (!r->keys.has_epoch || !r->keys.has_log)
		return;
	for (size_t i = 0; i < r->nshrunk; i++)
		if (!signed_away(r, r->shrunk[i].from, r->shrunk[i].to))
			ranges_find(r, VERDICT_ROLLED_BACK, 0, 0,
			    "the host's log tells that it went from %llu records to %llu, and no "
			    "break of that is signed",
			    LLU(r->shrunk[i].from), LLU(r->shrunk[i].to));
	has_epoch = seal_anchor_epoch(r, &epoch);
	for (size_t i = 0; i < r->nsaid; i++)
		if (!have(r, r->said[i]))
			ranges_find(r, VERDICT_MISSING, 0, 0,
			    "the log was set back, and the note of that (break %llu) is missing",
			    LLU(r->said[i]));
	for (size_t i = 0; i < r->ncuts; i++) {
		const struct cut *c = &r->cut[i];
		char time[32];

		if (known(r, c, has_epoch, epoch))
			continue;
		clock_format(time, sizeof time, c->time_s * NSEC_PER_SEC);
		ranges_find(r, VERDICT_RESTORED, c->size + 1, c->old_size,
		    "set back at %s from %llu records to %llu: what records %llu to %llu were is "
		    "lost",
		    time, LLU(c->old_size), LLU(c->size), LLU(c->size + 1), LLU(c->old_size));
	}
}
