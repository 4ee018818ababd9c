#include "broker/image/name.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "broker/image/tar.h"

int name_clean(const char *name, char *ret, char **ret_base, unsigned *ret_depth)
{
	unsigned depth = 0;
	size_t at = 0, n;
	char *base = ret;

	if (*name == '/' || strlen(name) > TAR_NAME_MAX)
		return -EINVAL;
	for (; *name; name += n, name += *name == '/') {
		n = strcspn(name, "/");
		if (n == 0 || (n == 1 && *name == '.'))
			continue;
		if (n > NAME_MAX || (n == 2 && name[0] == '.' && name[1] == '.'))
			return -EINVAL;
		if (at > 0)
			ret[at++] = '/';
		base = ret + at;
		memcpy(base, name, n);
		at += n;
		depth++;
	}
	ret[at] = '\0';
	if (ret_base)
		*ret_base = base;
	if (ret_depth)
		*ret_depth = depth;
	return 0;
}
