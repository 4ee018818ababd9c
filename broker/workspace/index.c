#include "broker/workspace/index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/err.h"
#include "lib/msg.h"

#define VERSION 1

static const struct msg_field fields[] = {
    {"version", MSG_INT, VERSION, false},
    {"ids", MSG_INT, UINT32_MAX, false},
    {"layers", MSG_OBJECTS, WORK_LAYERS_MAX, false},
    {"workspaces", MSG_OBJECTS, WORK_SPACES_MAX, false},
    {NULL, MSG_INT, 0, false},
};

static const struct msg_field layer_fields[] = {
    {"id", MSG_INT, WORK_ID_MAX, false},
    {"upon", MSG_INT, WORK_ID_MAX, false},
    {NULL, MSG_INT, 0, false},
};

static const struct msg_field space_fields[] = {
    {"name", MSG_NAME, NAME_MAX_LEN, false},
    {"upon", MSG_INT, WORK_ID_MAX, false},
    {"top", MSG_INT, WORK_ID_MAX, false},
    {"time_s", MSG_INT, INT64_MAX, false},
    {"snapshots", MSG_OBJECTS, WORK_SNAPSHOTS_MAX, false},
    {NULL, MSG_INT, 0, false},
};

static const struct msg_field snapshot_fields[] = {
    {"name", MSG_NAME, NAME_MAX_LEN, false},
    {"layer", MSG_INT, WORK_ID_MAX, false},
    {"time_s", MSG_INT, INT64_MAX, false},
    {NULL, MSG_INT, 0, false},
};

void index_done(struct work_index *x)
{
	free(x->layer);
	free(x->space);
	*x = (struct work_index){0};
}

int index_copy(const struct work_index *x, struct work_index *ret)
{
	struct work_index c = {.ids = x->ids, .nlayers = x->nlayers, .nspaces = x->nspaces};

	/* one more than none: calloc of nothing may answer NULL */
	c.layer = calloc(x->nlayers + 1, sizeof *c.layer);
	c.space = calloc(x->nspaces + 1, sizeof *c.space);
	if (!c.layer || !c.space) {
		index_done(&c);
		return -ENOMEM;
	}
	if (x->nlayers)
		memcpy(c.layer, x->layer, x->nlayers * sizeof *c.layer);
	if (x->nspaces)
		memcpy(c.space, x->space, x->nspaces * sizeof *c.space);
	*ret = c;
	return 0;
}

/* ---- JSON ---- */

static json_t *space_json(const struct work_space *w)
{
	json_t *snapshots = json_array();

	for (unsigned i = 0; i < w->nsnapshots; i++)
		(void)json_array_append_new(
		    snapshots, json_pack("{s:s,s:I,s:I}", "name", w->snapshot[i].name, "layer",
		                   (json_int_t)w->snapshot[i].layer, "time_s",
		                   (json_int_t)w->snapshot[i].time_s));
	return json_pack("{s:s,s:I,s:I,s:I,s:o}", "name", w->name, "upon", (json_int_t)w->base,
	    "top", (json_int_t)w->top, "time_s", (json_int_t)w->time_s, "snapshots", snapshots);
}

json_t *index_json(const struct work_index *x)
{
	json_t *layers = json_array(), *spaces = json_array();

	for (unsigned i = 0; i < x->nlayers; i++)
		(void)json_array_append_new(
		    layers, json_pack("{s:I,s:I}", "id", (json_int_t)x->layer[i].id, "upon",
		                (json_int_t)x->layer[i].parent));
	for (unsigned i = 0; i < x->nspaces; i++)
		(void)json_array_append_new(spaces, space_json(&x->space[i]));
	return json_pack("{s:i,s:I,s:o,s:o}", "version", VERSION, "ids", (json_int_t)x->ids,
	    "layers", layers, "workspaces", spaces);
}

static int64_t number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static const struct work_layer *find_layer(const struct work_index *x, uint32_t id)
{
	for (unsigned i = 0; i < x->nlayers; i++)
		if (x->layer[i].id == id)
			return &x->layer[i];
	return NULL;
}

static bool stands(const struct work_index *x, uint32_t id)
{
	return (id == 0 || find_layer(x, id)) && index_chain(x, id, NULL) <= WORK_CHAIN_MAX;
}

static int parse_layers(const json_t *o, struct work_index *x, struct err *e)
{
	json_t *list = json_object_get(o, "layers"), *v;
	size_t i;
	int r;

	x->layer = calloc(json_array_size(list) + 1, sizeof *x->layer);
	if (!x->layer)
		return err_set(e, -ENOMEM, "no memory");
	json_array_foreach(list, i, v)
	{
		if ((r = msg_check_fields("layer", v, layer_fields, e)) < 0)
			return r;
		uint32_t id = (uint32_t)number(v, "id"), upon = (uint32_t)number(v, "upon");

		if (upon >= id || (i && id <= x->layer[i - 1].id) || !stands(x, upon))
			return err_set(e, -EBADMSG, "layer %u cannot be upon %u", id, upon);
		x->layer[x->nlayers++] = (struct work_layer){id, upon};
		if (!stands(x, id))
			return err_set(e, -EBADMSG, "layer %u is too high", id);
	}
	return 0;
}

static int parse_snapshots(
    const json_t *o, const struct work_index *x, struct work_space *w, struct err *e)
{
	json_t *list = json_object_get(o, "snapshots"), *v;
	size_t i;
	int r;

	json_array_foreach(list, i, v)
	{
		if ((r = msg_check_fields("snapshot", v, snapshot_fields, e)) < 0 ||
		    (r = index_add_snapshot(w, json_string_value(json_object_get(v, "name")),
		         (uint32_t)number(v, "layer"), e)) < 0)
			return r;
		w->snapshot[i].time_s = number(v, "time_s");
		if (!stands(x, w->snapshot[i].layer))
			return err_set(
			    e, -EBADMSG, "snapshot %s has no layer", w->snapshot[i].name);
	}
	return 0;
}

static int parse_spaces(const json_t *o, struct work_index *x, struct err *e)
{
	json_t *list = json_object_get(o, "workspaces"), *v;
	struct work_space *w;
	size_t i;
	int r;

	json_array_foreach(list, i, v)
	{
		if ((r = msg_check_fields("workspace", v, space_fields, e)) < 0)
			return r;
		uint32_t top = (uint32_t)number(v, "top");

		if (top == 0 || index_knows(x, top) || !stands(x, (uint32_t)number(v, "upon")))
			return err_set(e, -EBADMSG, "top %u is in use, or has no layer", top);
		w = index_add_space(x, json_string_value(json_object_get(v, "name")), e);
		if (!w)
			return e->code;
		w->top = top;
		w->base = (uint32_t)number(v, "upon");
		w->time_s = number(v, "time_s");
		if ((r = parse_snapshots(v, x, w, e)) < 0)
			return r;
	}
	return 0;
}

int index_parse(const json_t *o, struct work_index *ret, struct err *e)
{
	struct work_index x = {0};
	int r;

	if ((r = msg_check_fields("index", o, fields, e)) < 0)
		return r;
	if (number(o, "version") != VERSION || number(o, "ids") < 1)
		return err_set(e, -EBADMSG, "index: version must be %d", VERSION);
	x.ids = (uint32_t)number(o, "ids");
	if ((r = parse_layers(o, &x, e)) < 0 || (r = parse_spaces(o, &x, e)) < 0) {
		index_done(&x);
		return r;
	}
	*ret = x;
	return 0;
}

/* ---- what is in it ---- */

struct work_space *index_space(const struct work_index *x, const char *name)
{
	for (unsigned i = 0; i < x->nspaces; i++)
		if (strcmp(x->space[i].name, name) == 0)
			return &x->space[i];
	return NULL;
}

struct work_snapshot *index_snapshot(struct work_space *w, const char *name)
{
	for (unsigned i = 0; i < w->nsnapshots; i++)
		if (strcmp(w->snapshot[i].name, name) == 0)
			return &w->snapshot[i];
	return NULL;
}

static int64_t now_s(void)
{
	return clock_wall_ns() / NSEC_PER_SEC;
}

struct work_space *index_add_space(struct work_index *x, const char *name, struct err *e)
{
	struct work_space *w;

	if (index_space(x, name)) {
		(void)err_set(e, -EEXIST, "there is a workspace %s already", name);
		return NULL;
	}
	if (x->nspaces >= WORK_SPACES_MAX) {
		(void)err_set(
		    e, -EDQUOT, "the tenant has all of its %d workspaces", WORK_SPACES_MAX);
		return NULL;
	}
	w = realloc(x->space, (x->nspaces + 1) * sizeof *w);
	if (!w) {
		(void)err_set(e, -ENOMEM, "no memory");
		return NULL;
	}
	x->space = w;
	w += x->nspaces++;
	*w = (struct work_space){.time_s = now_s()};
	(void)str_copy(w->name, sizeof w->name, name);
	return w;
}

int index_add_snapshot(struct work_space *w, const char *name, uint32_t layer, struct err *e)
{
	struct work_snapshot *s;

	if (index_snapshot(w, name))
		return err_set(e, -EEXIST, "%s has a snapshot %s already", w->name, name);
	if (w->nsnapshots >= WORK_SNAPSHOTS_MAX)
		return err_set(
		    e, -EDQUOT, "%s has all of its %d snapshots", w->name, WORK_SNAPSHOTS_MAX);
	s = &w->snapshot[w->nsnapshots++];
	*s = (struct work_snapshot){.layer = layer, .time_s = now_s()};
	(void)str_copy(s->name, sizeof s->name, name);
	return 0;
}

void index_drop_space(struct work_index *x, struct work_space *w)
{
	size_t at = (size_t)(w - x->space);

	memmove(w, w + 1, (--x->nspaces - at) * sizeof *w);
}

void index_drop_snapshot(struct work_space *w, struct work_snapshot *s)
{
	size_t at = (size_t)(s - w->snapshot);

	memmove(s, s + 1, (--w->nsnapshots - at) * sizeof *s);
}

int index_add_layer(struct work_index *x, uint32_t id, uint32_t parent, struct err *e)
{
	struct work_layer *l;
	unsigned at = x->nlayers;

	if (index_chain(x, parent, NULL) >= WORK_CHAIN_MAX)
		return err_set(e, -EMLINK,
		    "it stands upon %d layers already, the most there may be: export it and import "
		    "it "
		    "as another one",
		    WORK_CHAIN_MAX);
	if (x->nlayers >= WORK_LAYERS_MAX)
		return err_set(e, -EDQUOT, "the tenant has all of its %d layers", WORK_LAYERS_MAX);
	l = realloc(x->layer, (x->nlayers + 1) * sizeof *l);
	if (!l)
		return err_set(e, -ENOMEM, "no memory");
	x->layer = l;
	/* a top may be older than layers that were frozen before it */
	while (at > 0 && l[at - 1].id > id)
		at--;
	memmove(l + at + 1, l + at, (x->nlayers - at) * sizeof *l);
	l[at] = (struct work_layer){id, parent};
	x->nlayers++;
	return 0;
}

unsigned index_chain(const struct work_index *x, uint32_t layer, uint32_t ret[WORK_CHAIN_MAX])
{
	const struct work_layer *l;
	unsigned n = 0;

	for (uint32_t id = layer; id && (l = find_layer(x, id)); id = l->parent) {
		if (ret && n < WORK_CHAIN_MAX)
			ret[n] = id;
		n++;
	}
	return n;
}

bool index_knows(const struct work_index *x, uint32_t id)
{
	for (unsigned i = 0; i < x->nspaces; i++)
		if (x->space[i].top == id)
			return true;
	return id == 0 || find_layer(x, id) != NULL;
}

uint32_t index_newest(const struct work_index *x)
{
	uint32_t n = x->nlayers ? x->layer[x->nlayers - 1].id : 0;

	for (unsigned i = 0; i < x->nspaces; i++)
		if (x->space[i].top > n)
			n = x->space[i].top;
	return n;
}

/* Whether a workspace, a snapshot or another layer needs it. */
static bool needed(const struct work_index *x, uint32_t id)
{
	for (unsigned i = 0; i < x->nspaces; i++) {
		const struct work_space *w = &x->space[i];

		if (w->base == id)
			return true;
		for (unsigned k = 0; k < w->nsnapshots; k++)
			if (w->snapshot[k].layer == id)
				return true;
	}
	for (unsigned i = 0; i < x->nlayers; i++)
		if (x->layer[i].parent == id)
			return true;
	return false;
}

/* From the newest to the oldest: what stands upon a layer has a greater number. */
void index_collect(struct work_index *x)
{
	for (unsigned i = x->nlayers; i-- > 0;)
		if (!needed(x, x->layer[i].id)) {
			memmove(&x->layer[i], &x->layer[i + 1],
			    (x->nlayers - i - 1) * sizeof *x->layer);
			x->nlayers--;
		}
}
