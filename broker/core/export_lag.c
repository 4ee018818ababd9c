#include <string.h>
#include <time.h>

#include "broker/audit/envelope.h"
#include "broker/core/core.h"
#include "broker/core/export_internal.h"
#include "lib/clock.h"
#include "lib/log.h"

/*
 * How far witnessing is behind: the age of the oldest record that is sealed and that no quorum has
 * signed. An alarm that begins or ends is one record; sessions go on.
 */

/* When record `seq` was written; 0 if it is not there. */
static int64_t time_of(struct exporter *x, const struct export_log *l, uint64_t seq)
{
	struct envelope_reader reader;
	struct envelope v;
	cleanup_buf struct buf b;
	struct tm tm = {0};
	const char *rest;

	buf_init(&b, RECORD_MAX);
	if (envelope_init(&reader, l->name) < 0 ||
	    logs_get(x->core->store, l->number, seq, &b) < 0 ||
	    envelope_read(&reader, seq, b.data, b.len, &v, NULL) < 0 ||
	    !(rest = strptime(v.time, "%Y-%m-%dT%H:%M:%S", &tm)) || *rest != '.')
		return 0;
	return (int64_t)timegm(&tm) * NSEC_PER_SEC;
}

int64_t export_lag_s(struct exporter *x, struct export_log *l)
{
	int64_t age;

	if (export_config_of(x)->nwitnesses == 0)
		return 0;
	export_witness_count(x, l);
	if (l->sealed <= l->witnessed)
		return 0;
	if (l->oldest_seq != l->witnessed + 1) {
		l->oldest_seq = l->witnessed + 1;
		l->oldest_ns = time_of(x, l, l->oldest_seq);
	}
	age = x->core->log->ops->now_ns(x->core->log) - l->oldest_ns;
	return age > NSEC_PER_SEC && l->oldest_ns > 0 ? age / NSEC_PER_SEC : 1;
}

static void check(struct exporter *x, struct export_log *l)
{
	int64_t lag = export_lag_s(x, l);

	if (lag > EXPORT_LAG_S && !l->late) {
		l->late = true;
		log_warn("log %s: nothing newer than record %llu is witnessed, for %lld seconds",
		    l->name, (unsigned long long)l->witnessed, (long long)lag);
		(void)note(x->core, "log.unwitnessed", NULL, NULL,
		    json_pack("{s:s, s:I, s:I, s:I}", "log", l->name, "sealed",
		        (json_int_t)l->sealed, "witnessed", (json_int_t)l->witnessed, "lag_s",
		        (json_int_t)lag));
	} else if (lag <= EXPORT_LAG_S && l->late) {
		l->late = false;
		log_warn("log %s: witnessed again, up to record %llu", l->name,
		    (unsigned long long)l->witnessed);
		(void)note(x->core, "log.witnessed", NULL, NULL,
		    json_pack("{s:s, s:I}", "log", l->name, "size", (json_int_t)l->witnessed));
	}
}

/* What was sealed before we were there, or before there were witnesses, needs a moment. */
static bool too_early(const struct exporter *x)
{
	return clock_boot_ns() - x->since_boot_ns < EXPORT_LAG_S * NSEC_PER_SEC;
}

void export_lag_check_log(struct exporter *x, struct export_log *l)
{
	if (!too_early(x))
		check(x, l);
}

void export_lag_check(struct exporter *x)
{
	if (too_early(x))
		return;
	export_look(x);
	for (size_t i = 0; i < x->nlogs; i++)
		check(x, x->log[i]);
}
