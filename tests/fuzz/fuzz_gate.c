/* A path, a link's target, a file's first bytes and a list of attributes, all the agent's choice.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "broker/walk/gate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *path = strndup((const char *)data, size);
	size_t n = path ? strlen(path) : 0;
	char *target = n < size ? strndup((const char *)data + n + 1, size - n - 1) : NULL;

	if (path) {
		(void)gate_path(path);
		(void)gate_content(path, data, size);
		if (target && *target == '/' && !gate_link(path, target))
			abort();
	}
	(void)gate_xattrs((const char *)data, size);
	free(path);
	free(target);
	return 0;
}
