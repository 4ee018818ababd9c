/*
 * A chan on the event loop: what every daemon does with a link when its descriptor is ready.
 */
#ifndef POSTERN_LIB_CHAN_LOOP_H
#define POSTERN_LIB_CHAN_LOOP_H

struct chan;
struct err;
struct loop_source;
struct msg;

/* Watches the chan for what may be read, and for room while something waits to be sent. The chan is
 * not shut down. */
void chan_watch(const struct chan *c, struct loop_source *s);
/* Returns 0 to go on; anything else ends the link. It may take descriptors out of m and answer on
 * the chan, but not free it. */
typedef int (*chan_fn)(struct msg *m, void *arg);
/* `what` has come (LOOP_READ, LOOP_WRITE): sends what waits, hands each message to fn, and watches
 * on. 1: it goes on; 0: the peer has gone, or fn ended it; -errno: the peer broke a rule, e says
 * which. With 0 and -errno the caller closes the link. */
int chan_serve(
    struct chan *c, struct loop_source *s, unsigned what, chan_fn fn, void *arg, struct err *e);

#endif
