#include "broker/core/rate.h"

#include "lib/clock.h"

bool rate_take(struct rate *r, int64_t now_ns, unsigned per_s, unsigned burst)
{
	int64_t cost = NSEC_PER_SEC / per_s;

	r->used_ns -= now_ns - r->last_ns;
	if (r->used_ns < 0 || r->last_ns == 0)
		r->used_ns = 0;
	r->last_ns = now_ns;
	if (r->used_ns + cost > cost * burst) {
		r->refused++;
		return false;
	}
	r->used_ns += cost;
	return true;
}
