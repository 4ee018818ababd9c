/*
 * One end of a SOCK_SEQPACKET link between two of our processes (or an operator's tool).
 *
 * A chan owns its descriptor, knows its own role and the peer's, and holds a bounded queue of what
 * the socket would not take. It never calls back: an event loop asks chan_fd() and
 * chan_wants_write(), calls chan_flush() when writable and chan_recv() when readable, until
 * -EAGAIN.
 *
 * A peer that breaks the rules costs that peer its connection: chan_recv() then answers with the
 * error of msg_decode(), the chan is shut down, and nothing else happens.
 */
#ifndef POSTERN_LIB_CHAN_H
#define POSTERN_LIB_CHAN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct chan;
struct err;
struct msg;

/* bytes waiting to be sent; beyond it the peer is dropped */
#define CHAN_QUEUE_MAX     (1024u * 1024)
#define CHAN_QUEUE_FDS_MAX 64 /* descriptors waiting with them */
#define CHAN_KEPT_MAX      64 /* messages that chan_call() keeps aside */

/* Takes the descriptor over (set non-blocking), also on failure. Phase starts as MSG_PHASE_OPEN.
 * Where the table lets this peer send no descriptor at all, the kernel is asked to refuse them
 * (SO_PASSRIGHTS, from Linux 6.16: its sendmsg then fails with EPERM), because even to close a
 * foreign descriptor can block. NULL with errno. */
struct chan *chan_new(int fd, unsigned self, unsigned peer);
/* The same for a listening socket, before it listens: what its clients send before they are
 * accepted comes by a socket that inherits this, and no chan has seen yet. Best effort. */
void chan_refuse_fds(int fd);
void chan_free(struct chan *c);    /* closes; NULL is fine; keeps errno */
int chan_fd(const struct chan *c); /* -1 once shut down */
void chan_set_phase(struct chan *c, unsigned phase);
unsigned chan_phase(const struct chan *c);
/* SO_PEERCRED of the far end. */
int chan_peercred(const struct chan *c, pid_t *ret_pid, uid_t *ret_uid, gid_t *ret_gid);
uint64_t chan_next_id(struct chan *c); /* 1, 2, ...: for questions */

/* Queues and tries to send. Takes over body (dropped in every case); descriptors stay the caller's
 * (they are duplicated if the message has to wait). body may be NULL for a type without fields.
 * 0; -EPIPE when the peer is gone (what it had said before can still be received); -ENOBUFS when
 * the queue is full (the chan is then shut down); -EINVAL for a message against the table, with the
 * reason in chan_why(). */
int chan_send(
    struct chan *c, const char *type, uint64_t id, json_t *body, const int *fds, size_t nfds);
const char *chan_why(
    const struct chan *c); /* what the last failed chan_send() had to say; may be "" */
bool chan_wants_write(const struct chan *c);
int chan_flush(struct chan *c); /* 0, also when something is left; -EPIPE */

/* One message. 1: m is filled and the caller calls msg_done(); 0: the peer has closed; -EAGAIN:
 * nothing there; another -errno: the peer broke a rule and is shut down, e says which. */
int chan_recv(struct chan *c, struct msg *m, struct err *e);

/* For tools and workers: sends a question and waits for the answer with its id until deadline_ns
 * (clock_mono_ns) passes. Other messages that arrive meanwhile are kept, in order, for
 * chan_recv(). 0; -ETIMEDOUT; -ECONNRESET when the peer closes; or an error of chan_recv(). */
int chan_call(struct chan *c, const char *type, json_t *body, const int *fds, size_t nfds,
    int64_t deadline_ns, struct msg *ret, struct err *e);
/* True while chan_recv() has something kept by chan_call(), which poll() cannot see. */
bool chan_pending(const struct chan *c);

static inline void chan_cleanup(struct chan **c)
{
	chan_free(*c);
}
#define cleanup_chan __attribute__((cleanup(chan_cleanup)))

#endif
