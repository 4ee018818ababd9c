#include "broker/spawn/filter.h"

#include <linux/filter.h>

#include "filters.h"
#include "lib/defence.h"
#include "lib/util.h"

const struct filter_program *filter_for(enum plan_seccomp profile)
{
	static const struct filter_program agent = {filter_agent, FILTER_AGENT_LEN},
	                                   strict = {filter_strict, FILTER_STRICT_LEN};

#ifdef POSTERN_DEFENCES
	static struct filter_program weak;

	if (defence_filter(&weak.insns, &weak.len))
		return &weak;
#endif
	return profile == PLAN_SECCOMP_STRICT ? &strict : &agent;
}

void filter_digest(enum plan_seccomp profile, char ret[DIGEST_HEX_LEN + 1])
{
	const struct filter_program *f = filter_for(profile);
	uint8_t digest[DIGEST_LEN];

	digest_sha256(f->insns, f->len * sizeof(f->insns[0]), digest);
	hex_encode(ret, digest, sizeof(digest));
}
