#include "broker/core/host_config.h"

#include <errno.h>
#include <string.h>

#include "broker/audit/record_store.h"
#include "broker/store/store.h"
#include "lib/err.h"
#include "lib/yaml.h"

#define LOG_RATE_MAX     1000000
#define LOG_BYTES_MIN    (UINT64_C(1) << 20)
#define TOLERANCE_MAX_S  86400
#define CHECKPOINT_MAX_S 3600
#define EPOCH_MIN_S      600
#define EPOCH_MAX_S      (30 * 86400)
#define IDS_TOP          UINT32_C(0xfffe0000) /* the last ids mean "none" here and there */

static const char *const top_keys[] = {"listen", "ids", "limits", "clock", "store", "log",
    "gateway", "export", "witnesses", "archive", "reserve", "overcommit", NULL};
static const char *const ids_keys[] = {"base", "count", NULL};
static const char *const limits_keys[] = {
    "sessions", "sessions_per_tenant", "tenant", "tenant_max", NULL};
static const char *const sum_keys[] = {"memory", "pids", "files", "mounts", NULL};
static const char *const clock_keys[] = {"tolerance", NULL};
static const char *const store_keys[] = {"map_size", NULL};
static const char *const log_keys[] = {"rate", "burst", "critical_rate", "critical_burst",
    "tenant_bytes", "checkpoint", "epoch", "origin", NULL};

void host_config_default(struct host_config *ret)
{
	memset(ret, 0, sizeof *ret);
	(void)str_copy(ret->listen, sizeof ret->listen, HOST_LISTEN);
	ret->ids_base = HOST_IDS_BASE;
	ret->ids_count = HOST_IDS_COUNT;
	ret->sessions = HOST_SESSIONS;
	ret->sessions_per_tenant = HOST_PER_TENANT;
	ret->reserve = (struct host_capacity){UINT64_MAX, 1024, 4096, 1000};
	ret->overcommit = (struct host_capacity){32, 1, 128, 2};
	ret->clock_tolerance_s = RECORD_TOLERANCE_S;
	ret->map_size = STORE_MAP_DEFAULT;
	ret->checkpoint_s = HOST_CHECKPOINT_S;
	ret->epoch_s = HOST_EPOCH_S;
	ret->log_rate = RECORD_RATE;
	ret->log_burst = RECORD_BURST;
	ret->log_critical_rate = RECORD_CRITICAL_RATE;
	ret->log_critical_burst = RECORD_CRITICAL_BURST;
	ret->log_tenant_bytes = RECORD_TENANT_BYTES;
}

/* A section of known keys; *ret is NULL when it is not there. */
static int section(const struct yaml_doc *d, const char *key, const char *const *known,
    json_t **ret, struct err *e)
{
	int r = yaml_get_map(d, yaml_root(d), key, ret, e);

	if (r == 1) {
		*ret = NULL;
		return 0;
	}
	return r < 0 ? r : yaml_check_keys(d, *ret, known, e);
}

static int get_u32(const struct yaml_doc *d, json_t *o, const char *key, int64_t min, int64_t max,
    uint32_t *ret, struct err *e)
{
	int64_t v;
	int r = o ? yaml_get_int(d, o, key, min, max, &v, e) : 1;

	if (r == 0)
		*ret = (uint32_t)v;
	return r < 0 ? r : 0;
}

static int parse_listen(const struct yaml_doc *d, struct host_config *c, struct err *e)
{
	const char *s, *colon;
	uint64_t port;
	int r = yaml_get_str(d, yaml_root(d), "listen", &s, e);

	if (r != 0)
		return r < 0 ? r : 0;
	colon = strrchr(s, ':');
	if (!colon || colon == s || str_to_u64(colon + 1, 0, 65535, &port) < 0 ||
	    !str_copy(c->listen, sizeof c->listen, s))
		return yaml_fail(
		    d, yaml_root(d), "listen", 0, e, -EINVAL, "listen: must be ADDRESS:PORT");
	return 0;
}

static int parse_ids(const struct yaml_doc *d, struct host_config *c, struct err *e)
{
	json_t *o;
	int r;

	if ((r = section(d, "ids", ids_keys, &o, e)) < 0 ||
	    (r = get_u32(d, o, "base", HOST_IDS_BLOCK, IDS_TOP, &c->ids_base, e)) < 0 ||
	    (r = get_u32(d, o, "count", 2 * HOST_IDS_BLOCK, IDS_TOP, &c->ids_count, e)) < 0)
		return r;
	if (c->ids_base % HOST_IDS_BLOCK != 0 || c->ids_count % HOST_IDS_BLOCK != 0)
		return yaml_fail(d, yaml_root(d), "ids", 0, e, -EINVAL,
		    "ids: base and count must be multiples of %d", HOST_IDS_BLOCK);
	if (c->ids_count > IDS_TOP - c->ids_base)
		return yaml_fail(d, yaml_root(d), "ids", 0, e, -EINVAL,
		    "ids: base and count reach beyond the last usable id");
	return 0;
}

static int parse_limits(const struct yaml_doc *d, struct host_config *c, struct err *e)
{
	uint32_t blocks = c->ids_count / HOST_IDS_BLOCK - 1;
	json_t *o;
	int r;

	if (c->sessions > blocks)
		c->sessions = blocks;
	if ((r = section(d, "limits", limits_keys, &o, e)) < 0 ||
	    (r = get_u32(d, o, "sessions", 1, HOST_SESSIONS_MAX, &c->sessions, e)) < 0 ||
	    (r = get_u32(d, o, "sessions_per_tenant", 1, HOST_SESSIONS_MAX, &c->sessions_per_tenant,
	         e)) < 0)
		return r;
	if (c->sessions > blocks)
		return yaml_fail(d, o, "sessions", 0, e, -EINVAL,
		    "limits.sessions: the ids are enough for %u sessions", blocks);
	return 0;
}

/* limits.tenant, limits.tenant_max */
static int parse_tenant_limits(const struct yaml_doc *d, struct host_config *c, struct err *e)
{
	static const char *const names[] = {"tenant", "tenant_max"};
	struct limits *const into[] = {&c->tenant, &c->tenant_max};
	unsigned line[LIMITS_ALL];
	json_t *all, *o;
	int r;

	if ((r = section(d, "limits", limits_keys, &all, e)) < 0 || !all)
		return r;
	for (size_t i = 0; i < 2; i++) {
		if ((r = yaml_get_map(d, all, names[i], &o, e)) == 1)
			continue;
		if (r < 0 || (r = yaml_check_keys(d, o, limits_group_keys, e)) < 0 ||
		    (r = limits_parse(d, o, LIMITS_GROUP, into[i], line, e)) < 0)
			return r;
	}
	return 0;
}

static int get_u64(const struct yaml_doc *d, json_t *o, const char *key, int64_t min, int64_t max,
    uint64_t *ret, struct err *e)
{
	int64_t v;
	int r = o ? yaml_get_int(d, o, key, min, max, &v, e) : 1;

	if (r == 0)
		*ret = (uint64_t)v;
	return r < 0 ? r : 0;
}

static int parse_sums(const struct yaml_doc *d, struct host_config *c, struct err *e)
{
	struct host_capacity *s = &c->reserve, *n = &c->overcommit;
	json_t *reserve, *times;
	int r;

	if ((r = section(d, "reserve", sum_keys, &reserve, e)) < 0 ||
	    (r = section(d, "overcommit", sum_keys, &times, e)) < 0)
		return r;
	if (reserve && (r = yaml_get_bytes(d, reserve, "memory", &s->memory, e)) < 0)
		return r;
	if ((r = get_u64(d, reserve, "pids", 0, 1 << 22, &s->pids, e)) < 0 ||
	    (r = get_u64(d, reserve, "files", 0, INT64_C(1) << 40, &s->files, e)) < 0 ||
	    (r = get_u64(d, reserve, "mounts", 0, 1 << 30, &s->mounts, e)) < 0 ||
	    (r = get_u64(d, times, "memory", 1, 10000, &n->memory, e)) < 0 ||
	    (r = get_u64(d, times, "pids", 1, 10000, &n->pids, e)) < 0 ||
	    (r = get_u64(d, times, "files", 1, 10000, &n->files, e)) < 0 ||
	    (r = get_u64(d, times, "mounts", 1, 10000, &n->mounts, e)) < 0)
		return r;
	return 0;
}

static int parse_rest(const struct yaml_doc *d, struct host_config *c, struct err *e)
{
	json_t *clock, *store;
	int r;

	if ((r = section(d, "clock", clock_keys, &clock, e)) < 0 ||
	    (r = section(d, "store", store_keys, &store, e)) < 0)
		return r;
	if (clock && (r = yaml_get_seconds(d, clock, "tolerance", &c->clock_tolerance_s, e)) < 0)
		return r;
	if (c->clock_tolerance_s > TOLERANCE_MAX_S)
		return yaml_fail(
		    d, clock, "tolerance", 0, e, -EINVAL, "clock.tolerance: at most a day");
	if (store && (r = yaml_get_bytes(d, store, "map_size", &c->map_size, e)) < 0)
		return r;
	if (c->map_size < STORE_MAP_MIN || c->map_size > UINT64_C(1) << 44)
		return yaml_fail(
		    d, store, "map_size", 0, e, -EINVAL, "store.map_size: must be 1M to 16384G");
	return 0;
}

static int parse_log(const struct yaml_doc *d, struct host_config *c, struct err *e)
{
	json_t *o;
	int r;

	if ((r = section(d, "log", log_keys, &o, e)) < 0 ||
	    (r = get_u32(d, o, "rate", 1, LOG_RATE_MAX, &c->log_rate, e)) < 0 ||
	    (r = get_u32(d, o, "burst", 1, LOG_RATE_MAX, &c->log_burst, e)) < 0 ||
	    (r = get_u32(d, o, "critical_rate", 1, LOG_RATE_MAX, &c->log_critical_rate, e)) < 0 ||
	    (r = get_u32(d, o, "critical_burst", 1, LOG_RATE_MAX, &c->log_critical_burst, e)) < 0)
		return r;
	if (o && (r = yaml_get_bytes(d, o, "tenant_bytes", &c->log_tenant_bytes, e)) < 0)
		return r;
	if (c->log_tenant_bytes < LOG_BYTES_MIN)
		return yaml_fail(
		    d, o, "tenant_bytes", 0, e, -EINVAL, "log.tenant_bytes: at least 1M");
	return 0;
}

/* The origin names keys as well (c2sp.org/signed-note): no white space, no plus sign. */
static int parse_seals(const struct yaml_doc *d, struct host_config *c, struct err *e)
{
	const char *origin = NULL;
	json_t *o;
	int r;

	if ((r = section(d, "log", log_keys, &o, e)) < 0 || !o)
		return r;
	if ((r = yaml_get_seconds(d, o, "checkpoint", &c->checkpoint_s, e)) < 0 ||
	    (r = yaml_get_seconds(d, o, "epoch", &c->epoch_s, e)) < 0 ||
	    (r = yaml_get_str(d, o, "origin", &origin, e)) < 0)
		return r;
	if (c->checkpoint_s > CHECKPOINT_MAX_S)
		return yaml_fail(
		    d, o, "checkpoint", 0, e, -EINVAL, "log.checkpoint: at most an hour");
	if (c->epoch_s < EPOCH_MIN_S || c->epoch_s > EPOCH_MAX_S)
		return yaml_fail(d, o, "epoch", 0, e, -EINVAL, "log.epoch: 10m to 30d");
	if (r == 1)
		return 0;
	for (const char *p = origin; *p; p++)
		if (*p <= ' ' || *p >= 0x7f || *p == '+')
			origin = "";
	if (*origin == '\0' || !str_copy(c->origin, sizeof c->origin, origin))
		return yaml_fail(d, o, "origin", 0, e, -EINVAL,
		    "log.origin: 1 to %d letters, digits and signs, without spaces and plus",
		    HOST_ORIGIN_MAX);
	return 0;
}

int host_config_load(int dirfd, struct host_config *ret, struct err *e)
{
	cleanup_yaml struct yaml_doc *d = NULL;
	struct host_config c;
	json_t *ignored;
	int r;

	host_config_default(&c);
	r = yaml_load(dirfd, HOST_FILE, &d, e);
	if (r == -ENOENT) {
		*ret = c;
		return 0;
	}
	if (r < 0)
		return r;
	if (!json_is_null(yaml_root(d))) {
		if ((r = yaml_check_keys(d, yaml_root(d), top_keys, e)) < 0 ||
		    (r = yaml_get_map(d, yaml_root(d), "gateway", &ignored, e)) < 0 ||
		    (r = parse_listen(d, &c, e)) < 0 || (r = parse_ids(d, &c, e)) < 0 ||
		    (r = parse_limits(d, &c, e)) < 0 || (r = parse_tenant_limits(d, &c, e)) < 0 ||
		    (r = parse_sums(d, &c, e)) < 0 || (r = parse_rest(d, &c, e)) < 0 ||
		    (r = parse_log(d, &c, e)) < 0 || (r = parse_seals(d, &c, e)) < 0)
			return r;
	}
	*ret = c;
	return 0;
}
