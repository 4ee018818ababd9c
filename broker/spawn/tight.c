#include "broker/spawn/tight.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "broker/spawn/cgroup_sweep.h"

static bool find(const char *text, const char *key, uint64_t *ret)
{
	const char *at = strstr(text, key);
	char *end;

	if (!at)
		return false;
	at += strlen(key);
	*ret = strtoull(at, &end, 10);
	return end != at;
}

bool tight_by(const char *meminfo, const char *pressure)
{
	uint64_t total, available, waited;

	if (find(meminfo, "MemTotal:", &total) && find(meminfo, "MemAvailable:", &available) &&
	    available < total / TIGHT_SHARE)
		return true;
	return find(pressure, "some avg10=", &waited) && waited >= TIGHT_PRESSURE;
}

bool tight_now(void)
{
	char meminfo[4096], pressure[512];

	/* the reader of small kernel files; an absolute path needs no directory */
	(void)cgroup_read(AT_FDCWD, "/proc", "meminfo", meminfo, sizeof meminfo);
	(void)cgroup_read(AT_FDCWD, "/proc/pressure", "memory", pressure, sizeof pressure);
	return tight_by(meminfo, pressure);
}
