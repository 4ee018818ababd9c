/* The JSON reader of postern-cred, which is no part of any archive. */
#include "creds/tool/json.c" /* NOLINT */

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char out[65536];
	struct json o, v, item;
	int r;

	if (json_open((const char *)data, size, &o) < 0)
		return 0;
	if (json_text(&o, out, sizeof out) == 0) {
		for (const char *p = out; *p != '\0'; p++) {
			if ((unsigned char)*p < ' ' || *p == 0x7f)
				abort();
		}
	}
	if (json_get(&o, "value", &v) == 0)
		(void)json_text(&v, out, sizeof out);
	if (json_get(&o, "credentials", &v) == 0) {
		for (r = json_first(&v, &item); r == 1; r = json_next(&v, &item)) {
			struct json kind;

			if (json_get(&item, "kind", &kind) == 0)
				(void)json_text(&kind, out, sizeof out);
		}
		if (r < 0 && v.type == JSON_ARRAY)
			abort(); /* json_open() has seen every element */
	}
	return 0;
}
