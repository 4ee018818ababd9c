#include <string.h>

#include "broker/audit/body.h"
#include "broker/audit/ranges_internal.h"

/* Bodies that lie beside their records: a record that is proved proves its body. */

#define LLU(x) ((unsigned long long)(x))

/* That of the last record that named one has not come, and will not. */
static void missed(struct ranges *r)
{
	if (r->body.seq == 0)
		return;
	if (r->bare == 0)
		r->bare = r->body.seq;
	r->bare_last = r->body.seq;
	r->body.seq = 0;
}

void ranges_body_named(struct ranges *r, uint64_t seq, const void *data, size_t len)
{
	missed(r);
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

/* Bodies are never erased: personal values are, and lie elsewhere. */
void ranges_body_end(struct ranges *r)
{
	missed(r);
	if (r->bare == 0)
		return;
	ranges_find(r, VERDICT_MISSING, r->bare, r->bare_last,
	    "%llu long bod%s missing, the first of record %llu: what was in it is lost, the record "
	    "proves what it was",
	    LLU(r->named - r->fed), r->named - r->fed == 1 ? "y is" : "ies are", LLU(r->bare));
}
