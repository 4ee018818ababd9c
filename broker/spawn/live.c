#include "broker/spawn/live.h"

#include <stdlib.h>
#include <string.h>

#include "lib/str.h"
#include "lib/util.h"

struct live *live_new(struct live **list, struct serve *s, const char *id)
{
	struct live *v = calloc(1, sizeof *v);

	if (!v)
		return NULL;
	v->serve = s;
	v->lease = v->walk = -1;
	(void)str_copy(v->id, sizeof v->id, id);
	live_add(list, v);
	return v;
}

struct live *live_find(struct live *list, const char *id)
{
	while (list && strcmp(list->id, id) != 0)
		list = list->next;
	return list;
}

void live_add(struct live **list, struct live *v)
{
	v->next = *list;
	*list = v;
}

void live_unlink(struct live **list, struct live *v)
{
	for (; *list; list = &(*list)->next)
		if (*list == v) {
			*list = v->next;
			v->next = NULL;
			return;
		}
}

void live_free(struct live *v)
{
	util_close(&v->lease);
	util_close(&v->walk);
	free(v);
}

void live_remove(struct live **list, struct live *v)
{
	live_unlink(list, v);
	live_free(v);
}
