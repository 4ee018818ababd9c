#include "broker/workspace/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/workspace/store_internal.h"
#include "lib/err.h"
#include "lib/util.h"

/*
 * Who has what open.
 */

const struct work_hold *work_holder(
    const struct work_store *s, const char *tenant, const char *name, bool writers_only)
{
	const struct work_hold *found = NULL;

	for (const struct work_hold *h = s->holds; h; h = h->next)
		if (strcmp(h->tenant, tenant) == 0 && strcmp(h->name, name) == 0) {
			if (h->write)
				return h;
			found = h;
		}
	return writers_only ? NULL : found;
}

int work_busy(const struct work_hold *h, struct err *e)
{
	return h ? err_set(e, -EBUSY, "session %s %s workspace %s", h->session,
	               h->write ? "writes to" : "reads", h->name)
	         : 0;
}

static void view(const struct work_tenant *t, const struct work_space *w, bool top, bool write,
    struct work_view *ret)
{
	*ret = (struct work_view){.layers = -1, .ids = t->x.ids, .top = write ? w->top : 0};
	if (top)
		ret->lower[ret->nlower++] = w->top;
	ret->nlower += index_chain(&t->x, w->base, ret->lower + ret->nlower);
	ret->lower[ret->nlower++] = 0;
}

void work_view_done(struct work_view *v)
{
	util_close(&v->layers);
}

/* Whoever reads the present top shall go on seeing it as it is. */
static int leave_to_readers(
    struct work_store *s, struct work_tenant *t, const char *name, struct err *e)
{
	struct work_index x = {0};
	bool top = false;
	uint32_t layer;
	int r;

	for (const struct work_hold *h = s->holds; h; h = h->next)
		top |= h->top && strcmp(h->tenant, t->name) == 0 && strcmp(h->name, name) == 0;
	if (!top)
		return 0;
	if (index_copy(&t->x, &x) < 0)
		return err_set(e, -ENOMEM, "no memory");
	if ((r = work_freeze(s, t, &x, name, &layer, e)) < 0) {
		index_done(&x);
		return r;
	}
	if ((r = work_commit(s, t, &x, e)) < 0)
		return r;
	for (struct work_hold *h = s->holds; h; h = h->next)
		if (strcmp(h->tenant, t->name) == 0 && strcmp(h->name, name) == 0)
			h->top = false;
	return 0;
}

int work_acquire(struct work_store *s, const char *tenant, const char *name, bool write,
    const char *session, struct work_view *ret, struct err *e)
{
	const struct work_hold *writer = work_holder(s, tenant, name, true);
	struct work_tenant *t = NULL;
	struct work_space *w = NULL;
	struct work_hold *h;
	int r, fd;

	if (write && writer)
		return err_set(e, -EBUSY,
		    "session %s writes to workspace %s: open it read-only, or fork it",
		    writer->session, name);
	r = work_find(s, tenant, name, &t, &w, e);
	if (r == -ENOENT && write && (r = work_create(s, tenant, name, e)) == 0)
		r = work_find(s, tenant, name, &t, &w, e);
	if (r < 0 || (write && (r = leave_to_readers(s, t, name, e)) < 0))
		return r;
	w = index_space(&t->x, name);
	fd = openat(t->layers, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, -errno, "layers: %m");
	h = calloc(1, sizeof *h);
	if (!h) {
		(void)close(fd);
		return err_set(e, -ENOMEM, "no memory");
	}
	h->write = write;
	h->top = !write && !writer;
	(void)str_copy(h->session, sizeof h->session, session);
	(void)str_copy(h->tenant, sizeof h->tenant, tenant);
	(void)str_copy(h->name, sizeof h->name, name);
	h->next = s->holds;
	s->holds = h;
	view(t, w, h->top, write, ret);
	ret->layers = fd;
	return 0;
}

bool work_release(struct work_store *s, const char *session)
{
	bool wrote = false;

	for (struct work_hold **at = &s->holds, *h; (h = *at);) {
		if (strcmp(h->session, session) != 0) {
			at = &h->next;
			continue;
		}
		wrote |= h->write;
		*at = h->next;
		free(h);
	}
	return wrote;
}

/* ---- looking ---- */

int work_look(struct work_store *s, const char *tenant, const char *name, const char *snapshot,
    struct work_view *ret, unsigned *ret_changed, struct err *e)
{
	struct work_snapshot *since = NULL;
	struct work_tenant *t;
	struct work_space *w;
	int r, fd;

	if ((r = work_find(s, tenant, name, &t, &w, e)) < 0 ||
	    (r = work_busy(work_holder(s, tenant, name, true), e)) < 0)
		return r;
	if (snapshot && !(since = index_snapshot(w, snapshot)))
		return err_set(e, -ENOENT, "workspace %s has no snapshot %s", name, snapshot);
	if (!snapshot && w->nsnapshots)
		since = &w->snapshot[w->nsnapshots - 1];
	fd = openat(t->layers, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, -errno, "layers: %m");
	view(t, w, true, false, ret);
	ret->layers = fd;
	*ret_changed = ret->nlower - 1; /* all but the empty one */
	for (unsigned i = 0; since && i < ret->nlower; i++)
		if (ret->lower[i] == since->layer) {
			*ret_changed = i;
			return 0;
		}
	if (!since || !snapshot)
		return 0;
	work_view_done(ret);
	return err_set(
	    e, -ENOENT, "workspace %s does not stand upon its snapshot %s", name, snapshot);
}

/* ---- listing ---- */

static json_t *snapshots(const struct work_space *w)
{
	json_t *a = json_array();

	for (unsigned i = 0; i < w->nsnapshots; i++)
		(void)json_array_append_new(a, json_pack("{s:s,s:I}", "name", w->snapshot[i].name,
		                                   "time_s", (json_int_t)w->snapshot[i].time_s));
	return a;
}

static json_t *row(
    const struct work_store *s, const struct work_tenant *t, const struct work_space *w)
{
	const struct work_hold *writer = work_holder(s, t->name, w->name, true);
	json_int_t readers = 0;

	for (const struct work_hold *h = s->holds; h; h = h->next)
		readers +=
		    !h->write && strcmp(h->tenant, t->name) == 0 && strcmp(h->name, w->name) == 0;
	return json_pack("{s:s,s:s,s:I,s:I,s:o,s:s?,s:I}", "tenant", t->name, "name", w->name,
	    "created_s", (json_int_t)w->time_s, "layers",
	    (json_int_t)index_chain(&t->x, w->base, NULL), "snapshots", snapshots(w), "writer",
	    writer ? writer->session : NULL, "readers", readers);
}

json_t *work_list(const struct work_store *s, const char *tenant)
{
	json_t *a = json_array();

	for (const struct work_tenant *t = s->tenants; t; t = t->next)
		for (unsigned i = 0; i < t->x.nspaces; i++)
			if (!tenant || strcmp(t->name, tenant) == 0)
				(void)json_array_append_new(a, row(s, t, &t->x.space[i]));
	return a;
}
