#include "gateway/ssh/watchdog.h"

#include <errno.h>
#include <sys/time.h>

#include "lib/clock.h"

int watchdog_pat(int64_t now_ns)
{
	static const struct itimerval left = {.it_value = {.tv_sec = WATCHDOG_CPU_S}};
	static int64_t armed_ns;

	if (armed_ns && now_ns - armed_ns < NSEC_PER_SEC / 2)
		return 0;
	if (setitimer(ITIMER_PROF, &left, NULL) < 0)
		return -errno;
	armed_ns = now_ns;
	return 0;
}
