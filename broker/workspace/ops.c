#include "broker/workspace/store.h"

#include <errno.h>
#include <string.h>

#include "broker/workspace/store_internal.h"
#include "lib/err.h"

/*
 * What people ask of the store. Each works on a copy of the index, which takes the old one's place
 * when it is on the disk.
 */

/* A copy of t's index to change; memory is all that can fail. */
static int change(const struct work_tenant *t, struct work_index *ret, struct err *e)
{
	return index_copy(&t->x, ret) < 0 ? err_set(e, -ENOMEM, "no memory") : 0;
}

int work_create(struct work_store *s, const char *tenant, const char *name, struct err *e)
{
	struct work_index x = {0};
	struct work_tenant *t;
	struct work_space *w;
	int r;

	if ((r = work_tenant_get(s, tenant, true, &t, e)) < 0 || (r = change(t, &x, e)) < 0)
		return r;
	if (!(w = index_add_space(&x, name, e)))
		r = e->code;
	else
		r = work_make_tree(s, t, 0, &w->top, e);
	if (r < 0) {
		index_done(&x);
		return r;
	}
	return work_commit(s, t, &x, e);
}

int work_snapshot(
    struct work_store *s, const char *tenant, const char *name, const char *snapshot, struct err *e)
{
	struct work_index x = {0};
	struct work_tenant *t;
	struct work_space *w;
	uint32_t layer;
	int r;

	if ((r = work_find(s, tenant, name, &t, &w, e)) < 0 ||
	    (r = work_busy(work_holder(s, tenant, name, true), e)) < 0 ||
	    (r = change(t, &x, e)) < 0)
		return r;
	if ((r = work_freeze(s, t, &x, name, &layer, e)) < 0 ||
	    (r = index_add_snapshot(index_space(&x, name), snapshot, layer, e)) < 0) {
		index_done(&x);
		return r;
	}
	return work_commit(s, t, &x, e);
}

static int no_snapshot(const char *name, const char *snapshot, struct err *e)
{
	return err_set(e, -ENOENT, "workspace %s has no snapshot %s", name, snapshot);
}

int work_fork(struct work_store *s, const char *tenant, const char *name, const char *snapshot,
    const char *to, struct err *e)
{
	struct work_index x = {0};
	struct work_snapshot *old = NULL;
	struct work_tenant *t;
	struct work_space *w;
	uint32_t layer = 0, top = 0;
	int r;

	if ((r = work_find(s, tenant, name, &t, &w, e)) < 0)
		return r;
	if (snapshot && !(old = index_snapshot(w, snapshot)))
		return no_snapshot(name, snapshot, e);
	if (!old && (r = work_busy(work_holder(s, tenant, name, true), e)) < 0)
		return err_wrap(e, r, "only a snapshot can be forked now");
	if ((r = change(t, &x, e)) < 0)
		return r;
	if (old)
		layer = old->layer;
	else
		r = work_freeze(s, t, &x, name, &layer, e);
	if (r == 0 && !(w = index_add_space(&x, to, e)))
		r = e->code;
	if (r == 0)
		r = work_make_tree(s, t, layer, &top, e);
	if (r < 0) {
		index_done(&x);
		return r;
	}
	w->base = layer;
	w->top = top;
	return work_commit(s, t, &x, e);
}

int work_rollback(
    struct work_store *s, const char *tenant, const char *name, const char *snapshot, struct err *e)
{
	struct work_index x = {0};
	struct work_snapshot *old;
	struct work_tenant *t;
	struct work_space *w;
	uint32_t top;
	int r;

	if ((r = work_find(s, tenant, name, &t, &w, e)) < 0)
		return r;
	if (!(old = index_snapshot(w, snapshot)))
		return no_snapshot(name, snapshot, e);
	if ((r = work_busy(work_holder(s, tenant, name, false), e)) < 0 ||
	    (r = work_make_tree(s, t, old->layer, &top, e)) < 0 || (r = change(t, &x, e)) < 0)
		return r;
	w = index_space(&x, name);
	w->base = index_snapshot(w, snapshot)->layer;
	w->top = top;
	return work_commit(s, t, &x, e);
}

int work_delete(
    struct work_store *s, const char *tenant, const char *name, const char *snapshot, struct err *e)
{
	struct work_index x = {0};
	struct work_snapshot *old = NULL;
	struct work_tenant *t;
	struct work_space *w;
	int r;

	if ((r = work_find(s, tenant, name, &t, &w, e)) < 0)
		return r;
	if (snapshot && !index_snapshot(w, snapshot))
		return no_snapshot(name, snapshot, e);
	if ((r = work_busy(work_holder(s, tenant, name, false), e)) < 0 ||
	    (r = change(t, &x, e)) < 0)
		return r;
	w = index_space(&x, name);
	if (snapshot && (old = index_snapshot(w, snapshot)))
		index_drop_snapshot(w, old);
	else
		index_drop_space(&x, w);
	return work_commit(s, t, &x, e);
}

/* ---- what comes from elsewhere ---- */

int work_stage(struct work_store *s, const char *tenant, const char *name, uint32_t *ret_id,
    uint32_t *ret_ids, struct err *e)
{
	struct work_tenant *t;
	uint32_t id;
	int r, tree;

	if ((r = work_tenant_get(s, tenant, true, &t, e)) < 0)
		return r;
	if (index_space(&t->x, name))
		return err_set(e, -EEXIST, "there is a workspace %s already", name);
	if (t->staged)
		return err_set(e, -EBUSY, "the tenant is importing another one");
	if ((r = work_make_tree(s, t, 0, &id, e)) < 0)
		return r;
	if ((tree = work_open_tree(t, id)) < 0)
		return err_set(e, -errno, "layer %u: %m", id);
	t->staged = id;
	*ret_id = id;
	*ret_ids = t->x.ids;
	return tree;
}

int work_staged(struct work_store *s, const char *tenant, const char *name, uint32_t id, bool good,
    struct err *e)
{
	struct work_index x = {0};
	struct work_tenant *t;
	struct work_space *w;
	int r;

	if ((r = work_tenant_get(s, tenant, false, &t, e)) < 0)
		return r;
	t->staged = 0;
	if (good && (r = change(t, &x, e)) == 0) {
		if ((w = index_add_space(&x, name, e))) {
			w->top = id;
			return work_commit(s, t, &x, e);
		}
		r = e->code;
		index_done(&x);
	}
	work_sweep(s, t);
	return r;
}
