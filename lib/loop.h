/*
 * The event loop of every daemon. The only user of libevent.
 *
 * One loop a process, single-threaded. Callbacks may add and remove any source, their own included.
 */
#ifndef POSTERN_LIB_LOOP_H
#define POSTERN_LIB_LOOP_H

#include <stdint.h>

struct loop;
struct loop_source; /* one watched descriptor, timer, signal or deferred call */

#define LOOP_READ  1u
#define LOOP_WRITE 2u

typedef void (*loop_fd_fn)(struct loop *l, int fd, unsigned what, void *arg);
typedef void (*loop_fn)(struct loop *l, void *arg);
typedef void (*loop_signal_fn)(struct loop *l, int signo, void *arg);

struct loop *loop_new(void); /* NULL with errno */
void loop_free(struct loop *l);
int loop_run(struct loop *l); /* until loop_stop; 0 or -errno */
void loop_stop(struct loop *l);

/* Persistent. The descriptor stays the caller's; remove the source before it is closed. urgent
 * sources are served before the others of the same turn. NULL with errno. */
struct loop_source *loop_fd(struct loop *l, int fd, unsigned what, loop_fd_fn fn, void *arg);
void loop_fd_watch(struct loop_source *s, unsigned what); /* 0 pauses it */
void loop_fd_urgent(struct loop_source *s);
/* Fires once after delay_ns; loop_timer_set() arms it again. Starts unarmed if delay_ns < 0. */
struct loop_source *loop_timer(struct loop *l, int64_t delay_ns, loop_fn fn, void *arg);
void loop_timer_set(struct loop_source *s, int64_t delay_ns);
struct loop_source *loop_on_signal(struct loop *l, int signo, loop_signal_fn fn, void *arg);
/* Runs fn once after every descriptor event of this turn has been served: the place for a group
 * commit. loop_defer_arm() may be called any number of times within the turn. */
struct loop_source *loop_defer(struct loop *l, loop_fn fn, void *arg);
void loop_defer_arm(struct loop_source *s);
/* Arms it, and it runs as soon as the callback under way has returned. */
void loop_defer_soon(struct loop_source *s);
/* Forgets and frees any kind; NULL is fine. */
void loop_remove(struct loop_source *s);

#endif
