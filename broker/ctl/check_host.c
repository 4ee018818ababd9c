/* postern check: the kernel, cgroups, ids and clock of this host. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "broker/core/host_config.h"
#include "broker/ctl/check.h"
#include "broker/ctl/ctl.h"
#include "broker/supervisor/idrange.h"
#include "lib/chan.h"
#include "lib/clock.h"
#include "lib/confine.h"
#include "lib/err.h"
#include "lib/util.h"

#define KERNEL_MAJOR   6
#define KERNEL_MINOR   1
#define CLOCK_SANE_S   INT64_C(1767225600) /* 2026-01-01: this program is younger */
#define LANDLOCK_FLOOR 2

static void kernel(struct check *k)
{
	int major = 0, minor = 0;
	struct utsname u;
	char *dot = NULL;
	int abi;

	if (uname(&u) == 0) {
		major = (int)strtol(u.release, &dot, 10);
		minor = dot && *dot == '.' ? (int)strtol(dot + 1, NULL, 10) : 0;
	}
	check_add(k,
	    major > KERNEL_MAJOR || (major == KERNEL_MAJOR && minor >= KERNEL_MINOR) ? CHECK_OK
	                                                                             : CHECK_BAD,
	    "kernel", "Linux %d.%d (6.1 or newer is needed)", major, minor);
	abi = confine_landlock_abi();
	check_add(k, abi >= LANDLOCK_FLOOR ? CHECK_OK : CHECK_BAD, "landlock",
	    abi < 0 ? "not there (%d)" : "ABI %d (2 or newer is needed)", abi < 0 ? -abi : abi);
}

/* The first number in a file below /proc; -1 if it cannot be read. */
static long number(const char *path)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[32], *end;
	ssize_t n;
	long v;

	if (fd < 0 || (n = read(fd, text, sizeof text - 1)) <= 0)
		return -1;
	text[n] = '\0';
	v = strtol(text, &end, 10);
	return end == text ? -1 : v;
}

static void sysctls(struct check *k)
{
	long dumpable = number("/proc/sys/fs/suid_dumpable");
	long userns = number("/proc/sys/user/max_user_namespaces");

	check_add(k, dumpable == 0 ? CHECK_OK : CHECK_BAD, "fs.suid_dumpable",
	    "is %ld and must be 0 (sysctl fs.suid_dumpable=0)", dumpable);
	check_add(k, userns > 0 ? CHECK_OK : CHECK_BAD, "user namespaces",
	    "user.max_user_namespaces is %ld", userns);
}

static void cgroup(struct check *k)
{
	struct statfs fs;

	if (statfs("/sys/fs/cgroup", &fs) < 0) {
		check_add(k, CHECK_BAD, "cgroup", "/sys/fs/cgroup: %s", strerror(errno));
	} else if (fs.f_type == CGROUP2_SUPER_MAGIC) {
		check_add(k, CHECK_OK, "cgroup", "version 2");
	} else if (statfs("/sys/fs/cgroup/unified", &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC) {
		check_add(k, CHECK_OK, "cgroup", "hybrid: limits by version 1");
	} else {
		check_add(k, CHECK_BAD, "cgroup", "no version 2 hierarchy is mounted");
	}
}

/* A Postern that runs uses the range itself: then only the files are looked at. */
static void ids(struct check *k, const struct ctl *c, int config_fd)
{
	struct host_config host;
	struct chan *link = NULL;
	struct err e = ERR_INIT;
	bool runs = ctl_dial(c, &link, 1) == EXIT_OK;
	int process = 0;

	chan_free(link);
	if (host_config_load(config_fd, &host, &e) < 0)
		return; /* said by check_config() */
	if (idrange_check("", host.ids_base, host.ids_count, &process, &e) == 0 ||
	    (process && runs))
		check_add(k, CHECK_OK, "ids", "%u to %u are free of others", host.ids_base,
		    host.ids_base + host.ids_count - 1);
	else
		check_add(k, CHECK_BAD, "ids", "%s", err_text(&e));
}

void check_host(struct check *k, const struct ctl *c, int config_fd)
{
	int64_t now = clock_wall_ns();
	char time[32];

	kernel(k);
	sysctls(k);
	cgroup(k);
	clock_format(time, sizeof time, now);
	check_add(k, now >= CLOCK_SANE_S * NSEC_PER_SEC ? CHECK_OK : CHECK_BAD, "clock",
	    now >= CLOCK_SANE_S * NSEC_PER_SEC ? "%s" : "%s cannot be", time);
	check_add(k, geteuid() == 0 ? CHECK_OK : CHECK_WARN, "privilege",
	    geteuid() == 0 ? "checked as root" : "not root: some facts may be hidden");
	if (config_fd >= 0)
		ids(k, c, config_fd);
}
