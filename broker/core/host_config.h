/*
 * CONFIGDIR/postern.yaml: what the host itself is told. Every key has a default; a missing file is
 * an empty one.
 *
 *   listen: 0.0.0.0:22
 *   ids: {base: 1879048192, count: 33554432}
 *   limits: {sessions: 200, sessions_per_tenant: 20}
 *           tenant: {memory: 8G}   # of a tenant's sessions together, where its file is silent
 *           tenant_max: {...}      # the most that its file may say; both as limits.h has them
 *   reserve: {memory: 512M, pids: 1024, files: 4096, mounts: 1000}    # capacity.h
 *   overcommit: {memory: 32, pids: 1, files: 128, mounts: 2}
 *   clock: {tolerance: 60s}
 *   store: {map_size: 16G}
 *   log: {checkpoint: 10s, epoch: 24h, origin: log.example.com/gate-1,
 *         rate: 500, burst: 5000, critical_rate: 200, critical_burst: 2000, tenant_bytes: 4G}
 *                                seal.h; and of one tenant, a second: broker/audit/record_store.h
 *   gateway: {...}               the gateway reads that by itself
 *   export, witnesses, archive   broker/core/export_config.h
 *
 * Needs lib alone, so that the supervisor can read it as well.
 */
#ifndef POSTERN_CORE_HOST_CONFIG_H
#define POSTERN_CORE_HOST_CONFIG_H

#include <stdint.h>

#include "broker/core/limits.h"
#include "lib/str.h"

struct err;

#define HOST_FILE         "postern.yaml"
#define HOST_IDS_BLOCK    65536
#define HOST_IDS_BASE     UINT32_C(1879048192) /* 0x70000000 */
#define HOST_IDS_COUNT    (UINT32_C(512) * HOST_IDS_BLOCK)
#define HOST_SESSIONS     200
#define HOST_SESSIONS_MAX 2048
#define HOST_PER_TENANT   20
#define HOST_ORIGIN_MAX   190
#define HOST_CHECKPOINT_S 10
#define HOST_EPOCH_S      86400
#define HOST_LISTEN       "0.0.0.0:22"

/* What sessions take of a host, or what there is of it. */
struct host_capacity {
	uint64_t memory, pids, files, mounts;
};

struct host_config {
	char listen[300];
	uint32_t ids_base, ids_count;     /* multiples of HOST_IDS_BLOCK */
	uint32_t sessions;                /* live at once on this host */
	uint32_t sessions_per_tenant;     /* for tenants that say nothing */
	struct limits tenant, tenant_max; /* LIMITS_GROUP of them */
	struct host_capacity reserve;     /* memory: UINT64_MAX, an eighth, at most 512M */
	struct host_capacity overcommit;  /* how often what is there may be promised */
	int64_t clock_tolerance_s;
	uint64_t map_size;
	int64_t checkpoint_s, epoch_s;
	char origin[HOST_ORIGIN_MAX + 1]; /* of the logs; "": made up once */
	uint32_t log_rate, log_burst, log_critical_rate, log_critical_burst;
	uint64_t log_tenant_bytes;
};

void host_config_default(struct host_config *ret);
/* Reads HOST_FILE. 0 or -errno, with file and line where one is wrong. */
int host_config_load(int dirfd, struct host_config *ret, struct err *e);

#endif
