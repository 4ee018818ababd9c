#include "broker/spawn/spare.h"

#include <errno.h>

#include "broker/spawn/host.h"
#include "broker/spawn/idmap.h"
#include "lib/err.h"
#include "lib/util.h"

static int make(struct host *h, struct idmap *m, struct spare *ret, struct err *e)
{
	struct spare s = SPARE_NONE;
	int r;

	if ((r = idmap_take(m)) < 0)
		return err_set(e, r, "every block of ids is in use");
	s.block = r;
	if ((r = s.userns = idmap_userns(m, s.block, e)) < 0 ||
	    (r = netns_make(&h->own, &s.ns, e)) < 0) {
		spare_done(&s, m);
		return r;
	}
	*ret = s;
	return 0;
}

int spare_take(struct spares *s, struct host *h, struct idmap *m, struct spare *ret, struct err *e)
{
	if (s->n == 0)
		return make(h, m, ret, e);
	*ret = s->list[--s->n];
	return 0;
}

int spare_refill(struct spares *s, struct host *h, struct idmap *m, struct err *e)
{
	int r;

	if (s->n == SPARES_KEPT)
		return 0;
	if ((r = make(h, m, &s->list[s->n], e)) < 0)
		return r;
	s->n++;
	return 1;
}

void spare_done(struct spare *s, struct idmap *m)
{
	netns_close(&s->ns);
	util_close(&s->userns);
	if (s->block > 0)
		idmap_return(m, s->block);
	s->block = 0;
}

void spares_done(struct spares *s, struct idmap *m)
{
	while (s->n > 0)
		spare_done(&s->list[--s->n], m);
}
