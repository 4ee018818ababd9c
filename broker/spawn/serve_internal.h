/*
 * What the files of spawn's loop share. Nobody else includes it.
 *
 *   serve.c            links, and the end of things
 *   serve_ask.c        what the core asks
 *   serve_lease.c      knocks at credential listeners
 *   serve_walk.c       who reads what a session has left
 *   serve_watch.c      who sees which programs run
 *   serve_workspace.c  what operators ask of workspaces
 *   serve_look.c       who reads workspaces for them
 */
#ifndef POSTERN_SPAWN_SERVE_INTERNAL_H
#define POSTERN_SPAWN_SERVE_INTERNAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/spawn/backend.h"
#include "broker/spawn/live.h"
#include "broker/spawn/serve.h"
#include "lib/clock.h"

struct chan;
struct err;
struct look;
struct loop;
struct loop_source;
struct msg;

#define SERVE_MSEC    (NSEC_PER_SEC / 1000)
#define SERVE_IDLE_NS (2 * SERVE_MSEC) /* after an answer: whoever asked goes first */

struct link {
	struct chan *chan;
	struct loop_source *source;
};

struct serve {
	const struct serve_config *c;
	const struct backend_ops *ops;
	struct loop *loop;
	struct link supervisor, core;
	struct live *live; /* running */
	struct live
	    *leaving; /* init has exited; cgroup, mounts, a lease process or a tie are left */
	struct loop_source *idle, *reap, *event;
	struct look *looks;
	uint32_t look_next;
	int64_t reap_ns;
	int result;
};

/* To the core, if there is one; takes over body. */
void serve_tell(
    struct serve *s, const char *type, uint64_t id, json_t *body, const int *fds, size_t n);
/* The sandbox is over (its init has exited, or there never was one): tells the core, and removes
 * what is left, now or later. v is gone afterwards. */
void serve_ended(struct serve *s, struct live *v, const char *reason);
/* Watches init, and the credential listener. False without memory. */
bool serve_watch(struct serve *s, struct live *v);

/* One message of the core. */
void serve_ask(struct serve *s, struct msg *m);
/* serve_charge.c: sandbox.charge */
void serve_charge(struct serve *s, struct msg *m);
/* Counts a process of ours against v's tenant. A failure is logged; it goes on uncounted. */
void charge(struct serve *s, struct live *v, pid_t pid);
/* workspace.do */
void serve_workspace(struct serve *s, struct msg *m);

/* serve_look.c: op diff or export. 0, and the pipe goes to the core as workspace.stream; -errno. */
int look_begin(struct serve *s, struct msg *m, struct err *e);
/* Kills and forgets them all. */
void look_stop_all(struct serve *s);

/* serve_walk.c: starts who reads what this sandbox has written; serve_ended() follows when that is
 * over. False: there is nothing to read, or nobody to tell. */
bool walk_begin(struct serve *s, struct live *v, const char *reason);
/* Kills a postern-walk and the process beside it, and waits for it. */
void walk_kill(int *pidfd);
/* The same of a sandbox's. */
void walk_stop(struct live *v);

/* serve_watch.c: looks after who is told of its programs, if it has one. False without memory. */
bool watch_begin(struct serve *s, struct live *v);
/* Tells the core of it, so that it may listen. */
void watch_tell(struct serve *s, const struct live *v);
/* Init has exited: what is still to be told is told now, and serve_over() follows. False: there is
 * nobody to wait for. */
bool watch_finish(struct live *v);
void watch_forget(struct live *v);
/* serve.c: neither init nor its watch has anything more to say. */
void serve_over(struct live *v);

/* A loop_fd_fn for a credential listener; arg is the struct live. */
void lease_knock(struct loop *l, int fd, unsigned what, void *arg);
/* True when there is no lease process, or it has exited and been waited for. */
bool lease_gone(struct live *v);
/* Without its session it has nothing to do. It is waited for later, as it may hang on a socket that
 * the agent made. */
void lease_end(struct live *v);

#endif
