#include "broker/core/export_quorum.h"

#include <string.h>

#include "broker/core/export_config.h"

static bool claims(const struct note *n, const struct note_key *k)
{
	for (size_t i = 0; i < n->nsignatures; i++)
		if (memcmp(n->signatures[i].id, k->id, sizeof k->id) == 0 &&
		    strcmp(n->signatures[i].name, k->name) == 0)
			return true;
	return false;
}

bool export_quorum(const struct export_config *c, const void *note, size_t len)
{
	size_t claimed = 0, good = 0;
	struct note n;

	if (note_parse(note, len, &n, NULL) < 0)
		return false;
	for (size_t i = 0; i < c->nwitnesses; i++)
		claimed += claims(&n, &c->witnesses[i].key);
	for (size_t i = 0; i < c->nwitnesses && claimed >= c->quorum && good < c->quorum; i++)
		good += note_verify(&n, &c->witnesses[i].key, NULL, NULL) == 1;
	note_done(&n);
	return good >= c->quorum;
}
