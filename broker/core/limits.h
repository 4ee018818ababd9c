/*
 * Limits as configuration files write them: one table for templates, tenants and the host.
 *
 *   limits:
 *     memory: 512M
 *     swap: 0               # beyond memory; none unless said
 *     pids: 128
 *     cpu: 100              # percent of one processor, at most
 *     cpu_weight: 100       # against others, when processors are short
 *     io: {read: 50M, write: 20M, read_ops: 2000, write_ops: 500}     # a second, of the disk
 *     disk: 256M            # these four in templates only
 *     inodes: 65536
 *     open_files: 1024
 *     wall: 8h
 */
#ifndef POSTERN_CORE_LIMITS_H
#define POSTERN_CORE_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/spawn/plan.h"

struct err;
struct yaml_doc;

enum limit {
	LIMIT_MEMORY,
	LIMIT_SWAP,
	LIMIT_PIDS,
	LIMIT_CPU,
	LIMIT_CPU_WEIGHT,
	LIMIT_IO_READ,
	LIMIT_IO_WRITE,
	LIMIT_IO_READ_OPS,
	LIMIT_IO_WRITE_OPS,
	LIMITS_GROUP, /* what a cgroup holds: those of struct plan_limits */
	LIMIT_DISK = LIMITS_GROUP,
	LIMIT_INODES,
	LIMIT_OPEN_FILES,
	LIMIT_WALL,
	LIMITS_ALL
};

/* 0: no such limit; of swap: none of it. */
struct limits {
	struct plan_limits group;
	uint64_t disk_bytes, disk_inodes, open_files, wall_s;
};

#define LIMIT_TEXT_MAX 32

/* The keys of a `limits` mapping: the first n of them (LIMITS_GROUP or LIMITS_ALL), NULL behind. */
extern const char *const limits_group_keys[], *const limits_all_keys[];

/* Reads the first n limits of the mapping o; *ret keeps what is not said. line[i] is set to the
 * line of each that is. Unknown keys of o are the caller's, those of io ours. -EINVAL. */
int limits_parse(const struct yaml_doc *d, json_t *o, unsigned n, struct limits *ret,
    unsigned line[LIMITS_ALL], struct err *e);
/* "limits.memory", "limits.io.read" */
const char *limit_name(unsigned i);
uint64_t limit_get(const struct limits *l, unsigned i);
/* "512M", "128", "100%", "8h", "none". Returns dst. */
char *limit_text(unsigned i, uint64_t v, char dst[LIMIT_TEXT_MAX]);
/* Whether v allows no more than other does. */
bool limit_within(unsigned i, uint64_t v, uint64_t other);

#endif
