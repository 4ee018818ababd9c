/*
 * What the files of the store share: store.c (opening, mending, changes), ops.c (what people ask),
 * sessions.c (who has what open).
 */
#ifndef POSTERN_WORKSPACE_STORE_INTERNAL_H
#define POSTERN_WORKSPACE_STORE_INTERNAL_H

#include "broker/workspace/store.h"

struct work_tenant {
	struct work_tenant *next;
	char name[NAME_MAX_LEN + 1];
	int layers, trash; /* -1: not made yet */
	int dir;
	bool damaged;    /* its index cannot be read: nothing of it is touched */
	bool rubbish;    /* there is something in the trash */
	uint32_t newest; /* number of a layer or top */
	uint32_t staged; /* being filled, by one at a time; 0: none */
	struct work_index x;
};

struct work_hold {
	struct work_hold *next;
	char session[WORK_SESSION + 1];
	char tenant[NAME_MAX_LEN + 1], name[NAME_MAX_LEN + 1];
	bool write;
	bool top; /* a reader whose newest layer is the top of then */
};

struct work_store {
	struct work_config c;
	struct work_tenant *tenants;
	struct work_hold *holds;
};

/* What it has become damaged by is in e. create: makes it on the disk if there is none. */
int work_tenant_get(
    struct work_store *s, const char *name, bool create, struct work_tenant **ret, struct err *e);
/* Both at once; -ENOENT. The pointers are good until the next change. */
int work_find(struct work_store *s, const char *tenant, const char *name, struct work_tenant **ret,
    struct work_space **ret_space, struct err *e);
/* A directory for a new top or layer; like: whose owner and mode its tree gets, 0 for the usual. */
int work_make_tree(
    struct work_store *s, struct work_tenant *t, uint32_t like, uint32_t *ret_id, struct err *e);
/* Makes `next` what holds, on the disk and in memory; takes it over in every case. Trees that it
 * does not name any more go into the trash. */
int work_commit(
    struct work_store *s, struct work_tenant *t, struct work_index *next, struct err *e);
/* In `x`, of the tenant: what is written from now on is above what was written up to now. The layer
 * that results; an empty top is left as it is. */
int work_freeze(struct work_store *s, struct work_tenant *t, struct work_index *x, const char *name,
    uint32_t *ret_layer, struct err *e);
/* Who has it open, the writer first; NULL. */
const struct work_hold *work_holder(
    const struct work_store *s, const char *tenant, const char *name, bool writers_only);
int work_busy(const struct work_hold *h, struct err *e);
/* layers/N/d. -1 with errno */
int work_open_tree(const struct work_tenant *t, uint32_t id);
void work_step(struct work_store *s);
/* Everything in layers/ that the index does not name goes into the trash. */
void work_sweep(struct work_store *s, struct work_tenant *t);

#endif
