#include "broker/witness/judge.h"

#include <errno.h>
#include <string.h>

#include "broker/witness/key.h"
#include "broker/witness/request.h"
#include "broker/witness/state.h"
#include "broker/witness/trust.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/err.h"
#include "lib/log.h"
#include "lib/secret.h"
#include "lib/str.h"

#define WARN_EVERY_NS (10 * NSEC_PER_SEC)
#define DASH          "\xe2\x80\x94 "

struct answer {
	struct buf *out;
	const char *type;
};

/* Anybody can make a witness warn, so it does not do it more than once in a while. */
static void warn(struct witness *w, const char *what, const char *origin, const struct err *e)
{
	int64_t now = clock_mono_ns();
	char text[160];

	if (w->warned_ns != 0 && now - w->warned_ns < WARN_EVERY_NS)
		return;
	w->warned_ns = now;
	log_error("%s: %s%s%s", str_escape(text, sizeof text, origin, strlen(origin)), what,
	    e ? ": " : "", e ? err_text(e) : "");
}

static unsigned refuse(struct answer *a, unsigned status, const char *text)
{
	buf_printf(a->out, "%s\n", text);
	return status;
}

static unsigned conflict(struct answer *a, uint64_t size)
{
	a->type = JUDGE_TYPE_SIZE;
	buf_printf(a->out, "%llu\n", (unsigned long long)size);
	return 409;
}

/* ---- who signed ---- */

static unsigned check_signer(
    const struct note_key *keys, size_t n, const struct witness_request *q, struct answer *a)
{
	struct err e = ERR_INIT;
	bool good = false;

	for (size_t i = 0; i < n; i++) {
		int r = note_verify(&q->note, &keys[i], NULL, &e);

		if (r == -EBADMSG)
			return refuse(a, 403, err_text(&e));
		if (r < 0)
			return refuse(a, 500, "no memory");
		good = good || r == 1;
	}
	return good ? 0 : refuse(a, 403, "no key that is trusted for this log signed it");
}

/* ---- what is kept ---- */

/* The checkpoint with the signatures of the log's trusted keys; those of strangers are left out. */
static void put_note(
    const struct note_key *keys, size_t n, const struct note *note, struct buf *out)
{
	char b64[B64_LEN(4 + NOTE_SIGNATURE_LEN) + 1];
	uint8_t raw[4 + NOTE_SIGNATURE_LEN];

	buf_put(out, note->text, note->text_len);
	buf_put(out, "\n", 1);
	for (size_t k = 0; k < n; k++)
		for (size_t i = 0; i < note->nsignatures; i++) {
			const struct note_signature *s = &note->signatures[i];

			if (memcmp(s->id, keys[k].id, sizeof s->id) != 0 ||
			    strcmp(s->name, keys[k].name) != 0 || s->len != NOTE_SIGNATURE_LEN)
				continue;
			memcpy(raw, s->id, sizeof s->id);
			memcpy(raw + sizeof s->id, s->data, s->len);
			b64_encode(b64, raw, sizeof raw);
			buf_printf(out, DASH "%s %s\n", s->name, b64);
			break; /* once is enough: what came may repeat it */
		}
}

/* Two roots for one size, both signed: nobody but the log's key can have made that. */
static void keep_fork(
    struct witness *w, const struct note_key *keys, size_t n, const struct witness_request *q)
{
	struct err e = ERR_INIT;
	cleanup_buf struct buf note;
	int r;

	buf_init(&note, NOTE_MAX);
	put_note(keys, n, &q->note, &note);
	r = buf_status(&note) < 0
	        ? buf_status(&note)
	        : witness_state_fork(w->state, q->point.origin, note.data, note.len, &e);
	if (r == 0)
		log_error(
		    "%s: the log signed two histories; both are kept in forks", q->point.origin);
	else
		warn(w, r > 0 ? "the log signed two histories" : "cannot keep the proof of a fork",
		    q->point.origin, r > 0 ? NULL : &e);
}

/* Signs, writes down, and only then answers. */
static unsigned cosign(struct witness *w, const struct note_key *keys, size_t n,
    const struct witness_request *q, int64_t now_s, struct answer *a)
{
	struct err e = ERR_INIT;
	cleanup_buf struct buf note, mine;
	int r;

	buf_init(&note, NOTE_MAX);
	buf_init(&mine, JUDGE_ANSWER_MAX);
	put_note(keys, n, &q->note, &note);
	r = note_sign(q->note.text, q->note.text_len, &w->key->public, secret_data(w->key->seed),
	    now_s, &mine, &e);
	buf_put(&note, mine.data, mine.len);
	if (r == 0)
		r = buf_status(&note);
	if (r == 0)
		r = witness_state_save(w->state, q->point.origin, note.data, note.len, &e);
	if (r < 0) {
		warn(w, "cannot remember its checkpoint, so it is not cosigned", q->point.origin,
		    &e);
		return refuse(a, 500, "the witness cannot write down what it saw");
	}
	buf_put(a->out, mine.data, mine.len);
	return 200;
}

/* ---- the checks, in the specification's order ---- */

static unsigned judge(
    struct witness *w, const struct witness_request *q, int64_t now_s, struct answer *a)
{
	struct note_key keys[TRUST_SAME_MAX];
	size_t n = trust_find(w->trust, q->point.origin, keys);
	struct witness_log last = {0};
	struct err e = ERR_INIT;
	unsigned status;
	bool fresh;
	int r;

	if (n == 0)
		return refuse(a, 404, "this log is not known here");
	if ((status = check_signer(keys, n, q, a)) != 0)
		return status;
	if (q->old > q->point.size)
		return refuse(a, 400, "the old size is greater than the checkpoint's");
	r = witness_state_load(w->state, &w->key->public, q->point.origin, &last, &e);
	fresh = r == -ENOENT;
	if (fresh) {
		digest_sha256("", 0, last.point.root); /* of the empty tree */
	} else if (r < 0) {
		warn(w, "what was seen of it cannot be read", q->point.origin, &e);
		return refuse(a, 500, "the witness cannot read what it saw");
	}
	if (q->point.size == last.point.size &&
	    memcmp(q->point.root, last.point.root, DIGEST_LEN) != 0) {
		if (!fresh)
			keep_fork(w, keys, n, q);
		return conflict(a, last.point.size);
	}
	if (q->old != last.point.size)
		return conflict(a, last.point.size);
	if (merkle_verify_consistency(last.point.size, last.point.root, q->point.size,
	        q->point.root, q->proof, q->nproof) < 0)
		return refuse(a, 422, "the consistency proof does not hold");
	if (fresh && !trust_room(w->trust, q->point.origin))
		return refuse(a, 404, "the host of this log has too many of them here");
	status = cosign(w, keys, n, q, now_s, a);
	if (status == 200 && fresh)
		trust_kept(w->trust, q->point.origin);
	return status;
}

unsigned witness_answer(struct witness *w, const void *body, size_t len, int64_t now_s,
    struct buf *out, const char **ret_type)
{
	struct answer a = {out, JUDGE_TYPE_TEXT};
	struct err e = ERR_INIT;
	struct witness_request q;
	unsigned status;
	int r = witness_request_parse(body, len, &q, &e);

	if (r < 0) {
		status = refuse(&a, r == -ENOMEM ? 500 : 400, err_text(&e));
	} else {
		status = judge(w, &q, now_s, &a);
		witness_request_done(&q);
	}
	*ret_type = a.type;
	return status;
}

static int count(const struct witness_log *l, void *arg)
{
	struct witness *w = arg;

	if (l->bad)
		log_error(
		    "logs/%s is damaged: its log is not cosigned any more (postern-witness(8), "
		    "RECOVERY)",
		    l->file);
	else
		trust_kept(w->trust, l->point.origin);
	return 0;
}

int witness_begin(struct witness *w)
{
	struct err e = ERR_INIT;
	int r = witness_state_each(w->state, &w->key->public, count, w, &e);

	if (r < 0)
		log_error("%s", err_text(&e));
	return r;
}
