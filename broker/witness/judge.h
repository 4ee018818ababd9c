/*
 * What a witness answers: one request's bytes in, a status and a body out. HTTP is elsewhere; the
 * checks, their order and their statuses are those of c2sp.org/tlog-witness, add-checkpoint.
 *
 *   400  the body is malformed, or the old size is greater than the checkpoint's
 *   403  no signature by a key that is trusted for the origin, or one that does not hold
 *   404  an origin that is not known (or one more than its host may have)
 *   409  the old size is not that of the last cosigned checkpoint, or the same size has another
 *        root; the body is the last size
 *   422  the consistency proof does not hold
 *   500  what is remembered cannot be read or written: nothing is cosigned
 *   200  cosignature; the checkpoint is on disk by then
 *
 * One call at a time: check and persist are one step because nothing runs between them.
 */
#ifndef POSTERN_WITNESS_JUDGE_H
#define POSTERN_WITNESS_JUDGE_H

#include <stddef.h>
#include <stdint.h>

struct buf;
struct trust;
struct witness_key;
struct witness_state;

struct witness {
	const struct witness_state *state;
	const struct witness_key *key;
	struct trust *trust;
	int64_t warned_ns; /* when something was last written to the operator's log */
};

#define JUDGE_ANSWER_MAX 1024
#define JUDGE_TYPE_SIZE  "text/x.tlog.size"
#define JUDGE_TYPE_TEXT  "text/plain; charset=utf-8"

/* Counts the logs there are, and warns of damaged files. -errno. */
int witness_begin(struct witness *w);
/* The HTTP status. out (empty, of JUDGE_ANSWER_MAX) gets the body, *ret_type its content type.
 * now_s: POSIX time for the cosignature. */
unsigned witness_answer(struct witness *w, const void *body, size_t len, int64_t now_s,
    struct buf *out, const char **ret_type);

#endif
