/*
 * The listener's workers: which are spare, and how far each has been prepared.
 *
 *   NEW    started by the supervisor; its link is ours
 *   ASKED  the core was asked for its socketpair (worker.pair)
 *   READY  it has the core's socketpair: it can take a connection
 *   BUSY   it has one; what is kept is its source, until the supervisor says worker.gone
 *
 * Each slot is used once until worker.gone. Depends on lib and limit.h; must not know the event
 * loop.
 */
#ifndef POSTERN_GATEWAY_SPARE_H
#define POSTERN_GATEWAY_SPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "gateway/ssh/limit.h"

struct chan;

#define SPARE_SLOTS 65536

enum spare_state { SPARE_NEW, SPARE_ASKED, SPARE_READY, SPARE_BUSY };

struct spare {
	struct spare *next;
	uint32_t slot;
	pid_t pid;
	enum spare_state state;
	struct chan *link;         /* to the worker; NULL once BUSY */
	struct loop_source *watch; /* of the link: the listener's */
	char conn[37];
	struct source source;
};

struct spares {
	struct spare *first;
	size_t n;
};

/* Takes link over. NULL with errno; EEXIST when the slot is in use. */
struct spare *spare_add(struct spares *l, uint32_t slot, struct chan *link);
struct spare *spare_find(struct spares *l, uint32_t slot); /* NULL if there is none */
struct spare *spare_ready(struct spares *l);               /* one that is READY, or NULL */
void spare_remove(struct spares *l, struct spare *s);      /* closes and frees */

#endif
