#include "broker/witness/request.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "lib/err.h"
#include "lib/str.h"

#define OLD        "old "
#define OLD_LEN    4
#define HASH_B64   B64_LEN(DIGEST_LEN)
#define DIGITS_MAX 19 /* of INT64_MAX */

_Static_assert(HASH_B64 + 1 == REQUEST_HASH_LINE_LEN, "a proof's line");
_Static_assert(OLD_LEN + DIGITS_MAX + 1 == REQUEST_OLD_LINE_MAX, "the first line");

struct lines { /* what is left of the body */
	const char *p;
	size_t left;
};

/* The next line without its LF. */
static bool next_line(struct lines *l, const char **ret, size_t *ret_len)
{
	const char *end = l->left > 0 ? memchr(l->p, '\n', l->left) : NULL;

	if (!end)
		return false;
	*ret = l->p;
	*ret_len = (size_t)(end - l->p);
	l->left -= *ret_len + 1;
	l->p = end + 1;
	return true;
}

static int read_old(struct lines *l, uint64_t *ret, struct err *e)
{
	char digits[DIGITS_MAX + 1];
	const char *line;
	size_t len, n;

	if (!next_line(l, &line, &len) || len <= OLD_LEN || memcmp(line, OLD, OLD_LEN) != 0 ||
	    (n = len - OLD_LEN) > DIGITS_MAX)
		return err_set(e, -EBADMSG, "the first line is \"old\" and a size");
	memcpy(digits, line + OLD_LEN, n);
	digits[n] = '\0';
	if (strlen(digits) != n || str_to_u64(digits, 0, INT64_MAX, ret) < 0)
		return err_set(e, -EBADMSG, "the old size is a decimal number");
	return 0;
}

static int read_proof(struct lines *l, struct witness_request *q, struct err *e)
{
	const char *line;
	size_t len, got;

	for (;;) {
		if (!next_line(l, &line, &len))
			return err_set(e, -EBADMSG, "an empty line ends the proof");
		if (len == 0)
			return 0;
		if (q->nproof == MERKLE_PROOF_MAX)
			return err_set(
			    e, -EBADMSG, "a proof has at most %d hashes", MERKLE_PROOF_MAX);
		if (len != HASH_B64 ||
		    b64_decode(q->proof[q->nproof], DIGEST_LEN, line, len, &got) < 0 ||
		    got != DIGEST_LEN)
			return err_set(e, -EBADMSG, "a line of the proof is a hash in base64");
		q->nproof++;
	}
}

int witness_point_parse(const char *text, size_t len, struct checkpoint *ret, struct err *e)
{
	struct lines l = {text, len};
	const char *line;
	size_t n, first;

	if (len > REQUEST_TEXT_MAX)
		return err_set(
		    e, -EBADMSG, "a checkpoint has at most %d bytes here", REQUEST_TEXT_MAX);
	for (int i = 0; i < 3; i++)
		if (!next_line(&l, &line, &n))
			return err_set(e, -EBADMSG, "a checkpoint has three lines");
	first = len - l.left;
	while (l.left > 0)
		if (!next_line(&l, &line, &n) || n == 0)
			return err_set(e, -EBADMSG, "a checkpoint's extension lines are not empty");
	return checkpoint_parse(text, first, ret, e);
}

int witness_request_parse(const void *data, size_t len, struct witness_request *ret, struct err *e)
{
	struct witness_request q = {0};
	struct lines l = {data, len};
	int r;

	if (len > REQUEST_MAX)
		return err_set(e, -EBADMSG, "a request has at most %d bytes", (int)REQUEST_MAX);
	if ((r = read_old(&l, &q.old, e)) < 0 || (r = read_proof(&l, &q, e)) < 0 ||
	    (r = note_parse(l.p, l.left, &q.note, e)) < 0)
		return r;
	r = witness_point_parse(q.note.text, q.note.text_len, &q.point, e);
	if (r < 0) {
		note_done(&q.note);
		return r;
	}
	*ret = q;
	return 0;
}

void witness_request_done(struct witness_request *q)
{
	note_done(&q->note);
}
