#include "gateway/ssh/refusal.h"

#include <jansson.h>
#include <limits.h>

#include "gateway/ssh/listener.h"
#include "lib/chan.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/str.h"

const char *refusal_text(enum refusal_reason why)
{
	static const char *const texts[REFUSAL_REASONS] = {"too many connections",
	    "too many connections from this address", "no worker in time", "no memory"};

	return texts[why];
}

void refusal_note(struct refusals *r, enum refusal_reason why, const char *peer)
{
	if (r->of[why].count < INT32_MAX)
		r->of[why].count++;
	(void)str_copy(r->of[why].peer, sizeof r->of[why].peer, peer);
}

int64_t refusal_tell(struct refusals *r, struct chan *core, int64_t now_ns)
{
	int64_t next = INT64_MAX;

	for (unsigned i = 0; i < REFUSAL_REASONS; i++) {
		int64_t due = r->of[i].told_ns + LISTENER_REFUSED_S * NSEC_PER_SEC;

		if (!r->of[i].count)
			continue;
		if (!core || (r->of[i].told_ns && now_ns < due)) {
			if (core && due < next)
				next = due;
			continue;
		}
		log_warn("refused %u connection(s), the last from %s: %s", r->of[i].count,
		    r->of[i].peer, refusal_text((enum refusal_reason)i));
		(void)chan_send(core, "conn.refused", 0,
		    json_pack("{ss ss sI}", "peer", r->of[i].peer, "reason",
		        refusal_text((enum refusal_reason)i), "count", (json_int_t)r->of[i].count),
		    NULL, 0);
		r->of[i].count = 0;
		r->of[i].told_ns = now_ns;
	}
	return next;
}
