/*
 * The workspaces of all tenants, on disk:
 *
 *   TENANT/             root 0700
 *     index.json        what there is (broker/workspace/index.h); replaced as a whole by rename
 *     layers/           0700, of the tenant's own ids, like everything below it
 *       N/d, N/w        a tree, and the work directory of overlayfs beside it; 0 stays empty
 *     trash/            what is being removed
 *
 * An operation makes the directories that it needs, then writes the index, then moves what the
 * index no longer names into the trash. So after a crash at any moment either index holds with all
 * that it names, and what no index names is trash; a top that is missing had never been written to.
 * Opening the store mends that.
 *
 * One process has it open: spawn. Locks are in its memory, as its sandboxes die with it. Nothing
 * here looks into a tree, and no operation takes longer for a greater one.
 */
#ifndef POSTERN_WORKSPACE_STORE_H
#define POSTERN_WORKSPACE_STORE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/workspace/index.h"

struct err;
struct work_store;

#define WORK_IDS     65536u
#define WORK_AGENT   1000u /* inside; who owns a workspace's root */
#define WORK_SESSION 36

struct work_config {
	int dir; /* taken over */
	/* A range of WORK_IDS ids for a tenant that has none yet: its first, or -errno. */
	int (*allot)(void *arg, uint32_t *ret_ids, struct err *e);
	/* One that was allotted before, told at the opening: nobody else may get it. */
	void (*hold)(void *arg, uint32_t ids);
	/* For tests: called before each change on the disk. May be NULL. */
	void (*step)(void *arg);
	void *arg;
};

/* What a session opens. */
struct work_view {
	int layers;   /* TENANT/layers, O_DIRECTORY; the caller's */
	uint32_t ids; /* the tenant's, on the disk */
	uint32_t top; /* 0: read-only */
	unsigned nlower;
	uint32_t lower[WORK_CHAIN_MAX + 2]; /* newest first; the last is 0, the empty one */
};

int work_open(const struct work_config *c, struct work_store **ret, struct err *e);
void work_close(struct work_store *s);

/* All refuse with a text for people: -EBUSY (a session has it open), -ENOENT, -EEXIST, -EDQUOT (a
 * maximum), -EMLINK (too many layers), -EBADMSG (the tenant's index is damaged). Names are valid
 * ones. Once they return 0 the change survives a power cut. */
int work_create(struct work_store *s, const char *tenant, const char *name, struct err *e);
int work_snapshot(struct work_store *s, const char *tenant, const char *name, const char *snapshot,
    struct err *e);
/* snapshot: NULL for how it is now. */
int work_fork(struct work_store *s, const char *tenant, const char *name, const char *snapshot,
    const char *to, struct err *e);
int work_rollback(struct work_store *s, const char *tenant, const char *name, const char *snapshot,
    struct err *e);
/* The workspace, or one snapshot of it. */
int work_delete(struct work_store *s, const char *tenant, const char *name, const char *snapshot,
    struct err *e);
/* A new array of {tenant, name, created_s, layers, snapshots: [{name, time_s}], writer, readers};
 * of all tenants with NULL. */
json_t *work_list(const struct work_store *s, const char *tenant);

/* For a session: the writer makes it if there is none, and is the only one. A reader sees it as it
 * is now and stays; while somebody writes, as it was frozen last. */
int work_acquire(struct work_store *s, const char *tenant, const char *name, bool write,
    const char *session, struct work_view *ret, struct err *e);
/* The session's mounts are gone. True if it was a writer. */
bool work_release(struct work_store *s, const char *session);
void work_view_done(struct work_view *v);

/* Trees to be read, newest first, without a lock: of the workspace's own changes since `snapshot`
 * (NULL: since its newest one, or all), while nobody writes. ret->top is 0; all layers come as
 * lower, and *ret_changed says how many of them are the changes. */
int work_look(struct work_store *s, const char *tenant, const char *name, const char *snapshot,
    struct work_view *ret, unsigned *ret_changed, struct err *e);

/* A tree that comes from elsewhere: a new directory outside of any workspace, to be filled through
 * the descriptor that is returned (layers/N/d), and then made one, or dropped. */
int work_stage(struct work_store *s, const char *tenant, const char *name, uint32_t *ret_id,
    uint32_t *ret_ids, struct err *e);
int work_staged(struct work_store *s, const char *tenant, const char *name, uint32_t id, bool good,
    struct err *e);

/* Work that nobody waits for: 1 if there is more. */
int work_idle(struct work_store *s);

#endif
