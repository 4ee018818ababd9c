/*
 * Spawn's list of sessions: a sandbox, a tie, or both.
 */
#ifndef POSTERN_SPAWN_LIVE_H
#define POSTERN_SPAWN_LIVE_H

#include <stdbool.h>

#include "broker/spawn/cgroup.h"

struct loop_source;
struct sandbox;
struct serve;

struct live {
	struct live *next;
	struct serve *serve;
	char id[CGROUP_ID_MAX + 1];
	struct sandbox *sandbox; /* NULL: there is only a tie, or it has been returned */
	struct loop_source *exit, *knock, *lease_source;
	int lease; /* pidfd of the lease process, -1 */
	int walk;  /* pidfd of who reads its files, -1 */
	struct loop_source *walk_source, *walk_timer;
	struct loop_source *watch_source, *watch_timer;
	bool watch_died;    /* before its session */
	const char *reason; /* why it has ended, while it is walked */
	bool asked;         /* sandbox.end has come */
	bool tied;
};

struct live *live_new(
    struct live **list, struct serve *s, const char *id); /* NULL without memory */
struct live *live_find(struct live *list, const char *id);
void live_add(struct live **list, struct live *v);
void live_unlink(struct live **list, struct live *v);
void live_free(struct live *v);
void live_remove(struct live **list, struct live *v); /* unlinks and frees */

#endif
