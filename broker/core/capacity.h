/*
 * Whether all that is promised to sessions is there: memory, processes, open files and mounts,
 * summed over the tenants, against the host less a reserve.
 *
 * What a tenant is given as a limit of its own (`limits` in its file, limits.tenant) is a promise,
 * and promises must fit as they are. What sessions could take without one, their number times the
 * largest template that the tenant's roles reach, may be promised several times over (overcommit),
 * as not all take all at once. A limit of swap, cpu or io shares what there is, and is not summed.
 *
 * Descriptors: processes times open_files of each. Mounts: CAPACITY_MOUNTS a session, and what its
 * template adds.
 */
#ifndef POSTERN_CORE_CAPACITY_H
#define POSTERN_CORE_CAPACITY_H

#include <stdint.h>

#include "broker/core/host_config.h"

struct config;
struct err;

#define CAPACITY_MOUNTS      48                    /* of one sandbox */
#define CAPACITY_OWN_PIDS    4                     /* worker, lease, watch, init */
#define CAPACITY_RESERVE_MAX (UINT64_C(512) << 20) /* of memory, by default */

/* What this host has, of /proc (a descriptor): memory, pid_max and threads-max, file-max,
 * mount-max. What cannot be read is UINT64_MAX. */
void capacity_read(int proc_fd, struct host_capacity *ret);
/* 0, or -EINVAL with what is too much and both numbers. */
int capacity_check(const struct config *c, const struct host_capacity *host, struct err *e);

#endif
