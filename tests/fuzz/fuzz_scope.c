/* Scopes: what was read, written and read again is the same; and lists of networks. */
#include "creds/scope.h"

#include <stdlib.h>
#include <string.h>

#include "creds/cidr.h"
#include "lib/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(const struct scope *s)
{
	json_t *o = scope_to_json(s), *o2;
	char *text = o == NULL ? NULL : json_dumps(o, JSON_COMPACT);
	struct scope *again = NULL;

	if (text == NULL)
		abort();
	/* what came may have been shorter in bytes: escapes are written out */
	if (strlen(text) <= SCOPE_MAX) {
		if (scope_parse(text, strlen(text), &again, NULL) < 0 ||
		    (o2 = scope_to_json(again)) == NULL || !json_equal(o, o2))
			abort();
		json_decref(o2);
	}
	scope_free(again);
	free(text);
	json_decref(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	struct scope *s = NULL;
	struct cidr_list l;

	if (scope_parse(data, size, &s, &e) == 0)
		round_trip(s);
	scope_free(s);
	if (size > 0 && cidr_list_parse((const char *)data, size, &l, &e) == 0) {
		for (size_t i = 0; i < l.n; i++) {
			if (!cidr_match(&l.item[i], &l.item[i].net) ||
			    !cidr_list_match(&l, &l.item[i].net))
				abort();
		}
	}
	return 0;
}
