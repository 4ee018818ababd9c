#include "gateway/ssh/args.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "lib/err.h"
#include "lib/str.h"

enum { UID, GID, CONFIG, HOSTKEYS, SLOT, NAMES };

int gateway_args_parse(struct gateway_args *a, int argc, char *const *argv, struct err *e)
{
	static const char *const names[NAMES] = {"uid", "gid", "config", "hostkeys", "slot"};
	static const uint64_t max[NAMES] = {
	    UINT32_MAX - 1, UINT32_MAX - 1, INT_MAX, INT_MAX, 65535};
	int64_t got[NAMES] = {-1, -1, -1, -1, -1};

	for (int i = 0; i < argc; i++) {
		const char *eq = strchr(argv[i], '=');
		size_t n = eq ? (size_t)(eq - argv[i]) : 0;
		uint64_t v = 0;
		int k = 0;

		while (k < NAMES && (strlen(names[k]) != n || memcmp(names[k], argv[i], n) != 0))
			k++;
		if (!eq || k == NAMES)
			return err_set(e, -EINVAL, "unknown argument \"%s\"", argv[i]);
		if (got[k] >= 0 || str_to_u64(eq + 1, 0, max[k], &v) < 0)
			return err_set(e, -EINVAL, "bad argument \"%s\"", argv[i]);
		got[k] = (int64_t)v;
	}
	a->uid = got[UID];
	a->gid = got[GID];
	a->config = (int)got[CONFIG];
	a->hostkeys = (int)got[HOSTKEYS];
	a->slot = got[SLOT];
	return 0;
}
