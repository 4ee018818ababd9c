#include "broker/spawn/backend_ns_internal.h"

#include <sys/vfs.h>

#include "broker/spawn/idmap.h"
#include "broker/spawn/rootfs.h"
#include "lib/util.h"

uint64_t ns_inodes(int up)
{
	struct statfs f;

	return fstatfs(up, &f) == 0 && f.f_files > 0 ? f.f_files - f.f_ffree : 0;
}

void ns_layers_keep(struct sandbox *s, struct rootfs *f)
{
	s->up = steal_fd(&f->up);
	s->low[0] = steal_fd(&f->low);
	s->low[1] = steal_fd(&f->low2);
}

void ns_layers_done(struct sandbox *s)
{
	util_close(&s->up);
	util_close(&s->low[0]);
	util_close(&s->low[1]);
}

/* Every name that is made takes an inode, so nobody need look at a layer that nothing was written
 * to. */
bool ns_layers(const struct sandbox *s, struct backend_layers *ret)
{
	uint64_t used = s->up < 0 ? 0 : ns_inodes(s->up);

	/* one is the overlay's own, in w */
	if (s->up < 0 || (used > 0 && used <= s->own_inodes + 1))
		return false;
	*ret = (struct backend_layers){.tree = s->up, .ids = idmap_base(s->b->ids, s->spare.block)};
	for (size_t i = 0; i < ARRAY_LEN(s->low); i++)
		if (s->low[i] >= 0)
			ret->low[ret->nlow++] = s->low[i];
	return true;
}
