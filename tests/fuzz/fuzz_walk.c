/* What the reader of a session's files tells the core: what is taken can be put on record. */
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/walk_report.h"
#include "lib/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	json_t *files = json_loadb((const char *)data, size, JSON_DECODE_ANY, NULL), *one;
	size_t i;

	if (walk_report_check(files, &e) < 0) {
		must(*err_text(&e) != '\0');
		json_decref(files);
		return 0;
	}
	json_array_foreach(files, i, one)
	{
		const char *hex = json_string_value(json_object_get(one, "sha256"));

		must(json_string_length(json_object_get(one, "path")) <= WALK_PATH_MAX);
		must(json_integer_value(json_object_get(one, "uid")) >= 0);
		must(json_integer_value(json_object_get(one, "size")) >= 0);
		must(!hex || strlen(hex) == 64);
	}
	json_decref(files);
	return 0;
}
