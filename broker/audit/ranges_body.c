#include <string.h>

#include "broker/audit/body.h"
#include "broker/audit/ranges_internal.h"

/* Bodies that lie beside their records: a record that is proved proves its body. */

#define LLU(x) ((unsigned long long)(x))

void ranges_body_named(struct ranges *r, uint64_t seq, const void *data, size_t len)
{
	r->body.seq = 0;
	if (body_named(data, len, r->body.digest, &r->body.len) < 0)
		return;
	r->body.seq = seq;
	r->named++;
}

int ranges_body(struct ranges *r, uint64_t seq, const void *data, size_t len)
{
	uint8_t digest[DIGEST_LEN];
	bool due = seq == r->body.seq && seq > 0;

	digest_sha256(data, len, digest);
	if (due) {
		r->fed++;
		r->body.seq = 0;
	}
	if (due && len == r->body.len && memcmp(digest, r->body.digest, sizeof digest) == 0) {
		r->fit++;
		return 0;
	}
	ranges_find(r, VERDICT_BROKEN, seq, seq,
	    due ? "the body of record %llu was changed" : "a body that record %llu does not name",
	    LLU(seq));
	ranges_hole(r, seq, seq, false);
	return 0;
}
