/*
 * The clients of one session's credential listener: a few at once, each with a line of limited
 * length, one question at a time, and little patience. What is a good request goes to the core as a
 * typed message.
 */
#ifndef POSTERN_LEASE_SERVICE_H
#define POSTERN_LEASE_SERVICE_H

#include <stdint.h>

struct chan;
struct loop;
struct service;

#define SERVICE_CLIENTS  8  /* at once; more wait in the listener's queue */
#define SERVICE_RATE     16 /* requests a second, of all clients together */
#define SERVICE_IDLE_S   10 /* without a whole request, or with an answer that is not read */
#define SERVICE_LONELY_S 60 /* without a client: the process ends */

/* listen_fd is taken over. core is borrowed. The loop is stopped when the core's link has closed,
 * or nobody has come for SERVICE_LONELY_S. NULL with errno. */
struct service *service_new(struct loop *l, int listen_fd, struct chan *core);
void service_free(struct service *s);

#endif
