/*
 * What there is of one tenant's workspaces: frozen layers, each upon one other, and named
 * workspaces, each a writable top upon a layer, with snapshots that name layers. Pure data and its
 * JSON; the files are the store's business (broker/workspace/store.h).
 *
 * Invariants, checked when it is read: every layer stands upon 0 (the empty one) or upon another of
 * the list that has a smaller number, so there are no cycles; no two tops or layers share a number.
 */
#ifndef POSTERN_WORKSPACE_INDEX_H
#define POSTERN_WORKSPACE_INDEX_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/str.h"

struct err;

#define WORK_SPACES_MAX    64 /* workspaces of one tenant */
#define WORK_SNAPSHOTS_MAX 64 /* of one workspace */
#define WORK_LAYERS_MAX    4096
#define WORK_CHAIN_MAX     64 /* frozen layers below a top: overlayfs takes 500, its options a page */
#define WORK_ID_MAX        INT32_MAX
#define WORK_INDEX_BYTES   (4u << 20)

struct work_layer {
	uint32_t id, parent;
};

struct work_snapshot {
	char name[NAME_MAX_LEN + 1];
	uint32_t layer;
	int64_t time_s;
};

struct work_space {
	char name[NAME_MAX_LEN + 1];
	uint32_t base, top;
	int64_t time_s;
	unsigned nsnapshots;
	struct work_snapshot snapshot[WORK_SNAPSHOTS_MAX];
};

struct work_index {
	uint32_t ids; /* the first of the tenant's 65,536 on the disk */
	unsigned nlayers, nspaces;
	struct work_layer *layer; /* ascending */
	struct work_space *space;
};

void index_done(struct work_index *x);
/* 0 or -ENOMEM. */
int index_copy(const struct work_index *x, struct work_index *ret);
json_t *index_json(const struct work_index *x); /* new; NULL without memory */
int index_parse(const json_t *o, struct work_index *ret, struct err *e);

struct work_space *index_space(const struct work_index *x, const char *name); /* NULL */
struct work_snapshot *index_snapshot(struct work_space *w, const char *name); /* NULL */
/* An empty workspace more, of which the caller fills base and top. NULL with e. */
struct work_space *index_add_space(struct work_index *x, const char *name, struct err *e);
int index_add_snapshot(struct work_space *w, const char *name, uint32_t layer, struct err *e);
void index_drop_space(struct work_index *x, struct work_space *w);
void index_drop_snapshot(struct work_space *w, struct work_snapshot *s);
int index_add_layer(struct work_index *x, uint32_t id, uint32_t parent, struct err *e);
/* Frozen layers from this one down to the empty one, which does not count; into ret (newest first)
 * if it is not NULL. */
unsigned index_chain(const struct work_index *x, uint32_t layer, uint32_t ret[WORK_CHAIN_MAX]);
/* Whether a directory of this number belongs to anything. */
bool index_knows(const struct work_index *x, uint32_t id);
/* The greatest number in use. */
uint32_t index_newest(const struct work_index *x);
/* Drops layers that nothing stands upon or names any more. */
void index_collect(struct work_index *x);

#endif
