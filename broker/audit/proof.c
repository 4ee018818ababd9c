#include "broker/audit/proof.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

#define FIRST     "c2sp.org/tlog-proof@v1"
#define EXTRA_MAX 8192
#define HASH_B64  B64_LEN(DIGEST_LEN)

void proof_format(const struct proof *p, struct buf *out)
{
	char b64[HASH_B64 + 1];

	if (p->kind == PROOF_INCLUSION)
		buf_printf(out, FIRST "\nindex %llu\n", (unsigned long long)p->number);
	else
		buf_printf(out, "old %llu\n", (unsigned long long)p->number);
	for (size_t i = 0; i < p->nhashes; i++) {
		b64_encode(b64, p->hash[i], DIGEST_LEN);
		buf_printf(out, "%s\n", b64);
	}
	buf_put(out, "\n", 1);
	buf_put(out, p->checkpoint, p->checkpoint_len);
}

struct lines {
	const char *p, *end;
};

/* The next line without its LF; NULL at the end. */
static const char *next(struct lines *l, size_t *ret_len)
{
	const char *start = l->p, *lf = memchr(start, '\n', (size_t)(l->end - start));

	if (!lf)
		return NULL;
	l->p = lf + 1;
	*ret_len = (size_t)(lf - start);
	return start;
}

static bool begins(const char *line, size_t len, const char *word)
{
	return len >= strlen(word) && memcmp(line, word, strlen(word)) == 0;
}

static bool number(const char *line, size_t len, const char *word, uint64_t *ret)
{
	char digits[24];
	size_t n = len - strlen(word);

	if (!begins(line, len, word) || n == 0 || n >= sizeof digits ||
	    memchr(line, 0, len) != NULL)
		return false;
	memcpy(digits, line + strlen(word), n);
	digits[n] = '\0';
	return str_to_u64(digits, 0, INT64_MAX, ret) == 0;
}

static int first_lines(struct lines *l, struct proof *p, struct err *e)
{
	size_t len, n;
	const char *line = next(l, &len);

	if (line && begins(line, len, "old ")) {
		p->kind = PROOF_CONSISTENCY;
		return number(line, len, "old ", &p->number)
		           ? 0
		           : err_set(e, -EBADMSG, "a proof without its old size");
	}
	if (!line || len != strlen(FIRST) || !begins(line, len, FIRST))
		return err_set(e, -EBADMSG, "not a proof");
	p->kind = PROOF_INCLUSION;
	line = next(l, &len);
	if (line && begins(line, len, "extra ")) {
		if (len > EXTRA_MAX || b64_decode(NULL, EXTRA_MAX, line + 6, len - 6, &n) < 0)
			return err_set(e, -EBADMSG, "a proof's extra data is not base64");
		line = next(l, &len);
	}
	return line && number(line, len, "index ", &p->number)
	           ? 0
	           : err_set(e, -EBADMSG, "a proof without its index");
}

int proof_parse(const char *text, size_t len, struct proof *ret, struct err *e)
{
	struct lines l = {text, text + len};
	struct proof p = {0};
	const char *line;
	size_t n, got;
	int r;

	if (len == 0 || len > PROOF_MAX)
		return err_set(e, -EBADMSG, "empty, or longer than a proof can be");
	if ((r = first_lines(&l, &p, e)) < 0)
		return r;
	while ((line = next(&l, &n)) && n > 0) {
		if (p.nhashes == MERKLE_PROOF_MAX)
			return err_set(
			    e, -EBADMSG, "a proof of more than %d hashes", MERKLE_PROOF_MAX);
		if (n != HASH_B64 || b64_decode(p.hash[p.nhashes], DIGEST_LEN, line, n, &got) < 0 ||
		    got != DIGEST_LEN)
			return err_set(e, -EBADMSG, "a proof's line is not a hash in base64");
		p.nhashes++;
	}
	if (!line || l.p == l.end)
		return err_set(e, -EBADMSG, "a proof without a checkpoint");
	p.checkpoint = l.p;
	p.checkpoint_len = (size_t)(l.end - l.p);
	*ret = p;
	return 0;
}

/* One witness under two names, or given twice, is one. */
static bool given_before(const struct note_key *keys, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (keys[k].type == NOTE_COSIGNATURE &&
		    memcmp(keys[k].key, keys[i].key, NOTE_KEY_LEN) == 0)
			return true;
	return false;
}

int proof_note(const void *note, size_t len, const struct note_key *keys, size_t nkeys,
    struct proof_answer *ret, struct err *e)
{
	struct proof_answer a = {0};
	size_t witnesses = 0, good = 0;
	struct note n;
	int r = note_parse(note, len, &n, e);

	if (r < 0)
		return r;
	r = checkpoint_parse(n.text, n.text_len, &a.checkpoint, e);
	for (size_t i = 0; r >= 0 && i < nkeys; i++) {
		bool witness = keys[i].type == NOTE_COSIGNATURE;

		if (witness && given_before(keys, i))
			continue;
		witnesses += witness;
		if ((r = note_verify(&n, &keys[i], NULL, e)) != 1)
			continue;
		if (witness)
			good++;
		else if (strcmp(keys[i].name, a.checkpoint.origin) == 0) {
			a.signed_ = true;
			(void)str_copy(a.signer, sizeof a.signer, keys[i].name);
		}
	}
	a.witnessed = good > witnesses / 2;
	note_done(&n);
	if (r < 0)
		return r;
	if (!a.signed_)
		return err_set(e, -EACCES, "the checkpoint is not signed by a key that was given");
	*ret = a;
	return 0;
}

int proof_check_inclusion(const struct proof *p, const struct checkpoint *c, const void *record,
    size_t len, struct err *e)
{
	uint8_t leaf[DIGEST_LEN];

	if (p->kind != PROOF_INCLUSION)
		return err_set(e, -EBADMSG, "not a proof of inclusion");
	merkle_leaf(record, len, leaf);
	if (merkle_verify_inclusion(leaf, p->number, c->size, p->hash, p->nhashes, c->root) < 0)
		return err_set(e, -EBADMSG, "the record is not number %llu of this log",
		    (unsigned long long)p->number + 1);
	return 0;
}

int proof_check_consistency(
    const struct proof *p, const struct checkpoint *c, const struct checkpoint *old, struct err *e)
{
	if (p->kind != PROOF_CONSISTENCY)
		return err_set(e, -EBADMSG, "not a proof of consistency");
	if (strcmp(c->origin, old->origin) != 0)
		return err_set(e, -EBADMSG, "the two checkpoints are of different logs");
	if (p->number != old->size || merkle_verify_consistency(old->size, old->root, c->size,
	                                  c->root, p->hash, p->nhashes) < 0)
		return err_set(e, -EBADMSG,
		    "the log of %llu records does not begin with that of %llu",
		    (unsigned long long)c->size, (unsigned long long)old->size);
	return 0;
}
