#include "broker/spawn/cgroup_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "broker/spawn/cgroup_sweep.h"
#include "lib/err.h"
#include "lib/util.h"

/* ---- which devices ---- */

/* Limits are a whole disk's; a partition's disk is the directory above its own in sysfs. */
static bool disk_of(dev_t dev, char *dst, size_t size)
{
	char path[96];
	cleanup_close int dir = -1;

	(void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(dev), minor(dev));
	if ((dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return false; /* no block device at all: tmpfs, btrfs, a network's */
	if (cgroup_read(
	        dir, faccessat(dir, "partition", F_OK, 0) == 0 ? ".." : ".", "dev", dst, size) < 0)
		return false;
	dst[strcspn(dst, "\n")] = '\0';
	return *dst != '\0';
}

static bool add(struct cgroups *c, const struct stat *st)
{
	char disk[sizeof(c->devices[0])];

	if (!disk_of(st->st_dev, disk, sizeof(disk)))
		return false;
	for (size_t i = 0; i < c->ndevices; i++)
		if (strcmp(c->devices[i], disk) == 0)
			return true;
	if (c->ndevices < CGROUP_DEVICES)
		memcpy(c->devices[c->ndevices++], disk, sizeof(disk));
	return true;
}

/* Without a disk below the state directory there is nothing to limit. */
void cgroup_io_find(struct cgroups *c, int state_fd)
{
	struct stat st;

	if (fstat(state_fd, &st) == 0 && add(c, &st) && stat("/usr", &st) == 0)
		(void)add(c, &st);
}

/* ---- how much ---- */

bool cgroup_io_asked(const struct plan_limits *l)
{
	return l->io_read_bps || l->io_write_bps || l->io_read_iops || l->io_write_iops;
}

static size_t put(char *dst, size_t size, size_t at, const char *key, uint64_t value)
{
	int n = value ? snprintf(dst + at, size - at, " %s=%llu", key, (unsigned long long)value)
	              : snprintf(dst + at, size - at, " %s=max", key);

	return at + (size_t)n;
}

static int set_v2(
    struct cgroups *c, const char *name, const char *disk, const struct plan_limits *l)
{
	char text[192];
	size_t at = (size_t)snprintf(text, sizeof(text), "%s", disk);

	at = put(text, sizeof(text), at, "rbps", l->io_read_bps);
	at = put(text, sizeof(text), at, "wbps", l->io_write_bps);
	at = put(text, sizeof(text), at, "riops", l->io_read_iops);
	(void)put(text, sizeof(text), at, "wiops", l->io_write_iops);
	return cgroup_write(c->top[CGROUP_UNIFIED], name, "io.max", text);
}

static int set_v1(
    struct cgroups *c, const char *name, const char *disk, const struct plan_limits *l)
{
	char text[64];
	int r;

	(void)snprintf(text, sizeof(text), "%s %llu", disk, (unsigned long long)l->io_read_bps);
	if ((r = cgroup_write(c->top[CGROUP_IO], name, "blkio.throttle.read_bps_device", text)) < 0)
		return r;
	(void)snprintf(text, sizeof(text), "%s %llu", disk, (unsigned long long)l->io_read_iops);
	return cgroup_write(c->top[CGROUP_IO], name, "blkio.throttle.read_iops_device", text);
}

int cgroup_io_limit(struct cgroups *c, const char *name, const struct plan_limits *l,
    const struct plan *p, struct err *e)
{
	int r;

	if (!cgroups_has(c, CGROUP_IO))
		return err_set(
		    e, -ENOTSUP, "this host cannot limit io: no such controller below our cgroup");
	if (c->ndevices == 0)
		return err_set(
		    e, -ENOTSUP, "this host cannot limit io: the state directory is on no disk");
	/* whoever writes to a file writes to memory; it is the kernel that writes to the disk, and
	 * version 1 cannot tell for whom (Documentation/admin-guide/cgroup-v1/blkio-controller.rst)
	 */
	if (!c->v2[CGROUP_IO] && (l->io_write_bps || l->io_write_iops))
		return err_set(e, -ENOTSUP,
		    "this host cannot limit io: version 1 of cgroups does not hold writes");
	if (!c->v2[CGROUP_IO] && !p)
		return err_set(e, -ENOTSUP,
		    "this host cannot limit io of a tenant: version 1 of cgroups does not add up");
	for (size_t i = 0; i < c->ndevices; i++) {
		r = c->v2[CGROUP_IO] ? set_v2(c, name, c->devices[i], l)
		                     : set_v1(c, name, c->devices[i], l);
		if (r < 0)
			return err_set(e, r == -ENODEV || r == -EOPNOTSUPP ? -ENOTSUP : r,
			    "this host cannot limit io of the disk %s: %s", c->devices[i],
			    strerror(-r));
	}
	return 0;
}
