/*
 * A configuration file. Whatever comes, an error has the file's name; a document that is accepted
 * has a line for every value, and the strict readers and the search for the nearest key hold on it.
 */
#include "lib/yaml.h"

#include <stdlib.h>
#include <string.h>

#include "lib/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int ok)
{
	if (!ok)
		abort();
}

static void read_value(const struct yaml_doc *d, json_t *o, const char *key)
{
	struct err e = ERR_INIT;
	const char *s;
	json_t *node;
	int64_t i;
	uint64_t u;
	bool b;

	must(yaml_line(d, o, key, 0) > 0);
	(void)yaml_get_str(d, o, key, &s, &e);
	(void)yaml_get_int(d, o, key, 0, 100, &i, &e);
	(void)yaml_get_bool(d, o, key, &b, &e);
	(void)yaml_get_map(d, o, key, &node, &e);
	(void)yaml_get_list(d, o, key, &node, &e);
	(void)yaml_get_seconds(d, o, key, &i, &e);
	(void)yaml_get_bytes(d, o, key, &u, &e);
	must(strncmp(e.text, "fuzz:", 5) == 0); /* no value is all of these */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const allowed[] = {"roles", "template", "memory", "egress", NULL};
	struct yaml_doc *d = NULL;
	struct err e = ERR_INIT;
	const char *key;
	json_t *v;
	int n = 0;

	if (yaml_parse("fuzz", data, size, &d, &e) < 0) {
		must(d == NULL && e.code < 0 && strncmp(e.text, "fuzz:", 5) == 0);
		return 0;
	}
	if (json_is_object(yaml_root(d))) {
		json_object_foreach(yaml_root(d), key, v)
		{
			if (n++ < 50)
				read_value(d, yaml_root(d), key);
		}
		(void)yaml_check_keys(d, yaml_root(d), allowed, &e);
	}
	yaml_free(d);
	return 0;
}
