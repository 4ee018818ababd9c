/*
 * The warm pool: sandboxes that were built when nobody waited, each with its init running and
 * waiting for the session that claims it.
 *
 * A member was built from one plan, to the byte, and serves only that plan: it knows the tenant,
 * the role and the template that the plan names, and no session, grant, credential or command until
 * it is claimed. It is claimed once and never comes back. (Not one pool for all tenants: a process
 * that moves to another cgroup waits for an RCU grace period, 8 ms, four cold starts; and ids and
 * limits belong to the tenant from the first instruction on.)
 *
 * A shelf holds the members of one plan; there is one for each tenant, role and template. Another
 * plan for the same (the template has changed) takes its place: at once when the core prepares it,
 * and after a while when sessions only come with it (a narrowed session must not empty the shelf of
 * all the others). Members are made in pool_step() alone, one at a time, while ids and memory
 * suffice; when memory does not, all go.
 *
 * Knows nothing of how a sandbox is built: that comes as functions.
 */
#ifndef POSTERN_SPAWN_POOL_H
#define POSTERN_SPAWN_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POOL_SHELVES_MAX 32
#define POOL_MEMBERS_MAX 64 /* of one shelf; a plan that wants more gets this many */
#define POOL_STALE_S     60 /* until a shelf that nobody asked for makes room for its like */
#define POOL_LOOK_MS     1000
#define POOL_FORGET_MS   1000 /* the core prepares what is left at once; it may be many */

struct plan;
struct pool;
struct sandbox;

struct pool_ops {
	/* Builds one that waits. name: what stands for the session's, unique. */
	int (*make)(void *arg, const struct plan *p, const char *name, struct sandbox **ret);
	/* Still alive, and what the plan would build now? */
	bool (*good)(void *arg, const struct plan *p, struct sandbox *s);
	/* Hands over init's request socket (borrowed). */
	int (*claim)(void *arg, struct sandbox *s, int init_fd);
	/* Ends one that nobody claimed; -EAGAIN to be asked again. */
	int (*drop)(void *arg, struct sandbox *s);
	bool (*room)(void *arg);  /* ids for one more, beside what sessions need */
	bool (*tight)(void *arg); /* the host's memory is short */
	void *arg;
};

struct pool_counts {
	unsigned shelves, ready, wanted;
	uint64_t claimed, missed, lost; /* lost: found dead or outdated when claimed */
};

struct pool *pool_new(const struct pool_ops *ops); /* NULL without memory */
/* Drops every member, waiting for none longer than its drop() does. */
void pool_free(struct pool *p);

/* May members of this plan be made? Not of one that wants none, or in which more than init runs or
 * is shared from the start (a watch, a workspace). */
bool pool_takes(const struct plan *plan);
/* The core prepares this plan: whatever was made for its tenant, role and template from another one
 * is dropped in the steps that follow. */
void pool_want(struct pool *p, const struct plan *plan, int64_t now);
/* The templates have changed: a shelf that pool_want() or a session does not ask for within
 * POOL_FORGET_MS is taken down. */
void pool_forget(struct pool *p, int64_t now);
/* A session starts: a member that now runs with init_fd as its request socket, the caller's, or
 * NULL: none is there, start one cold. Learns the plan. */
struct sandbox *pool_take(struct pool *p, const struct plan *plan, int init_fd, int64_t now);
/* One step of the work that nobody waits for: 1 if there is more, 0 if not, else in how many
 * milliseconds it is time to look again. */
int pool_step(struct pool *p, int64_t now);
/* Drops one member, for what it holds: true if there was one. */
bool pool_shed(struct pool *p);
struct pool_counts pool_counts(const struct pool *p);

#endif
