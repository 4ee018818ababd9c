#include "broker/audit/record_share.h"

#include "broker/audit/record_store.h"
#include "lib/clock.h"

/* rate 0: no limit. */
static bool fill(struct bucket *b, uint32_t rate, uint32_t burst, int64_t now_ns)
{
	if (rate == 0)
		return false;
	if (b->at_ns == 0)
		b->tokens = burst;
	else
		b->tokens += (double)(now_ns - b->at_ns) / (double)NSEC_PER_SEC * rate;
	b->at_ns = now_ns;
	if (b->tokens > burst)
		b->tokens = burst;
	return true;
}

static bool take(struct bucket *b, uint32_t rate, uint32_t burst, int64_t now_ns)
{
	if (!fill(b, rate, burst, now_ns))
		return true;
	if (b->tokens < 1)
		return false;
	b->tokens -= 1;
	return true;
}

bool record_share_take(
    struct record_share *s, const struct record_options *o, bool critical, int64_t now_ns)
{
	if (fill(&s->bytes, o->byte_rate, o->byte_burst, now_ns) && s->bytes.tokens <= 0)
		return false;
	return critical ? take(&s->critical, o->critical_rate, o->critical_burst, now_ns)
	                : take(&s->plain, o->rate, o->burst, now_ns);
}

void record_share_spend(struct record_share *s, const struct record_options *o, uint64_t bytes)
{
	/* ends are written by those as well who have never asked */
	if (fill(&s->bytes, o->byte_rate, o->byte_burst, clock_mono_ns()))
		s->bytes.tokens -= (double)bytes;
	/* what is owed is paid within a time */
	if (s->bytes.tokens < -(double)o->byte_burst)
		s->bytes.tokens = -(double)o->byte_burst;
}
