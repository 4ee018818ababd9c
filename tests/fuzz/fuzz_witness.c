/* Requests of strangers to a witness: what was read and written again is the same, and nothing is
 * cosigned by a witness that cannot remember. */
#include "broker/witness/request.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "broker/witness/judge.h"
#include "broker/witness/key.h"
#include "broker/witness/state.h"
#include "broker/witness/trust.h"
#include "lib/buf.h"
#include "lib/err.h"
#include "lib/str.h"

#define ORIGIN "fuzz.example/log" /* its seed is 0, 1, 2, ... 31 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same_again(const struct witness_request *q, const uint8_t *data, size_t size)
{
	char b64[B64_LEN(DIGEST_LEN) + 1];
	struct buf b;

	buf_init(&b, REQUEST_MAX);
	buf_printf(&b, "old %llu\n", (unsigned long long)q->old);
	for (size_t i = 0; i < q->nproof; i++) {
		b64_encode(b64, q->proof[i], DIGEST_LEN);
		buf_printf(&b, "%s\n", b64);
	}
	buf_put(&b, "\n", 1);
	buf_put(&b, q->note.text, q->note.text_len);
	if (buf_status(&b) < 0 || b.len >= size || memcmp(b.data, data, b.len) != 0)
		abort();
	buf_done(&b);
}

static struct trust *make_trust(void)
{
	uint8_t seed[NOTE_KEY_LEN], point[NOTE_KEY_LEN];
	struct trust *t = trust_new();
	struct note_key k;
	struct buf b;

	for (size_t i = 0; i < sizeof seed; i++)
		seed[i] = (uint8_t)i;
	buf_init(&b, 1024);
	if (!t || note_public(seed, point) < 0 ||
	    note_key_init(&k, ORIGIN, NOTE_ED25519, point, NULL) < 0)
		abort();
	note_key_format(&k, &b);
	if (trust_add(t, (const char *)b.data, b.len, NULL) < 0)
		abort();
	buf_done(&b);
	return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct witness_state nowhere = {-1, -1, -1, -1};
	static struct witness_key key;
	static struct witness w;
	struct err e = ERR_INIT;
	struct witness_request q;
	const char *type = NULL;
	unsigned status;
	struct buf out;

	if (!w.trust)
		w = (struct witness){&nowhere, &key, make_trust(), INT64_MAX / 2};
	w.warned_ns = INT64_MAX / 2; /* not a word */
	if (witness_request_parse(data, size, &q, &e) == 0) {
		if (q.nproof > MERKLE_PROOF_MAX || q.old > INT64_MAX || q.point.size > INT64_MAX)
			abort();
		same_again(&q, data, size);
		witness_request_done(&q);
	}
	buf_init(&out, JUDGE_ANSWER_MAX);
	status = witness_answer(&w, data, size, 0, &out, &type);
	if ((status != 400 && status != 403 && status != 404 && status != 500) || !type ||
	    buf_status(&out) < 0)
		abort();
	buf_done(&out);
	return 0;
}
