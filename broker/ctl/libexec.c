#include "broker/ctl/libexec.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/err.h"

int ctl_libexec(const char *program, char dst[PATH_MAX], struct err *e)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	char *slash;

	if (n < 0)
		return err_set(e, -errno, "cannot read /proc/self/exe: %m");
	self[n] = '\0';
	for (int i = 0; i < 2; i++)
		if ((slash = strrchr(self, '/')))
			*slash = '\0';
	if (snprintf(dst, PATH_MAX, "%s/libexec/postern/%s", self, program) >= PATH_MAX)
		return err_set(e, -ENAMETOOLONG, "the path is too long");
	return 0;
}
