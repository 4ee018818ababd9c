#include "gateway/ssh/spare.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/chan.h"

struct spare *spare_add(struct spares *l, uint32_t slot, struct chan *link)
{
	struct spare *s;

	if (spare_find(l, slot)) {
		chan_free(link);
		errno = EEXIST;
		return NULL;
	}
	s = calloc(1, sizeof *s);
	if (!s) {
		chan_free(link);
		return NULL;
	}
	s->slot = slot;
	s->link = link;
	s->next = l->first;
	l->first = s;
	l->n++;
	return s;
}

struct spare *spare_find(struct spares *l, uint32_t slot)
{
	struct spare *s = l->first;

	while (s && s->slot != slot)
		s = s->next;
	return s;
}

struct spare *spare_ready(struct spares *l)
{
	struct spare *s = l->first;

	while (s && s->state != SPARE_READY)
		s = s->next;
	return s;
}

void spare_remove(struct spares *l, struct spare *s)
{
	struct spare **p = &l->first;

	while (*p && *p != s)
		p = &(*p)->next;
	if (*p) {
		*p = s->next;
		l->n--;
	}
	chan_free(s->link);
	free(s);
}
