#include "lib/clock.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>

#include "lib/util.h"

#define BOOT_ID_LEN 36

static int64_t wall_offset_ns; /* tests only */

static int64_t now_ns(clockid_t id)
{
	struct timespec t = {0, 0};

	(void)clock_gettime(id, &t); /* cannot fail for these three (clock_gettime(2)) */
	return (int64_t)t.tv_sec * NSEC_PER_SEC + t.tv_nsec;
}

int64_t clock_wall_ns(void)
{
	return now_ns(CLOCK_REALTIME) + wall_offset_ns;
}

int64_t clock_boot_ns(void)
{
	return now_ns(CLOCK_BOOTTIME);
}

int64_t clock_mono_ns(void)
{
	return now_ns(CLOCK_MONOTONIC);
}

const char *clock_boot_id(void)
{
	static char id[BOOT_ID_LEN + 1];

	if (id[0] == '\0') {
		cleanup_close int fd =
		    open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

		if (fd < 0 || read(fd, id, BOOT_ID_LEN) != BOOT_ID_LEN)
			id[0] = '\0';
	}
	return id;
}

void clock_format(char *dst, size_t size, int64_t wall_ns)
{
	int64_t s = wall_ns / NSEC_PER_SEC, rest = wall_ns % NSEC_PER_SEC;
	time_t t;
	struct tm tm;

	if (rest < 0) { /* before 1970 */
		rest += NSEC_PER_SEC;
		s--;
	}
	t = (time_t)s;
	if (size == 0)
		return;
	dst[0] = '\0';
	if (gmtime_r(&t, &tm))
		(void)snprintf(dst, size, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", tm.tm_year + 1900,
		    tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
		    (int)(rest / 1000));
}

void clock_override(int64_t offset_ns)
{
	wall_offset_ns = offset_ns;
}
