#include "broker/core/limits.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "lib/err.h"
#include "lib/util.h"
#include "lib/yaml.h"

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define TIB (UINT64_C(1) << 40)

enum kind { BYTES, COUNT, PERCENT, SECONDS };

static const struct number {
	const char *name, *map, *key;
	size_t at;
	enum kind kind;
	uint64_t min, max;
} numbers[LIMITS_ALL] = {
    [LIMIT_MEMORY] = {"limits.memory", NULL, "memory", offsetof(struct limits, group.memory_bytes),
        BYTES, 16 * MIB, 16 * TIB},
    [LIMIT_SWAP] = {"limits.swap", NULL, "swap", offsetof(struct limits, group.swap_bytes), BYTES,
        0, 16 * TIB},
    [LIMIT_PIDS] = {"limits.pids", NULL, "pids", offsetof(struct limits, group.pids), COUNT, 4,
        1 << 22},
    [LIMIT_CPU] = {"limits.cpu", NULL, "cpu", offsetof(struct limits, group.cpu_percent), PERCENT,
        1, 100000},
    [LIMIT_CPU_WEIGHT] = {"limits.cpu_weight", NULL, "cpu_weight",
        offsetof(struct limits, group.cpu_weight), COUNT, 1, 10000},
    [LIMIT_IO_READ] = {"limits.io.read", "io", "read", offsetof(struct limits, group.io_read_bps),
        BYTES, 64 * KIB, TIB},
    [LIMIT_IO_WRITE] = {"limits.io.write", "io", "write",
        offsetof(struct limits, group.io_write_bps), BYTES, 64 * KIB, TIB},
    [LIMIT_IO_READ_OPS] = {"limits.io.read_ops", "io", "read_ops",
        offsetof(struct limits, group.io_read_iops), COUNT, 10, 1000000000},
    [LIMIT_IO_WRITE_OPS] = {"limits.io.write_ops", "io", "write_ops",
        offsetof(struct limits, group.io_write_iops), COUNT, 10, 1000000000},
    [LIMIT_DISK] = {"limits.disk", NULL, "disk", offsetof(struct limits, disk_bytes), BYTES, MIB,
        16 * TIB},
    [LIMIT_INODES] = {"limits.inodes", NULL, "inodes", offsetof(struct limits, disk_inodes), COUNT,
        64, UINT64_C(1) << 32},
    [LIMIT_OPEN_FILES] = {"limits.open_files", NULL, "open_files",
        offsetof(struct limits, open_files), COUNT, 32, 1 << 20},
    [LIMIT_WALL] = {"limits.wall", NULL, "wall", offsetof(struct limits, wall_s), SECONDS, 1,
        30 * 86400},
};

const char *const limits_group_keys[] = {"memory", "swap", "pids", "cpu", "cpu_weight", "io", NULL};
const char *const limits_all_keys[] = {"memory", "swap", "pids", "cpu", "cpu_weight", "io", "disk",
    "inodes", "open_files", "wall", NULL};
static const char *const io_keys[] = {"read", "write", "read_ops", "write_ops", NULL};

const char *limit_name(unsigned i)
{
	return numbers[i].name;
}

uint64_t limit_get(const struct limits *l, unsigned i)
{
	uint64_t v;

	memcpy(&v, (const char *)l + numbers[i].at, sizeof v);
	return v;
}

char *limit_text(unsigned i, uint64_t v, char dst[LIMIT_TEXT_MAX])
{
	static const char units[] = "KMGT";
	const char *unit = "";
	char letter[2] = "";

	if (v == 0) {
		(void)snprintf(dst, LIMIT_TEXT_MAX, "%s", i == LIMIT_SWAP ? "0" : "none");
		return dst;
	}
	if (numbers[i].kind == PERCENT)
		unit = "%";
	else if (numbers[i].kind == SECONDS)
		unit = "s";
	for (const char *u = units; numbers[i].kind == BYTES && *u && v % KIB == 0; u++) {
		v /= KIB;
		letter[0] = *u;
		unit = letter;
	}
	(void)snprintf(dst, LIMIT_TEXT_MAX, "%llu%s", (unsigned long long)v, unit);
	return dst;
}

bool limit_within(unsigned i, uint64_t v, uint64_t other)
{
	if (i == LIMIT_SWAP)
		return v <= other;
	if (i == LIMIT_CPU_WEIGHT) /* what nobody said is everybody's */
		return (v ? v : 100) <= (other ? other : 100);
	return other == 0 || (v != 0 && v <= other);
}

static int out_of_range(const struct yaml_doc *d, json_t *o, const struct number *n, struct err *e)
{
	unsigned i = (unsigned)(n - numbers);
	char min[LIMIT_TEXT_MAX], max[LIMIT_TEXT_MAX];

	return yaml_fail(d, o, n->key, 0, e, -EINVAL, "%s: must be %s to %s", n->name,
	    limit_text(i, n->min, min), limit_text(i, n->max, max));
}

static int read_one(
    const struct yaml_doc *d, json_t *o, const struct number *n, uint64_t *ret, struct err *e)
{
	int64_t v = 0;
	int r;

	if (n->kind == BYTES)
		r = yaml_get_bytes(d, o, n->key, ret, e);
	else if (n->kind == SECONDS)
		r = yaml_get_seconds(d, o, n->key, &v, e);
	else
		r = yaml_get_int(d, o, n->key, (int64_t)n->min, (int64_t)n->max, &v, e);
	if (r != 0)
		return r;
	if (n->kind != BYTES)
		*ret = (uint64_t)v;
	return *ret < n->min || *ret > n->max ? out_of_range(d, o, n, e) : 0;
}

int limits_parse(const struct yaml_doc *d, json_t *o, unsigned n, struct limits *ret,
    unsigned line[LIMITS_ALL], struct err *e)
{
	json_t *io = NULL;
	int r;

	if ((r = yaml_get_map(d, o, "io", &io, e)) < 0 ||
	    (io && (r = yaml_check_keys(d, io, io_keys, e)) < 0))
		return r;
	for (unsigned i = 0; i < n; i++) {
		const struct number *x = &numbers[i];
		json_t *in = x->map ? io : o;
		uint64_t v;

		if (!in || (r = read_one(d, in, x, &v, e)) == 1)
			continue;
		if (r < 0)
			return r;
		memcpy((char *)ret + x->at, &v, sizeof v);
		line[i] = yaml_line(d, in, x->key, 0);
	}
	return 0;
}
